#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::dns {

/// Where a resolver listens: an address, a port, and for a link-local IPv6 address the interface that it is behind.
struct Endpoint {
    std::variant<Ipv4, Ipv6> address;
    std::uint16_t port = 53;
    std::string zone;  ///< interface name or index of an IPv6 address, as written after '%'; empty: none

    /// "9.9.9.9", "9.9.9.9:5353", "2620:fe::fe", "[2620:fe::fe]:53", "fe80::1%eth0", "[fe80::1%eth0]:53". Addresses
    /// only, and none that names no single host (unspecified, broadcast, multicast); ports 1 to 65535.
    static std::optional<Endpoint> parse(std::string_view text);

    /// On this machine, whoever it asks in turn: 127.0.0.0/8 or ::1.
    [[nodiscard]] bool is_loopback() const;

    /// Fills `storage` for connect(2) and returns its length; 0 when the zone's interface does not exist (now).
    socklen_t fill(sockaddr_storage& storage) const;

    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// "9.9.9.9", with the port when it is not 53: "[2620:fe::fe]:5353".
std::string to_string(const Endpoint& endpoint);

}  // namespace vmrouter::dns
