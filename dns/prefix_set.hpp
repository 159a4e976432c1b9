#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::dns {

/// The networks that a guest must not be pointed into. Exceptions win over what is blocked. IPv6 is judged by the IPv4
/// address inside it (Ipv6::embedded_ipv4), by what is never public (::, ::1, fc00::/7, fe80::/10, fec0::/10, ff00::/8)
/// and by the IPv6 prefixes added here. A look-up is a binary search over disjoint ranges.
class PrefixSet {
public:
    void block(const Cidr& prefix);
    void block(const Ipv6& prefix, std::uint8_t length);
    void allow(const Cidr& prefix);  ///< an exception; wins over block() in whatever order
    /// Builds the ranges. Look-ups before it see an empty set of IPv4.
    void finish();

    [[nodiscard]] bool contains(Ipv4 address) const;
    [[nodiscard]] bool contains(const Ipv6& address) const;

    friend bool operator==(const PrefixSet&, const PrefixSet&) = default;

private:
    struct Range {
        std::uint32_t first;
        std::uint32_t last;
        friend bool operator==(const Range&, const Range&) = default;
    };
    struct Prefix6 {
        Ipv6 address;
        std::uint8_t length;
        friend bool operator==(const Prefix6&, const Prefix6&) = default;
    };
    std::vector<Cidr> blocked_;
    std::vector<Cidr> allowed_;
    std::vector<Range> ranges_;
    std::vector<Prefix6> blocked6_;
};

/// The ranges that are blocked whatever the host is connected to: private, shared, loopback, link-local, benchmarking,
/// multicast, reserved, and a cloud's metadata address. finish() is left to the caller, who adds the host's own
/// networks.
PrefixSet always_blocked();

}  // namespace vmrouter::dns
