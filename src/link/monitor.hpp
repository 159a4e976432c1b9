#pragma once

// The kernel's events about links, addresses, IPv4 routes and routing rules: one socket, no polling. A batch is
// everything that is waiting when the first event arrives; nothing is held back in order to collect more, since a new
// network must be shut within 100 ms.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <memory>
#include <set>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"

namespace vmrouter::link {

struct LinkEvent {
    bool removed = false;
    Link link;  ///< as the event told it; a removed one by its last name and index
};

struct Events {
    bool overrun = false;  ///< some were lost: read everything anew
    std::vector<LinkEvent> links;
    bool addresses = false;    ///< IPv4
    std::set<int> addresses6;  ///< links by number; also whenever a router advertisement renews one
    bool routes = false;
    bool routes6 = false;  ///< IPv6
    bool rules = false;
    /// forwarding, rp_filter or proxy_arp of an interface, by whomever; the kernel tells of no other settings. That
    /// IPv6 was switched on for one shows as addresses6.
    bool settings = false;
    bool port_flags = false;  ///< of a bridge's port: isolated, learning, ...

    [[nodiscard]] bool empty() const;
    /// Whether IPv4 networks, uplinks or blocked prefixes may be others now.
    [[nodiscard]] bool networks_changed() const;
};

/// A netlink socket that has joined the groups above; opened by the privileged half.
Result<FileDescriptor> open_event_socket();

class Monitor {
public:
    Monitor(asio::io_context& io, FileDescriptor socket);
    ~Monitor();
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    /// Waits for the next batch. Fails with asio::system_error only when cancelled or when the socket is broken.
    asio::awaitable<Events> next();

    /// Ends the wait of next().
    void close();

    /// What is waiting now, without waiting for it.
    Events drain();

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace vmrouter::link
