#pragma once

// What the server tells the rest of the program.

#include <span>

#include "dhcp/lease.hpp"
#include "dhcp/server.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

/// Another DHCP server on the segment was heard.
struct OtherServer {
    MacAddress mac;
    Ipv4 server;        ///< option 54, or its IP source
    Ipv4 offers;        ///< yiaddr
    unsigned port = 0;  ///< ifindex of the bridge port; 0: not known
    MessageType sent = MessageType::Offer;
};

/// What others want to know. Implemented by the roof; called on the executor's thread, must not block.
class Observer {
public:
    virtual ~Observer() = default;
    /// Leases came, changed or went, and that is on disk (or, for what may go on without, the disk refused). The ACKs
    /// leave when this returns, so whoever lets guests through by their lease, or names them, has done so before they
    /// know. Quarantines are among them: look at `after->state`.
    virtual void leases_changed(std::span<const AppliedChange> changes) = 0;
    /// One message was dealt with (for `monitor`). Service::history() keeps the last of each guest.
    virtual void noted(const Note& note) = 0;
    /// Another server was heard, at most a few times for each. Saying so is the observer's part: it knows the port's
    /// name.
    virtual void server_seen(const OtherServer& server) = 0;
    /// The segment's sockets report an error, as they do when the interface goes down or away; said once until they
    /// work again. Service::replace_sockets() is how to go on when the interface was made anew.
    virtual void interface_failed(const Error& error) = 0;
};

}  // namespace vmrouter::dhcp
