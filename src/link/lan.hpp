#pragma once

// What the host's networks mean: which interface is the way to the internet, which networks guests must not reach,
// which interface can be a segment. Pure.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"

namespace vmrouter::link {

struct Uplink {
    std::string name;
    int index = 0;               ///< 0: named in the configuration, not there (yet)
    std::vector<Ipv4> gateways;  ///< of its default routes, ascending; empty: a tunnel or a link without one
    std::uint32_t mtu = 0;       ///< 0: not there
    bool leads = false;          ///< the kernel's answers for public addresses name it
    friend bool operator==(const Uplink&, const Uplink&) = default;
};

/// The ways to the internet. `configured` empty: the interfaces that the kernel's answers for public addresses name;
/// never the segment. Otherwise the configured ones in their order, also those that are not there (a name alone is a
/// kill-switch).
std::vector<Uplink> uplinks(const HostFacts& facts, std::string_view segment, std::span<const std::string> configured);

/// Every network that the host is connected to or has a route to, in any table, whatever its addresses are, sorted and
/// without those inside another. Left out: loopback, multicast, what is on the segment, default routes, and routes
/// through an uplink with a prefix shorter than /8 (0.0.0.0/1 and 128.0.0.0/1 are a VPN's way of saying "the
/// internet").
///
/// A network that contains the segment is in the list: allow the segment before blocking these.
std::vector<Cidr> lan_prefixes(const HostFacts& facts, std::string_view segment, std::span<const Uplink> uplinks);

/// The same for IPv6, as far as user-mode guests need it.
struct Uplink6 {
    std::string name;
    std::vector<Ipv6> gateways;  ///< ascending; empty: a tunnel, or (configured) without a default route
    friend bool operator==(const Uplink6&, const Uplink6&) = default;
};

/// The interfaces of the IPv6 default routes of any table, or the configured ones.
std::vector<Uplink6> uplinks6(const HostFacts& facts, std::string_view segment,
                              std::span<const std::string> configured);

/// Every IPv6 network that the host is connected to or has a route to, default routes (prefixes shorter than /8) and
/// multicast left out; sorted.
std::vector<Network6> lan_prefixes6(const HostFacts& facts);

/// Sorted, and without those that lie inside another. Host bits must be clear.
std::vector<Cidr> outermost(std::vector<Cidr> prefixes);

/// Settings of the `all` branch that overrule what a segment is given (the kernel takes "or" of both, or the larger):
/// what each means for the guests, and what to do. We never write that branch.
std::vector<Error> overruling_sysctls(const HostFacts& facts);

/// Whether a default route in any table, one half of one (prefix shorter than /8), or the kernel's answer for a public
/// address leaves by the interface or by a device on top of it (a VLAN, its bridge or bond).
bool carries_default_route(const HostFacts& facts, std::string_view interface);

/// Why `interface` cannot be served as a segment: loopback, port of another device, carries the default route. nullopt
/// when it can be, or is not there (`--iface` waits for it).
std::optional<Error> refuse_interface(const HostFacts& facts, std::string_view interface);

/// Why `bridge` cannot be adopted: it exists and is no bridge, carries the default route, or an uplink is one of its
/// ports. nullopt when it can be, or must be created.
std::optional<Error> refuse_bridge(const HostFacts& facts, std::string_view bridge);

}  // namespace vmrouter::link
