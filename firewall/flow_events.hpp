#pragma once

// Connections as they begin, told by connection tracking. Listening costs the kernel something for every connection of
// the machine, so the socket is open only while somebody wants to know.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <memory>
#include <vector>

#include "firewall/judge.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::firewall {

/// The new IPv4 connections in one message of the kernel; anything else is skipped. Pure.
std::vector<Flow> parse_new_flows(Bytes datagram);

/// A netlink socket that hears of every new connection; privileged.
Result<FileDescriptor> open_flow_events();

class FlowObserver {
public:
    virtual ~FlowObserver() = default;
    virtual void began(const Flow& flow) = 0;
    /// The kernel had to throw events away.
    virtual void flows_lost() = 0;
};

/// Reads the events until it is destroyed.
class FlowEvents {
public:
    FlowEvents(asio::io_context& io, FileDescriptor socket, FlowObserver& observer);
    ~FlowEvents();
    FlowEvents(const FlowEvents&) = delete;
    FlowEvents& operator=(const FlowEvents&) = delete;

private:
    struct State;
    static asio::awaitable<void> run(std::shared_ptr<State> state);

    std::shared_ptr<State> state_;  ///< shared with run(), which ends a moment after us
};

}  // namespace vmrouter::firewall
