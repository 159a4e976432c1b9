#pragma once

// The configuration as values: one struct, every key of vmrouter.toml with its default and its meaning. Texts are
// parsed and checked by the reader (conf/load.hpp), so what stands here is legal on its own and in combination. "auto"
// is an empty std::optional: whoever uses the value derives it from the machine. conf/keys.cpp holds the same keys as a
// table with their one-line help; the reader, the flags and the manual page come from that table.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::conf {

/// A lease that never ends; the value RFC 2131 section 3.3 gives "infinity" on the wire.
inline constexpr std::chrono::seconds infinite_lease{0xffffffff};

enum class Protocol { Tcp, Udp };

/// Both ends included; 1 <= first <= last.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;

    friend bool operator==(const PortRange&, const PortRange&) = default;
};

/// "tcp/8080"
struct PortSpec {
    Protocol protocol = Protocol::Tcp;
    std::uint16_t port = 0;

    friend bool operator==(const PortSpec&, const PortSpec&) = default;
};

/// A DNS server: "192.168.0.1", "9.9.9.9:53", "2620:fe::fe", "[2620:fe::fe]:53".
struct Endpoint {
    IpAddress address;
    std::uint16_t port = 53;

    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

/// Something blocked that guests may reach all the same: "192.168.0.10" (everything there), "192.168.0.10:tcp/445",
/// "10.1.0.0/16:udp/53", "192.168.0.10:tcp/8000-8080". Ports are never given without a protocol.
struct Exception {
    Cidr network;  ///< host bits cleared
    std::optional<Protocol> protocol;
    std::optional<PortRange> ports;

    friend bool operator==(const Exception&, const Exception&) = default;
};

/// A domain name in lower case without a trailing dot; `wildcard` when written "*.name": everything below it.
struct DomainPattern {
    std::string name;
    bool wildcard = false;

    friend bool operator==(const DomainPattern&, const DomainPattern&) = default;
};

/// [network]: the segment, and what it looks like from the machine.
struct Network {
    enum class OnExit { Restore, Keep };

    /// The bridge we serve: created when absent, adopted when there. Exactly one of bridge and interface is set;
    /// neither only when the file holds nothing but [[usermode]].
    std::optional<std::string> bridge;
    /// The existing interface we serve instead of a bridge.
    std::optional<std::string> interface;
    /// Ours on the segment, host bits included ("192.168.100.1/24"); /8 to /30, never the network's first or last
    /// address. auto: 192.168.100.1/24, or the next one that overlaps no network of the host.
    std::optional<Cidr> address;
    /// Spanning tree on the bridge, with the shortest forward delay the kernel takes.
    bool stp = false;
    /// Guests cannot reach one another, not through us either (it wins over a hairpin forward).
    bool isolate_guests = false;
    /// 576 to 9000. auto: the uplink's, at most 1500. Sent as DHCP option 26 when it is not 1500.
    std::optional<std::uint16_t> mtu;
    /// Restore: leave the machine as found. Keep: leave bridge and firewall up.
    OnExit on_exit = OnExit::Restore;

    friend bool operator==(const Network&, const Network&) = default;
};

/// [[firewall.forward]]: publishes a guest's port.
struct Forward {
    /// "tcp/2222", "tcp/0.0.0.0:2222", "udp/192.168.0.5:53"
    struct Listen {
        Protocol protocol = Protocol::Tcp;
        /// Empty: the host's loopback only. 0.0.0.0: every address of the host. Otherwise that address of the host.
        std::optional<Ipv4> address;
        std::uint16_t port = 0;

        friend bool operator==(const Listen&, const Listen&) = default;
    };

    Listen listen;
    /// A reserved name (lower case; of a [[dhcp.host]], or of the hosts file, which only dhcp can check), a MAC that
    /// the lease is looked up for, or an address of the segment. Never a name that a guest merely claims.
    std::variant<std::string, MacAddress, Ipv4> guest;
    std::uint16_t port = 0;  ///< of the guest

    friend bool operator==(const Forward&, const Forward&) = default;
};

/// [firewall]: what guests may reach.
struct Firewall {
    enum class Lan { Block, Allow };
    /// Off: any source address. Subnet: one of the segment's, never one that is leased or reserved to another MAC.
    /// Lease: only the address DHCP gave to that MAC.
    enum class SourceGuard { Off, Subnet, Lease };

    /// False: no forwarding, a closed segment.
    bool internet = true;
    /// The only interfaces that lead to the internet. auto: follow the route to the internet.
    std::optional<std::vector<std::string>> uplink;
    Lan lan = Lan::Block;
    /// Further networks that are always blocked; host bits cleared.
    std::vector<Cidr> block;
    /// Exceptions from what is blocked.
    std::vector<Exception> allow;
    /// Services of this machine that guests may use.
    std::vector<PortSpec> open_host_ports;
    SourceGuard source_guard = SourceGuard::Subnet;
    /// When not empty, only what these names resolve to is reachable, and only they resolve.
    std::vector<DomainPattern> allow_domains;
    /// Blocked attempts are counted per guest, and shown by `status` and `monitor`.
    bool log_blocked = true;
    /// Queries that guests send to DNS servers off the segment (port 53) are answered by ours.
    bool redirect_dns = true;
    /// Connections a guest may have open through us; at least 1.
    std::uint32_t max_connections = 8192;
    /// The packet-mark bit that is ours; exactly one bit.
    std::uint32_t mark = 0x100000;
    std::vector<Forward> forward;

    friend bool operator==(const Firewall&, const Firewall&) = default;
};

/// [[dhcp.host]]: a reservation, the same as a line of the hosts file. Identified by MAC or client-id, at least one.
struct DhcpHost {
    std::vector<MacAddress> macs;         ///< key `mac`: one, or a list of those that share the reservation
    std::vector<std::uint8_t> client_id;  ///< bytes of option 61, its type byte included; empty: not by client-id
    std::optional<Ipv4> address;          ///< in the segment's subnet, unique, not ours
    std::string name;                     ///< one label of RFC 1123, lower case, unique; empty: none
    std::optional<std::chrono::seconds> lease_time;  ///< at least 2m, or infinite_lease; empty: dhcp.lease_time
    bool ignore = false;                             ///< never answer this host

    friend bool operator==(const DhcpHost&, const DhcpHost&) = default;
};

/// One element of dhcp.options, already in the form it has on the wire.
struct DhcpOption {
    std::uint8_t code = 0;           ///< 1 to 254, none that we send ourselves
    std::vector<std::uint8_t> data;  ///< may be longer than 255 bytes (RFC 3396)

    friend bool operator==(const DhcpOption&, const DhcpOption&) = default;
};

/// [dhcp]
struct Dhcp {
    enum class Identity { Mac, ClientId };
    /// Both ends included, inside the segment's subnet.
    struct Range {
        Ipv4 first;
        Ipv4 last;

        friend bool operator==(const Range&, const Range&) = default;
    };

    bool enabled = true;
    /// The addresses given to guests without a reservation. Empty: the whole subnet but our address. It may contain our
    /// address and reserved ones; those are never given to others.
    std::optional<Range> range;
    std::chrono::seconds lease_time = std::chrono::hours{1};  ///< at least 2m, or infinite_lease
    /// T1 (option 58); auto: half of the lease. Less than T2.
    std::optional<std::chrono::seconds> renew_time;
    /// T2 (option 59); auto: seven eighths of the lease. Less than the lease.
    std::optional<std::chrono::seconds> rebind_time;
    /// Empty: the size of the range. At least 1.
    std::optional<std::uint32_t> max_leases;
    /// How many leases there may be through one port of the bridge, and from all whose port is not known together. 0:
    /// no limit.
    std::uint32_t max_leases_per_port = 32;
    /// We are the only server: NAK what is wrong here instead of keeping silent.
    bool authoritative = true;
    /// Absolute path. Empty: /var/lib/vmrouter/NAME/leases
    std::optional<std::string> leases_file;
    /// Absolute path. Empty: /var/lib/vmrouter/NAME/hostsfile
    std::optional<std::string> hosts_file;
    /// Also repair the UDP checksum of DHCP replies that others on this host send to the segment.
    bool checksum_fill = true;
    /// Never reuse sname/file as option space.
    bool no_override = true;
    /// Which one names a client first (cloned VMs share a client-id).
    Identity identity = Identity::Mac;
    /// Probe a never-seen address for 100 ms before its first offer, without holding up others.
    bool ping_check = true;
    bool rapid_commit = false;
    std::vector<Ipv4> ntp_servers;  ///< option 42
    std::string boot_server;        ///< siaddr when it is an address, and option 66
    std::string boot_file;          ///< the file field, and option 67
    std::vector<DhcpOption> options;
    /// Absolute path of a program run on add/old/del with dnsmasq's dhcp-script arguments; empty: none.
    std::string script;
    std::vector<DhcpHost> host;

    friend bool operator==(const Dhcp&, const Dhcp&) = default;
};

/// [[dns.route]]: this domain and everything below it is asked of these servers only.
struct DnsRoute {
    std::string domain;  ///< lower case, without a trailing dot
    std::vector<Endpoint> upstreams;

    friend bool operator==(const DnsRoute&, const DnsRoute&) = default;
};

/// One address of dns.records.
struct DnsRecord {
    std::string name;  ///< lower case, without a trailing dot
    IpAddress address;

    friend bool operator==(const DnsRecord&, const DnsRecord&) = default;
};

/// [dns]
struct Dns {
    bool enabled = true;
    /// Servers asked in this order of preference. auto: follow the host's resolver, resolv_file.
    std::optional<std::vector<Endpoint>> upstreams;
    std::string resolv_file = "/etc/resolv.conf";
    /// Names in hosts(5) form; absolute path, empty: none.
    std::string hosts_file;
    /// Prefer upstreams in the order given.
    bool strict_order = true;
    /// Guests are NAME and NAME.domain; lower case, without a trailing dot.
    std::string domain = "vm.internal";
    /// The host itself resolves names below `domain`.
    bool host_lookup = true;
    /// Answers; 0: no cache.
    std::uint32_t cache_size = 10000;
    /// While all upstreams are down or say SERVFAIL or REFUSED, answers up to a day old, with a short TTL.
    bool serve_stale = true;
    /// Answers from upstream that point into blocked networks are removed.
    bool rebind_protection = true;
    /// Single labels, the host's search domains, its name and the names in its /etc/hosts are NXDOMAIN.
    bool hide_lan_names = true;
    std::vector<DnsRecord> records;
    /// Answered NXDOMAIN.
    std::vector<DomainPattern> block_domains;
    /// Absolute paths of hosts-format lists ("file:/path" in block_domains); their names are answered NXDOMAIN too.
    std::vector<std::string> block_files;
    bool log_queries = false;
    std::vector<DnsRoute> route;

    friend bool operator==(const Dns&, const Dns&) = default;
};

/// [[usermode]]: QEMU user-mode networking run by this user; no host, no LAN, but DNS and the internet.
struct Usermode {
    std::variant<std::string, std::uint32_t> user;  ///< name, or uid; never root or 0

    friend bool operator==(const Usermode&, const Usermode&) = default;
};

/// [log]
struct Log {
    enum class Level { Debug, Info, Warn, Error };

    Level level = Level::Info;

    friend bool operator==(const Log&, const Log&) = default;
};

/// [control]
struct Control {
    enum class Sandbox { On, Log, Off };

    /// Absolute path. Empty: /run/vmrouter/NAME.sock
    std::optional<std::string> socket;
    /// Where Prometheus text is served ("127.0.0.1:9473"); empty: nowhere.
    std::optional<Endpoint> metrics;
    Sandbox sandbox = Sandbox::On;

    friend bool operator==(const Control&, const Control&) = default;
};

struct Config {
    Network network;
    Firewall firewall;
    Dhcp dhcp;
    Dns dns;
    std::vector<Usermode> usermode;
    Log log;
    Control control;

    friend bool operator==(const Config&, const Config&) = default;
};

/// The segment's interface name: network.bridge or network.interface; empty without a segment.
std::string segment_name(const Config& config);

/// What the running instance is called: the segment's name, or "usermode" without a segment.
std::string instance_name(const Config& config);

/// A closed segment whose guests' questions are answered here or not at all: questions about any name would be a way
/// out. Who names servers in the configuration wants them asked.
bool names_stay_inside(const Config& config);

}  // namespace vmrouter::conf
