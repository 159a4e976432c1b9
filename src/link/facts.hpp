#pragma once

// What the kernel says about the host's networks, as plain values: comparable, printable, made by read_host_facts()
// (host.hpp) or by a test. Everything that is decided from them is a pure function (lan.hpp).

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::link {

struct Link {
    int index = 0;
    std::string name;
    std::string kind;       ///< "bridge", "tun", "veth", "vlan", ...; empty for hardware and loopback
    std::string port_kind;  ///< what its master makes of it: "bridge", "bond", "vrf"; empty without a master
    std::optional<MacAddress> mac;
    std::uint32_t mtu = 0;
    std::uint32_t flags = 0;  ///< IFF_*
    int master = 0;           ///< index of the bridge, bond or VRF that it belongs to; 0: none
    int parent = 0;           ///< index of the device below (VLAN, macvlan); 0: none
    std::string alias;
    bool carrier = false;

    [[nodiscard]] bool up() const;        ///< administratively (IFF_UP)
    [[nodiscard]] bool loopback() const;  ///< IFF_LOOPBACK
    friend bool operator==(const Link&, const Link&) = default;
};

struct Address4 {
    int link = 0;
    Ipv4 local;    ///< the host's own address
    Cidr network;  ///< what is on the link: of the peer's address, where there is one; host bits cleared
    std::optional<Ipv4> broadcast;
    friend bool operator==(const Address4&, const Address4&) = default;
};

struct Address6 {
    int link = 0;
    Ipv6 local;
    std::uint8_t length = 128;
    std::uint32_t flags =
        0;  ///< those that somebody may choose (IFA_F_NODAD, IFA_F_NOPREFIXROUTE, ...), to set it again
    bool permanent = false;   ///< set by somebody, not learnt from a router advertisement
    bool link_local = false;  ///< made by the kernel for the link (fe80::/64)
    friend bool operator==(const Address6&, const Address6&) = default;
};

/// One way of a route: an interface, a gateway on it, or both. A tunnel's has no gateway.
struct Nexthop {
    int link = 0;
    std::optional<Ipv4> gateway;
    std::optional<Ipv6> gateway6;  ///< IPv4 through an IPv6 neighbour (RFC 5549)
    friend bool operator==(const Nexthop&, const Nexthop&) = default;
};

enum class RouteType : std::uint8_t {
    Unicast,
    Local,
    Broadcast,
    Refusing,
    Other
};  ///< Refusing: blackhole, unreachable, prohibit

struct Route {
    Cidr destination;
    std::uint32_t table = 0;  ///< RT_TABLE_*: 254 main, 255 local
    RouteType type = RouteType::Unicast;
    std::uint8_t scope = 0;  ///< RT_SCOPE_*: 253 link, 0 universe
    std::uint32_t priority = 0;
    std::optional<Ipv4> source;
    std::vector<Nexthop> nexthops;
    friend bool operator==(const Route&, const Route&) = default;
};

/// An IPv6 prefix, host bits cleared.
struct Network6 {
    Ipv6 address;
    std::uint8_t length = 0;
    friend auto operator<=>(const Network6&, const Network6&) = default;
};

struct Route6 {
    Network6 destination;
    RouteType type = RouteType::Unicast;
    struct Hop {
        int link = 0;
        std::optional<Ipv6> gateway;
        friend bool operator==(const Hop&, const Hop&) = default;
    };
    std::vector<Hop> nexthops;
    friend bool operator==(const Route6&, const Route6&) = default;
};

enum class RuleAction : std::uint8_t { Lookup, Goto, Nop, Blackhole, Unreachable, Prohibit, Other };

/// An IPv4 routing rule, as far as we look at them.
struct Rule {
    std::uint32_t priority = 0;
    RuleAction action = RuleAction::Lookup;
    std::uint32_t table = 0;
    std::string iif;
    std::string oif;
    std::uint32_t mark = 0;
    std::uint32_t mark_mask = 0;  ///< 0: the mark does not matter
    std::optional<Cidr> from;
    std::optional<Cidr> to;
    bool inverted = false;
    friend auto operator<=>(const Rule&, const Rule&) = default;
};

/// Which way the kernel sends a packet for `destination`, all tables and rules included.
struct PathAnswer {
    Ipv4 destination;
    std::optional<Route> route;  ///< the entry that matched, with all its next hops; nullopt: unreachable or refused
    friend bool operator==(const PathAnswer&, const PathAnswer&) = default;
};

struct HostFacts {
    std::vector<Link> links;
    std::vector<Address4> addresses;
    std::vector<Address6> addresses6;
    std::vector<Route> routes;         ///< IPv4, all tables
    std::vector<Route6> routes6;       ///< IPv6, all tables; without IPv6 none
    std::vector<Rule> rules;           ///< IPv4, in the kernel's order
    std::vector<PathAnswer> internet;  ///< for a public address of either half of the address space
    std::map<std::string, std::string>
        sysctls;  ///< those that decide something, by path below /proc/sys; absent: not there

    [[nodiscard]] const Link* find(std::string_view name) const;
    [[nodiscard]] const Link* find(int index) const;
    /// The interface's name, or "if7" for a number without one.
    [[nodiscard]] std::string name_of(int index) const;
    /// The interfaces whose master is `name`, in the kernel's order.
    [[nodiscard]] std::vector<const Link*> ports_of(std::string_view name) const;

    friend bool operator==(const HostFacts&, const HostFacts&) = default;
};

/// One line each, in `ip`'s words: "eth0 192.168.0.7/24", "default via 192.168.0.1 dev eth0 metric 100".
std::string to_string(const Rule& rule);
std::string to_string(const Route& route, const HostFacts& facts);
/// All of it, a line a fact, for logs, `doctor` and test failures.
std::string to_string(const HostFacts& facts);

}  // namespace vmrouter::link
