#pragma once

// What the firewall must enforce, as one plain value: filled by the roof from the configuration and from what the host
// looks like now, rendered by ruleset(), compared by elements(), judged by still_allowed(). Everything that may change
// while vmrouter runs (the lists at the end) lives in named sets, so that a change is a few set elements and never a
// reload.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::firewall {

/// The bit of the packet mark, and of the connection mark, that is ours unless the configuration says otherwise.
inline constexpr std::uint32_t default_mark = 0x100000;

/// Protocol numbers of IP; a Service is always TCP or UDP.
enum class Protocol : std::uint8_t { Icmp = 1, Tcp = 6, Udp = 17 };

/// "tcp/445".
struct Service {
    Protocol protocol = Protocol::Tcp;
    std::uint16_t port = 0;

    friend auto operator<=>(const Service&, const Service&) = default;
};

/// An IPv6 prefix; only user-mode guests have IPv6.
struct Prefix6 {
    Ipv6 address;
    std::uint8_t length = 128;

    friend auto operator<=>(const Prefix6&, const Prefix6&) = default;
};

/// Both ends included.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;

    friend auto operator<=>(const PortRange&, const PortRange&) = default;
};

/// A destination that stays reachable although it lies in a blocked network. Without a protocol: everything there;
/// ports only together with TCP or UDP.
struct Exception {
    Cidr destination;
    std::optional<Protocol> protocol;
    std::optional<PortRange> ports;

    friend auto operator<=>(const Exception&, const Exception&) = default;
};

/// An interface that leads to the internet. With a gateway, only what goes through that gateway is the internet;
/// without one (a tunnel) everything that the interface takes is. For IPv6, which only user-mode guests have, the same
/// by gateway6; an uplink with gateway6 alone is one for IPv6 only.
struct Uplink {
    std::string name;
    std::optional<Ipv4> gateway;
    std::optional<Ipv6> gateway6;
    bool only_ipv6 = false;  ///< also without a gateway (a tunnel)

    [[nodiscard]] bool leads_to_ipv4() const { return !only_ipv6 && (gateway || !gateway6); }
    friend auto operator<=>(const Uplink&, const Uplink&) = default;
};

/// A guest's port that is published on addresses of the host other than loopback.
struct Forward {
    Service listen;
    Ipv4 listen_address;  ///< 0.0.0.0: every address of the host
    Ipv4 guest;
    std::uint16_t guest_port = 0;

    friend auto operator<=>(const Forward&, const Forward&) = default;
};

/// An address that belongs to a MAC address: leased now, or reserved. Several MACs may share a reserved address.
struct Binding {
    MacAddress mac;
    Ipv4 address;
    std::string port;  ///< the bridge port that the MAC is held to; empty: any

    friend auto operator<=>(const Binding&, const Binding&) = default;
};

enum class Mode { Bridge, Interface };
enum class Lan { Block, Allow };
enum class SourceGuard { Off, Subnet, Lease };

/// The one network whose guests are kept apart.
struct Segment {
    std::string interface;  ///< the bridge, or the interface itself
    Mode mode = Mode::Bridge;
    Cidr address;  ///< ours on the segment, with the prefix length of the segment: 192.168.100.1/24

    bool internet = true;  ///< false: nothing is forwarded
    Lan lan = Lan::Block;
    SourceGuard source_guard = SourceGuard::Subnet;
    bool isolate_guests = false;
    bool dhcp = true;
    bool dns = true;
    bool redirect_dns = true;    ///< queries to servers off the segment are answered by ours (needs dns)
    bool allow_domains = false;  ///< only addresses that admit() put into the set are reachable
    std::vector<Service> open_host_ports;
    std::uint32_t max_connections = 8192;           ///< of one guest; 0: no limit
    std::uint32_t max_segment_connections = 65536;  ///< of all guests together; 0: no limit
    bool clamp_mss = true;
    bool stp = false;  ///< the bridge's own BPDUs may leave by its ports

    /// Forwarding was off before us: what comes from an uplink is forwarded to segments only.
    bool forward_guard = false;
    /// The kernel has `meta ibrname` (NFT_BRIDGE_META): ports are recognised without the set `ports`.
    bool match_bridge_name = false;
    /// Interface mode: a netdev ingress chain is wanted and the interface exists now.
    bool ingress_guard = false;

    friend bool operator==(const Segment&, const Segment&) = default;
};

/// Users whose sockets (QEMU's user-mode networking) are confined to the internet.
struct Usermode {
    std::vector<std::uint32_t> uids;
    std::vector<Ipv4> resolvers;  ///< reachable at port 53 only
    std::vector<Ipv6> resolvers6;

    friend bool operator==(const Usermode&, const Usermode&) = default;
};

struct Policy {
    std::string instance;            ///< names the tables, see table_name()
    std::optional<Segment> segment;  ///< none: user-mode guests only
    Usermode usermode;
    std::uint32_t mark = default_mark;  ///< exactly one bit
    bool log_blocked = true;
    std::uint16_t log_group = 0;  ///< nflog group of blocked packets, see log_group()
    std::vector<Exception> allow;
    std::vector<Cidr> block;  ///< always blocked, also with Lan::Allow; an Exception wins

    // Contents of named sets: may change at any time without a reload.
    std::vector<Uplink> uplinks;
    /// Other interfaces of the host by which guests reach allowed networks (exceptions, Lan::Allow): they forward and
    /// mark like an uplink, and nothing but answers comes back by them.
    std::vector<std::string> side_links;
    std::vector<Cidr> lan;                    ///< networks that the host is connected to or has a route to
    std::vector<Prefix6> lan6;                ///< the same for IPv6 (user-mode guests)
    std::vector<std::string> ports;           ///< bridge ports of the segment
    std::vector<std::string> other_segments;  ///< of other instances, which the forward guard lets through
    std::vector<Binding> bindings;
    std::vector<Forward> forwards;

    friend bool operator==(const Policy&, const Policy&) = default;
};

/// Ranges that are never the internet and never a LAN: "this network", loopback, link-local and cloud metadata,
/// multicast, reserved. Blocked whatever the configuration says.
std::vector<Cidr> reserved_ranges();
/// Ranges that a LAN may use: RFC 1918, shared address space (RFC 6598), IETF assignments, benchmarking.
std::vector<Cidr> private_ranges();
/// The same for IPv6, in one list: loopback, unique local, link-local, site-local, multicast, and the prefixes that
/// carry IPv4 addresses (mapped, NAT64, 6to4, Teredo), through which a blocked IPv4 host could be named.
std::vector<Prefix6> blocked_ranges6();

/// Whether nft's words can name an interface: not the quotation mark, wildcards, control characters and what is not
/// UTF-8, all of which the kernel allows. Rules leave such an interface out; as an uplink it then leads nowhere.
bool can_name(std::string_view interface);
/// Those of the policy that they leave out.
std::vector<std::string> unnamed(const Policy& policy);

/// "vmrouter_virbr10". nft takes every name that passes is_interface_name() as it is; no two instances share one.
std::string table_name(const std::string& instance);
/// The nflog group of an instance, 1024 to 65535, by a hash of its name.
std::uint16_t log_group(const std::string& instance);

std::string to_string(Protocol protocol);  ///< "tcp"
/// The words of a rule: "ip daddr 10.1.0.0/16 udp dport 53".
std::string match(const Exception& allowed);
std::string to_string(const Prefix6& prefix);  ///< "fd00::/8"

}  // namespace vmrouter::firewall
