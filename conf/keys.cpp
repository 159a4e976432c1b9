#include "conf/keys.hpp"

#include <array>

#include "conf/dhcp_option.hpp"
#include "conf/fields.hpp"

namespace vmrouter::conf {
namespace {

using namespace read;

constexpr std::array on_exit_choices = {Choice<Network::OnExit>{"restore", Network::OnExit::Restore},
                                        Choice<Network::OnExit>{"keep", Network::OnExit::Keep}};
constexpr std::array lan_choices = {Choice<Firewall::Lan>{"block", Firewall::Lan::Block},
                                    Choice<Firewall::Lan>{"allow", Firewall::Lan::Allow}};
constexpr std::array source_guard_choices = {Choice<Firewall::SourceGuard>{"off", Firewall::SourceGuard::Off},
                                             Choice<Firewall::SourceGuard>{"subnet", Firewall::SourceGuard::Subnet},
                                             Choice<Firewall::SourceGuard>{"lease", Firewall::SourceGuard::Lease}};
constexpr std::array identity_choices = {Choice<Dhcp::Identity>{"mac", Dhcp::Identity::Mac},
                                         Choice<Dhcp::Identity>{"client-id", Dhcp::Identity::ClientId}};
constexpr std::array level_choices = {
    Choice<Log::Level>{"debug", Log::Level::Debug}, Choice<Log::Level>{"info", Log::Level::Info},
    Choice<Log::Level>{"warn", Log::Level::Warn}, Choice<Log::Level>{"error", Log::Level::Error}};
constexpr std::array sandbox_choices = {Choice<Control::Sandbox>{"on", Control::Sandbox::On},
                                        Choice<Control::Sandbox>{"log", Control::Sandbox::Log},
                                        Choice<Control::Sandbox>{"off", Control::Sandbox::Off}};

/// Stores what `Reader` makes of the value in config.*Section.*Member.
template <auto Section, auto Member, auto Reader>
void set(const Value& value, const Field& field, Config& config) {
    if (auto result = Reader(value, field)) (config.*Section).*Member = std::move(*result);
}

/// The same for an element of an array of tables.
template <auto Member, auto Reader, class Target>
void put(const Value& value, const Field& field, Target& target) {
    if (auto result = Reader(value, field)) target.*Member = std::move(*result);
}

void set_block_list(const Value& value, const Field& field, Config& config) {
    auto list = block_list(value, field);
    if (!list) return;
    config.dns.block_domains = std::move(list->names);
    config.dns.block_files = std::move(list->files);
}

constexpr Key<Config> network_keys[] = {
    {{"bridge", "bridge", "BRIDGE", "", "The bridge to serve: created when absent, adopted when there"},
     set<&Config::network, &Network::bridge, plain_interface_name>},
    {{"interface", "interface", "INTERFACE", "", "The existing interface to serve instead of a bridge"},
     set<&Config::network, &Network::interface, plain_interface_name>},
    {{"address", "address", "ADDRESS/LENGTH|auto", "\"auto\"",
      "Our address on the segment; auto takes 192.168.100.1/24, or the next that overlaps no network of the host"},
     set<&Config::network, &Network::address, or_auto<segment_address>>},
    {{"stp", "stp", "true|false", "false", "Spanning tree on the bridge", Shape::Boolean},
     set<&Config::network, &Network::stp, boolean>},
    {{"isolate_guests", "isolate-guests", "true|false", "false", "Guests cannot reach one another", Shape::Boolean},
     set<&Config::network, &Network::isolate_guests, boolean>},
    {{"mtu", "mtu", "BYTES|auto", "\"auto\"", "The segment's MTU, 576 to 9000; auto: the uplink's, at most 1500",
      Shape::Integer},
     set<&Config::network, &Network::mtu, or_auto<integer<576, 9000, std::uint16_t>>>},
    {{"on_exit", "on-exit", "restore|keep", "\"restore\"",
      "restore: leave the machine as found; keep: leave bridge and firewall up"},
     set<&Config::network, &Network::on_exit, choice<on_exit_choices>>},
};

constexpr Key<Config> firewall_keys[] = {
    {{"internet", "internet", "true|false", "true",
      "Let guests reach the internet; false: no forwarding, a closed segment, DNS included (dns.upstreams = \"auto\" "
      "asks "
      "nobody then)",
      Shape::Boolean},
     set<&Config::firewall, &Firewall::internet, boolean>},
    {{"uplink", "uplink", "INTERFACE,...|auto", "\"auto\"",
      "The only interfaces that lead to the internet; auto follows the route", Shape::Strings},
     set<&Config::firewall, &Firewall::uplink, or_auto<some_of<interface_name>>>},
    {{"lan", "lan", "block|allow", "\"block\"", "Whether guests reach private and host-connected networks"},
     set<&Config::firewall, &Firewall::lan, choice<lan_choices>>},
    {{"block", "block", "NETWORK,...", "[]", "Further networks that are always blocked", Shape::Strings},
     set<&Config::firewall, &Firewall::block, list_of<network>>},
    {{"allow", "allow", "NETWORK[:PROTOCOL/PORT],...", "[]",
      "Exceptions from what is blocked, such as 192.168.0.10:tcp/445", Shape::Strings},
     set<&Config::firewall, &Firewall::allow, list_of<exception>>},
    {{"open_host_ports", "open-host-ports", "PROTOCOL/PORT,...", "[]",
      "Services of this machine that guests may use, such as tcp/8080", Shape::Strings},
     set<&Config::firewall, &Firewall::open_host_ports, list_of<port_spec>>},
    {{"source_guard", "source-guard", "off|subnet|lease", "\"subnet\"",
      "Which source addresses a guest may use: any, one of the segment's that is nobody else's, or only its lease"},
     set<&Config::firewall, &Firewall::source_guard, choice<source_guard_choices>>},
    {{"allow_domains", "allow-domains", "DOMAIN,...", "[]",
      "When given, only what these names resolve to is reachable, and only they resolve", Shape::Strings},
     set<&Config::firewall, &Firewall::allow_domains, list_of<domain_pattern>>},
    {{"log_blocked", "log-blocked", "true|false", "true", "Count blocked attempts per guest", Shape::Boolean},
     set<&Config::firewall, &Firewall::log_blocked, boolean>},
    {{"redirect_dns", "redirect-dns", "true|false", "true",
      "Answer queries that guests send to DNS servers off the segment", Shape::Boolean},
     set<&Config::firewall, &Firewall::redirect_dns, boolean>},
    {{"max_connections", "max-connections", "NUMBER", "8192", "Connections a guest may have open through us",
      Shape::Integer},
     set<&Config::firewall, &Firewall::max_connections, integer<1, 0xffffffff, std::uint32_t>>},
    {{"mark", "mark", "BIT", "0x100000", "The packet-mark bit that is ours", Shape::Integer},
     set<&Config::firewall, &Firewall::mark, mark>},
};

constexpr Key<Forward> forward_table[] = {
    {{"listen", "", "PROTOCOL/[ADDRESS:]PORT", "required",
      "tcp/2222 on the host's loopback; tcp/0.0.0.0:2222, or an address of the host, to its networks too"},
     put<&Forward::listen, listen>},
    {{"guest", "", "NAME|MAC|ADDRESS", "required",
      "A reserved name, a MAC or an address; never a name that a guest merely claims"},
     put<&Forward::guest, forward_guest>},
    {{"port", "", "PORT", "required", "The guest's port", Shape::Integer},
     put<&Forward::port, integer<1, 65535, std::uint16_t>>},
};

constexpr Key<Config> dhcp_keys[] = {
    {{"enabled", "dhcp-enabled", "true|false", "true", "Serve DHCP", Shape::Boolean},
     set<&Config::dhcp, &Dhcp::enabled, boolean>},
    {{"range", "range", "FIRST,LAST|auto", "\"auto\"",
      "Addresses for guests without a reservation; auto: the whole subnet but our address", Shape::Strings},
     set<&Config::dhcp, &Dhcp::range, or_auto<range>>},
    {{"lease_time", "lease-time", "DURATION|infinite", "\"1h\"", "How long a lease lasts, at least 2m"},
     set<&Config::dhcp, &Dhcp::lease_time, lease_time>},
    {{"renew_time", "renew-time", "DURATION|auto", "\"auto\"", "T1, when clients renew; auto: half of the lease"},
     set<&Config::dhcp, &Dhcp::renew_time, or_auto<timer>>},
    {{"rebind_time", "rebind-time", "DURATION|auto", "\"auto\"",
      "T2, when clients ask any server; auto: seven eighths of the lease"},
     set<&Config::dhcp, &Dhcp::rebind_time, or_auto<timer>>},
    {{"max_leases", "max-leases", "NUMBER|auto", "\"auto\"",
      "How many leases there may be; auto: the size of the range", Shape::Integer},
     set<&Config::dhcp, &Dhcp::max_leases, or_auto<integer<1, 0xffffffff, std::uint32_t>>>},
    {{"max_leases_per_port", "max-leases-per-port", "NUMBER", "32",
      "How many of them through one port of the bridge; 0: no limit", Shape::Integer},
     set<&Config::dhcp, &Dhcp::max_leases_per_port, integer<0, 0xffffffff, std::uint32_t>>},
    {{"authoritative", "authoritative", "true|false", "true", "We are the only DHCP server of the segment",
      Shape::Boolean},
     set<&Config::dhcp, &Dhcp::authoritative, boolean>},
    {{"leases_file", "leases-file", "PATH", "\"\"",
      "The leases, in dnsmasq's format; default: /var/lib/vmrouter/NAME/leases"},
     set<&Config::dhcp, &Dhcp::leases_file, path_or_default>},
    {{"hosts_file", "dhcp-hosts-file", "PATH", "\"\"",
      "Reservations in dnsmasq's dhcp-hostsfile format; default: /var/lib/vmrouter/NAME/hostsfile"},
     set<&Config::dhcp, &Dhcp::hosts_file, path_or_default>},
    {{"checksum_fill", "checksum-fill", "true|false", "true",
      "Also repair the UDP checksum of DHCP replies that others on this host send to the segment", Shape::Boolean},
     set<&Config::dhcp, &Dhcp::checksum_fill, boolean>},
    {{"no_override", "no-override", "true|false", "true", "Never reuse sname and file as option space", Shape::Boolean},
     set<&Config::dhcp, &Dhcp::no_override, boolean>},
    {{"identity", "identity", "mac|client-id", "\"mac\"",
      "Which one names a client first (cloned VMs share a client-id)"},
     set<&Config::dhcp, &Dhcp::identity, choice<identity_choices>>},
    {{"ping_check", "ping-check", "true|false", "true", "Probe a never-seen address for 100 ms before its first offer",
      Shape::Boolean},
     set<&Config::dhcp, &Dhcp::ping_check, boolean>},
    {{"rapid_commit", "rapid-commit", "true|false", "false",
      "Give leases in two messages instead of four, to guests that ask for it (RFC 4039)", Shape::Boolean},
     set<&Config::dhcp, &Dhcp::rapid_commit, boolean>},
    {{"ntp_servers", "ntp-servers", "ADDRESS,...", "[]", "Time servers (option 42)", Shape::Strings},
     set<&Config::dhcp, &Dhcp::ntp_servers, list_of<host_address>>},
    {{"boot_server", "boot-server", "ADDRESS|NAME", "\"\"", "TFTP server: siaddr and option 66"},
     set<&Config::dhcp, &Dhcp::boot_server, boot_server>},
    {{"boot_file", "boot-file", "NAME", "\"\"", "Boot file: the file field and option 67"},
     set<&Config::dhcp, &Dhcp::boot_file, boot_file>},
    {{"options", "", "[{ code = N, text|ip|hex|u8|u16|u32 = ... }, ...]", "[]", "Further DHCP options", Shape::Tables},
     set<&Config::dhcp, &Dhcp::options, list_of<read_dhcp_option>>},
    {{"script", "script", "PATH", "\"\"",
      "Run on add, old and del with the arguments and environment of dnsmasq's dhcp-script"},
     set<&Config::dhcp, &Dhcp::script, path>},
};

constexpr Key<DhcpHost> dhcp_host_table[] = {
    {{"mac", "", "MAC", "", "The guest's MAC, or a list of those that share the reservation"},
     put<&DhcpHost::macs, macs>},
    {{"client_id", "", "BYTES|TEXT", "", "The guest's client identifier (option 61), instead of or beside its MAC"},
     put<&DhcpHost::client_id, client_id>},
    {{"address", "", "ADDRESS", "", "The address it always gets"}, put<&DhcpHost::address, host_address>},
    {{"name", "", "NAME", "", "Its name, whatever it calls itself"}, put<&DhcpHost::name, host_name>},
    {{"lease_time", "", "DURATION|infinite", "", "How long its lease lasts, instead of dhcp.lease_time"},
     put<&DhcpHost::lease_time, lease_time>},
    {{"ignore", "", "true|false", "false", "Never answer this guest", Shape::Boolean}, put<&DhcpHost::ignore, boolean>},
};

constexpr Key<Config> dns_keys[] = {
    {{"enabled", "dns-enabled", "true|false", "true", "Serve DNS", Shape::Boolean},
     set<&Config::dns, &Dns::enabled, boolean>},
    {{"upstreams", "upstreams", "ADDRESS[:PORT],...|auto", "\"auto\"",
      "DNS servers in order of preference; auto follows the host's resolver", Shape::Strings},
     set<&Config::dns, &Dns::upstreams, or_auto<some_of<upstream>>>},
    {{"resolv_file", "resolv-file", "PATH", "\"/etc/resolv.conf\"", "The host's resolver, for upstreams = \"auto\""},
     set<&Config::dns, &Dns::resolv_file, required_path>},
    {{"hosts_file", "dns-hosts-file", "PATH", "\"\"", "Names in hosts(5) form"},
     set<&Config::dns, &Dns::hosts_file, path>},
    {{"strict_order", "strict-order", "true|false", "true", "Prefer upstreams in the order given", Shape::Boolean},
     set<&Config::dns, &Dns::strict_order, boolean>},
    {{"domain", "domain", "DOMAIN", "\"vm.internal\"", "Guests are NAME and NAME.DOMAIN"},
     set<&Config::dns, &Dns::domain, guest_domain>},
    {{"host_lookup", "host-lookup", "true|false", "true", "The host itself resolves the guests' names", Shape::Boolean},
     set<&Config::dns, &Dns::host_lookup, boolean>},
    {{"cache_size", "cache-size", "ANSWERS", "10000", "Answers that are kept; 0: no cache", Shape::Integer},
     set<&Config::dns, &Dns::cache_size, integer<0, 10000000, std::uint32_t>>},
    {{"serve_stale", "serve-stale", "true|false", "true",
      "While all upstreams are down or fail, give answers up to a day old", Shape::Boolean},
     set<&Config::dns, &Dns::serve_stale, boolean>},
    {{"rebind_protection", "rebind-protection", "true|false", "true",
      "Remove answers from upstream that point into blocked networks", Shape::Boolean},
     set<&Config::dns, &Dns::rebind_protection, boolean>},
    {{"hide_lan_names", "hide-lan-names", "true|false", "true",
      "Single labels, the host's search domains, its name and the names in its /etc/hosts do not exist for guests",
      Shape::Boolean},
     set<&Config::dns, &Dns::hide_lan_names, boolean>},
    {{"records", "", "{ \"NAME\" = \"ADDRESS\", ... }", "{}", "Names of your own, and their addresses", Shape::Tables},
     set<&Config::dns, &Dns::records, dns_records>},
    {{"block_domains", "block-domains", "DOMAIN|file:PATH,...", "[]",
      "Names, or lists in hosts(5) form, that do not exist for guests", Shape::Strings},
     set_block_list},
    {{"log_queries", "log-queries", "true|false", "false", "Log each query with the guest's name", Shape::Boolean},
     set<&Config::dns, &Dns::log_queries, boolean>},
};

constexpr Key<DnsRoute> dns_route_table[] = {
    {{"domain", "", "DOMAIN", "required", "This domain and everything below it"}, put<&DnsRoute::domain, domain>},
    {{"upstreams", "", "[\"ADDRESS[:PORT]\", ...]", "required", "The servers that are asked for it, and no others",
      Shape::Strings},
     put<&DnsRoute::upstreams, some_of<upstream>>},
};

constexpr Key<Usermode> usermode_table[] = {
    {{"user", "", "NAME|UID", "required",
      "QEMU user-mode networking run by this user reaches DNS and the internet only"},
     put<&Usermode::user, user>},
};

constexpr Key<Config> log_keys[] = {
    {{"level", "log-level", "debug|info|warn|error", "\"info\"", "How much is logged"},
     set<&Config::log, &Log::level, choice<level_choices>>},
};

constexpr Key<Config> control_keys[] = {
    {{"socket", "socket", "PATH", "\"\"", "The control socket; default: /run/vmrouter/NAME.sock"},
     set<&Config::control, &Control::socket, socket_path>},
    {{"metrics", "metrics", "ADDRESS:PORT", "\"\"", "Serve Prometheus metrics here; empty: nowhere"},
     set<&Config::control, &Control::metrics, metrics_endpoint>},
    {{"sandbox", "sandbox", "on|log|off", "\"on\"", "Give up what the running program does not need"},
     set<&Config::control, &Control::sandbox, choice<sandbox_choices>>},
};

template <class Target, std::size_t Size>
SectionText section(std::string_view name, bool repeated, std::string_view help, const Key<Target> (&keys)[Size]) {
    SectionText text{name, repeated, help, {}};
    for (const auto& key : keys) text.keys.push_back(key.text);
    return text;
}

}  // namespace

const std::vector<SectionText>& sections() {
    static const std::vector<SectionText> all = {
        section("network", false, "The segment, and what it looks like from the machine", network_keys),
        section("firewall", false, "What guests may reach", firewall_keys),
        section("firewall.forward", true, "Publishes a guest's port", forward_table),
        section("dhcp", false, "Addresses for guests", dhcp_keys),
        section("dhcp.host", true, "A reservation, the same as a line of the hosts file", dhcp_host_table),
        section("dns", false, "Names for guests", dns_keys),
        section("dns.route", true, "Split DNS", dns_route_table),
        section("usermode", true, "QEMU user-mode networking", usermode_table),
        section("log", false, "The log", log_keys),
        section("control", false, "The control socket and the process itself", control_keys),
    };
    return all;
}

std::span<const Key<Config>> keys_of(std::string_view name) {
    if (name == "network") return network_keys;
    if (name == "firewall") return firewall_keys;
    if (name == "dhcp") return dhcp_keys;
    if (name == "dns") return dns_keys;
    if (name == "log") return log_keys;
    if (name == "control") return control_keys;
    return {};
}

std::span<const Key<Forward>> forward_keys() {
    return forward_table;
}

std::span<const Key<DhcpHost>> dhcp_host_keys() {
    return dhcp_host_table;
}

std::span<const Key<DnsRoute>> dns_route_keys() {
    return dns_route_table;
}

std::span<const Key<Usermode>> usermode_keys() {
    return usermode_table;
}

}  // namespace vmrouter::conf
