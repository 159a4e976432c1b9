#pragma once

#include <span>

#include "dhcp/message.hpp"
#include "dhcp/server.hpp"

namespace vmrouter::dhcp {

/// The message that says `reply` to `request`: RFC 2131 table 3, the options the client asked for, in dnsmasq's order.
Message make_reply(const ServerConfig& config, const Message& request, const Reply& reply);

/// What the operator should hear when options with these codes found no room in a reply of `room` bytes.
Warning left_out(const ServerConfig& config, const HardwareAddress& client, std::span<const std::uint8_t> codes,
                 std::size_t room);

/// How large the reply may be: option 57, BOOTP's 300 bytes, and whether sname and file may carry options.
Room room(const ServerConfig& config, const Message& request, std::uint16_t mtu = 1500);

/// Where a reply goes.
struct Destination {
    Ipv4 address;
    std::uint16_t port = 68;
    /// The Ethernet destination; nullopt: what has `address` must be asked for (ARP): a relay or client that is not on
    /// the segment.
    std::optional<MacAddress> mac;

    friend bool operator==(const Destination&, const Destination&) = default;
};

/// The ladder of RFC 2131 section 4.1 (and RFC 1542 for BOOTP).
Destination destination(const Message& request, const Context& context, const Reply& reply);

}  // namespace vmrouter::dhcp
