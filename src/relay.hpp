#pragma once

// A guest's port published on the host's loopback. The kernel could do this with DNAT, but only with route_localnet,
// and then a lost rule set would open 127.0.0.1 to the guests; so we accept and connect ourselves.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "src/base/file.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter {

/// Where a relay leads right now; nullopt while the guest has no address.
using RelayTarget = std::function<std::optional<Ipv4>()>;

/// Relays TCP connections from a listening socket to `port` of the guest. Destroying it closes the listener and every
/// connection. At most 256 connections at once; half-closed ones are carried through.
class TcpRelay {
public:
    /// `listener`: a bound, listening TCP socket, owned from here on.
    TcpRelay(asio::any_io_executor executor, FileDescriptor listener, RelayTarget target, std::uint16_t port);
    ~TcpRelay();
    TcpRelay(const TcpRelay&) = delete;
    TcpRelay& operator=(const TcpRelay&) = delete;

private:
    struct State;
    static void take(const std::shared_ptr<State>& state, asio::ip::tcp::socket client);
    static asio::awaitable<void> carry(std::shared_ptr<State> state, asio::ip::tcp::socket client);

    std::shared_ptr<State> state_;
};

/// Relays UDP datagrams from a bound socket to `port` of the guest and back; a peer that is silent for a minute is
/// forgotten. At most 256 peers at once.
class UdpRelay {
public:
    UdpRelay(asio::any_io_executor executor, FileDescriptor socket, RelayTarget target, std::uint16_t port);
    ~UdpRelay();
    UdpRelay(const UdpRelay&) = delete;
    UdpRelay& operator=(const UdpRelay&) = delete;

private:
    struct State;
    struct Session;
    static asio::awaitable<void> receive(std::shared_ptr<State> state);
    static std::shared_ptr<Session> session_of(const std::shared_ptr<State>& state, const asio::ip::udp::endpoint& peer,
                                               const asio::ip::udp::endpoint& target);
    static asio::awaitable<void> answer(std::shared_ptr<State> state, std::shared_ptr<Session> session);

    std::shared_ptr<State> state_;
};

}  // namespace vmrouter
