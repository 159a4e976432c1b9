#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "src/base/ip4.hpp"

namespace vmrouter {

/// An IPv6 address, sixteen bytes in wire order.
struct Ipv6 {
    std::array<std::uint8_t, 16> bytes{};

    /// Any form of RFC 4291 section 2.2 without a zone ("%eth0").
    static std::optional<Ipv6> parse(std::string_view text);

    /// The IPv4 address inside ::ffff:0:0/96 (mapped), ::/96 (compatible), 64:ff9b::/96 and 64:ff9b:1::/48 (NAT64,
    /// RFC 6052, 8215) or 2002::/16 (6to4): what a host that follows the address would really reach.
    [[nodiscard]] std::optional<Ipv4> embedded_ipv4() const;

    friend constexpr auto operator<=>(const Ipv6&, const Ipv6&) = default;
};

/// RFC 5952 form.
std::string to_string(const Ipv6& address);

/// An address of either kind.
using IpAddress = std::variant<Ipv4, Ipv6>;
std::string to_string(const IpAddress& address);

}  // namespace vmrouter
