// The recipe that people type in by hand, as far as it goes: it is here so that one can compare, learn, or do without
// vmrouter. It keeps the promises that iptables and dnsmasq can keep, and names the others.

#include "src/commands/plan_recipe.hpp"

#include <algorithm>
#include <array>

#include "dhcp/option.hpp"
#include "firewall/policy.hpp"
#include "src/base/text.hpp"
#include "src/base/wire.hpp"
#include "src/commands/plan_script.hpp"

namespace vmrouter {
namespace {

constexpr std::string_view head = R"sh(set -eu

say() { echo "recipe: $*" >&2; }

# ip_forward and the like, with the old value kept for the way down.
setting() { # PATH VALUE
    old=$(cat "/proc/sys/$1")
    [ "$old" = "$2" ] || { echo "$1 $2 $old" >>"$saved"; echo "$2" >"/proc/sys/$1"; }
}
restore_settings() {
    [ -e "$saved" ] || return 0
    awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$saved" >"$saved.reversed"
    while read -r path ours old; do
        [ ! -e "/proc/sys/$path" ] || [ "$(cat "/proc/sys/$path")" != "$ours" ] || echo "$old" >"/proc/sys/$path"
    done <"$saved.reversed"
    rm -f "$saved" "$saved.reversed"
}

)sh";

constexpr std::string_view tail = R"sh(
case ${1:-} in
    up) up ;;
    down) down ;;
    *)
        echo "usage: $0 up|down" >&2
        exit 2
        ;;
esac
)sh";

/// Lines of `up`, each with its way back: the teardown is the same list from its end.
struct Steps {
    std::vector<std::string> up;
    std::vector<std::string> down;

    void both(std::string make, std::string unmake) {
        up.push_back(std::move(make));
        down.push_back(std::move(unmake));
    }
    /// A rule: `verb` is -A (at the end) or -I (at the head).
    void rule(const std::string& table, const std::string& verb, const std::string& chain, const std::string& what) {
        const std::string command = "iptables -w " + (table.empty() ? std::string() : "-t " + table + " ");
        both(command + verb + " " + chain + " " + what, command + "-D " + chain + " " + what);
    }
};

std::string protocol(conf::Protocol one) {
    return one == conf::Protocol::Tcp ? "tcp" : "udp";
}

std::string endpoint(const conf::Endpoint& server) {
    const auto address = std::visit([](const auto& one) { return to_string(one); }, server.address);
    return server.port == 53 ? address : address + "#" + std::to_string(server.port);
}

/// iptables takes 28 characters.
std::string chain_name(const Plan& plan, const std::string& purpose) {
    return "VM-" + plan.instance + "-" + purpose;
}

void add_link(Steps& steps, const Segment& segment) {
    const std::string name = segment.name;
    if (segment.is_bridge && !segment.exists) {
        steps.both("brctl addbr " + name, "brctl delbr " + name);
        steps.up.push_back("brctl setfd " + name + (segment.stp ? " 2" : " 0"));
        steps.up.push_back("brctl stp " + name + (segment.stp ? " on" : " off"));
        steps.up.push_back("ip link set dev " + name + " address " + to_string(segment.mac));
    }
    if (segment.set_mtu || (segment.is_bridge && !segment.exists))
        steps.up.push_back("ip link set dev " + name + " mtu " + std::to_string(segment.mtu));
    steps.up.push_back("[ ! -e /proc/sys/net/ipv6/conf/" + name + " ] || setting net/ipv6/conf/" + name +
                       "/disable_ipv6 1");
    steps.both("ip addr add " + to_string(segment.address) + " broadcast + dev " + name,
               "ip addr delete " + to_string(segment.address) + " dev " + name);
    steps.both("ip link set dev " + name + " up", "ip link set dev " + name + " down");
}

void accept_exceptions(Steps& steps, const conf::Config& config, const std::string& chain) {
    for (const auto& exception : config.firewall.allow) {
        std::string match = "-d " + to_string(exception.network);
        if (exception.protocol) match += " -p " + protocol(*exception.protocol);
        if (exception.ports)
            match += " --dport " + std::to_string(exception.ports->first) + ":" + std::to_string(exception.ports->last);
        steps.up.push_back("iptables -w -A " + chain + " " + match + " -j ACCEPT");
    }
}

/// What a guest may reach through this machine, in a chain of its own.
void add_forward(Steps& steps, const Plan& plan, const conf::Config& config) {
    const std::string chain = chain_name(plan, "fwd");
    const std::string segment = plan.segment->name;
    const auto append = [&](const std::string& rule) { steps.up.push_back("iptables -w -A " + chain + " " + rule); };
    steps.both("iptables -w -N " + chain, "iptables -w -F " + chain + "\n    iptables -w -X " + chain);
    append("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
    append("-m conntrack --ctstate INVALID -j DROP");
    append("! -s " + to_string(plan.segment->address.network()) + " -j DROP");
    if (config.firewall.internet) {
        accept_exceptions(steps, config, chain);
        std::vector<Cidr> blocked = config.firewall.block;
        const auto reserved = firewall::reserved_ranges();
        blocked.insert(blocked.end(), reserved.begin(), reserved.end());
        if (config.firewall.lan == conf::Firewall::Lan::Block) {
            const auto ranges = firewall::private_ranges();
            blocked.insert(blocked.end(), ranges.begin(), ranges.end());
            blocked.insert(blocked.end(), plan.policy.lan.begin(), plan.policy.lan.end());
        }
        for (const auto& network : blocked)
            append("-d " + to_string(network) + " -j REJECT --reject-with icmp-admin-prohibited");
        if (plan.uplinks.empty()) append("-j ACCEPT");
        for (const auto& uplink : plan.uplinks) append("-o " + shell_word(uplink.name) + " -j ACCEPT");
    }
    append("-j REJECT --reject-with icmp-admin-prohibited");
    // Inserted, so that they come before what a firewall of the host says; the last one inserted is the first asked.
    steps.rule("", "-I", "FORWARD", "-o " + segment + " -j REJECT --reject-with icmp-admin-prohibited");
    steps.rule("", "-I", "FORWARD", "-o " + segment + " -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
    for (const auto& forward : config.firewall.forward) {
        const auto* guest = std::get_if<Ipv4>(&forward.guest);
        if (guest == nullptr || !forward.listen.address || forward.listen.address->is_loopback()) continue;
        steps.rule("", "-I", "FORWARD",
                   "-o " + segment + " -d " + to_string(*guest) + " -p " + protocol(forward.listen.protocol) +
                       " --dport " + std::to_string(forward.port) + " -j ACCEPT");
    }
    steps.rule("", "-I", "FORWARD", "-i " + segment + " ! -o " + segment + " -j " + chain);
    steps.rule("", "-I", "FORWARD",
               "-i " + segment + " -o " + segment + " -j " + (config.network.isolate_guests ? "REJECT" : "ACCEPT"));
}

/// What a guest may reach on this machine.
void add_input(Steps& steps, const Plan& plan, const conf::Config& config) {
    const std::string chain = chain_name(plan, "in");
    const std::string ours = to_string(plan.segment->address.address);
    const auto append = [&](const std::string& rule) { steps.up.push_back("iptables -w -A " + chain + " " + rule); };
    steps.both("iptables -w -N " + chain, "iptables -w -F " + chain + "\n    iptables -w -X " + chain);
    if (config.dhcp.enabled) append("-p udp --sport 68 --dport 67 -j ACCEPT");
    append("-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT");
    if (config.dns.enabled)
        for (const char* one : {"udp", "tcp"}) append("-d " + ours + " -p " + one + " --dport 53 -j ACCEPT");
    append("-d " + ours + " -p icmp --icmp-type echo-request -j ACCEPT");
    for (const auto& port : config.firewall.open_host_ports)
        append("-d " + ours + " -p " + protocol(port.protocol) + " --dport " + std::to_string(port.port) +
               " -j ACCEPT");
    append("-j REJECT --reject-with icmp-admin-prohibited");
    steps.rule("", "-I", "INPUT", "-i " + plan.segment->name + " -j " + chain);
}

void add_translation(Steps& steps, const Plan& plan, const conf::Config& config) {
    const std::string net = to_string(plan.segment->address.network());
    const std::string segment = plan.segment->name;
    if (config.firewall.internet) {
        if (plan.uplinks.empty())
            steps.rule("nat", "-A", "POSTROUTING", "-s " + net + " ! -d " + net + " -j MASQUERADE");
        for (const auto& uplink : plan.uplinks)
            steps.rule("nat", "-A", "POSTROUTING",
                       "-s " + net + " ! -d " + net + " -o " + shell_word(uplink.name) + " -j MASQUERADE");
    }
    if (config.dns.enabled && config.firewall.redirect_dns)
        for (const char* one : {"udp", "tcp"})
            steps.rule("nat", "-A", "PREROUTING",
                       "-i " + segment + " ! -d " + net + " -p " + one + " --dport 53 -j DNAT --to-destination " +
                           to_string(plan.segment->address.address) + ":53");
    for (const auto& forward : config.firewall.forward) {
        const auto* guest = std::get_if<Ipv4>(&forward.guest);
        if (guest == nullptr || !forward.listen.address || forward.listen.address->is_loopback()) continue;
        const std::string to = forward.listen.address->is_unspecified() ? "-m addrtype --dst-type LOCAL"
                                                                        : "-d " + to_string(*forward.listen.address);
        steps.rule("nat", "-A", "PREROUTING",
                   to + " -p " + protocol(forward.listen.protocol) + " --dport " + std::to_string(forward.listen.port) +
                       " -j DNAT --to-destination " + to_string(*guest) + ":" + std::to_string(forward.port));
    }
    if (config.dhcp.checksum_fill)
        steps.rule("mangle", "-A", "POSTROUTING", "-o " + segment + " -p udp --dport 68 -j CHECKSUM --checksum-fill");
}

/// An option's bytes as dnsmasq wants them: addresses and text for the options that it knows as such, else hex.
std::string option_value(const conf::DhcpOption& option) {
    constexpr std::array<std::uint8_t, 31> of_addresses = {3,  4,  5,  6,  7,  8,  9,  10, 11, 16, 28,
                                                           32, 33, 41, 42, 44, 45, 48, 49, 65, 68, 69,
                                                           70, 71, 72, 73, 74, 75, 76, 85, 150};
    if (dhcp::is_text(option.code)) return {option.data.begin(), option.data.end()};
    const bool addresses = std::find(of_addresses.begin(), of_addresses.end(), option.code) != of_addresses.end();
    if (!addresses || option.data.size() % 4 != 0) return to_hex(option.data);
    std::string text;
    Reader reader(option.data);
    while (reader.remaining() >= 4) text += (text.empty() ? "" : ",") + to_string(Ipv4{reader.u32()});
    return text;
}

std::string seconds(std::chrono::seconds time) {
    return time == conf::infinite_lease ? "infinite" : std::to_string(time.count());
}

void add_dhcp(std::string& out, const Plan& plan, const conf::Config& config) {
    const auto server = dhcp_config(config, *plan.segment, {});
    out += "dhcp-range=" + to_string(server.range.first) + "," + to_string(server.range.last) + "," +
           to_string(Ipv4{plan.segment->address.length == 0 ? 0 : ~0U << (32U - plan.segment->address.length)}) + "," +
           seconds(config.dhcp.lease_time) + "\n";
    out += "dhcp-leasefile=" + plan.leases_file + "\n";
    out += "dhcp-hostsfile=" + plan.hosts_file + "\n";
    if (config.dhcp.authoritative) out += "dhcp-authoritative\n";
    if (config.dhcp.no_override) out += "dhcp-no-override\n";
    if (!config.dhcp.ping_check) out += "no-ping\n";
    if (config.dhcp.rapid_commit) out += "dhcp-rapid-commit\n";
    if (config.dhcp.identity == conf::Dhcp::Identity::Mac) out += "dhcp-ignore-clid\n";
    if (config.dhcp.max_leases) out += "dhcp-lease-max=" + std::to_string(*config.dhcp.max_leases) + "\n";
    if (!config.dns.enabled) out += "dhcp-option=option:dns-server\n";
    if (server.mtu != 0) out += "dhcp-option=option:mtu," + std::to_string(server.mtu) + "\n";
    for (const auto ntp : config.dhcp.ntp_servers) out += "dhcp-option=option:ntp-server," + to_string(ntp) + "\n";
    if (config.dhcp.renew_time) out += "dhcp-option=option:T1," + seconds(*config.dhcp.renew_time) + "\n";
    if (config.dhcp.rebind_time) out += "dhcp-option=option:T2," + seconds(*config.dhcp.rebind_time) + "\n";
    if (!config.dhcp.boot_file.empty())
        out += "dhcp-boot=" + config.dhcp.boot_file + ",," + config.dhcp.boot_server + "\n";
    for (const auto& option : config.dhcp.options)
        out += "dhcp-option=" + std::to_string(option.code) + "," + option_value(option) + "\n";
    if (!config.dhcp.script.empty()) out += "dhcp-script=" + config.dhcp.script + "\n";
    for (const auto& host : config.dhcp.host) {
        std::string line = "dhcp-host=";
        for (const auto& mac : host.macs) line += to_string(mac) + ",";
        if (!host.client_id.empty()) line += "id:" + to_hex(host.client_id) + ",";
        if (host.address) line += to_string(*host.address) + ",";
        if (!host.name.empty()) line += host.name + ",";
        if (host.lease_time) line += seconds(*host.lease_time) + ",";
        if (host.ignore) line += "ignore,";
        line.pop_back();
        out += line + "\n";
    }
}

void add_dns(std::string& out, const conf::Config& config) {
    out += "domain=" + config.dns.domain + "\nlocal=/" + config.dns.domain + "/\nbogus-priv\n";
    if (config.dns.upstreams) {
        out += "no-resolv\n";
        for (const auto& server : *config.dns.upstreams) out += "server=" + endpoint(server) + "\n";
    } else {
        out += "resolv-file=" + config.dns.resolv_file + "\n";
    }
    if (config.dns.strict_order) out += "strict-order\n";
    out += "cache-size=" + std::to_string(config.dns.cache_size) + "\n";
    if (config.dns.rebind_protection) out += "stop-dns-rebind\n";
    if (config.dns.hide_lan_names) out += "domain-needed\nno-hosts\n";
    if (!config.dns.hosts_file.empty()) out += "addn-hosts=" + config.dns.hosts_file + "\n";
    for (const auto& route : config.dns.route) {
        for (const auto& server : route.upstreams) out += "server=/" + route.domain + "/" + endpoint(server) + "\n";
        out += "rebind-domain-ok=/" + route.domain + "/\n";
    }
    for (const auto& record : config.dns.records)
        out += "host-record=" + record.name + "," +
               std::visit([](const auto& one) { return to_string(one); }, record.address) + "\n";
    for (const auto& domain : config.dns.block_domains) out += "address=/" + domain.name + "/\n";
    for (const auto& file : config.dns.block_files) out += "addn-hosts=" + file + "\n";
    if (config.dns.log_queries) out += "log-queries\n";
}

/// dnsmasq reads a line a setting: nothing from the configuration may begin another one, or end the here-document.
std::string one_line_each(const std::string& text) {
    std::string out;
    for (const char c : text)
        if (c == '\n' || static_cast<unsigned char>(c) >= 0x20) out += c;
    return out;
}

std::string script(const Plan& plan, const conf::Config& config) {
    const std::string folder = "/run/" + plan.instance + "-recipe";
    Steps steps;
    add_forward(steps, plan, config);
    add_input(steps, plan, config);
    add_translation(steps, plan, config);
    add_link(steps, *plan.segment);
    std::string out = "saved=" + folder + "/settings\nfolder=" + folder + "\n" + std::string(head) + "up() {\n";
    out += "    [ ! -e \"$folder\" ] || { say \"it is up already ($folder); take it down first\" && exit 1; }\n";
    out += "    mkdir -p \"$folder\" " + shell_word(plan.state_folder) + "\n";
    if (config.dhcp.enabled) out += "    touch " + shell_word(plan.hosts_file) + "\n";
    for (const auto& line : steps.up) out += "    " + line + '\n';
    if (config.firewall.internet)
        out +=
            "    # all of this machine forwards from here on, also between its other interfaces\n"
            "    setting net/ipv4/ip_forward 1\n";
    if (config.dhcp.enabled || config.dns.enabled) {
        out += "    cat >\"$folder/dnsmasq.conf\" <<'END_OF_DNSMASQ_CONF'\n" +
               one_line_each(dnsmasq_conf(plan, config)) + "END_OF_DNSMASQ_CONF\n";
        out += "    dnsmasq --conf-file=\"$folder/dnsmasq.conf\" --pid-file=\"$folder/dnsmasq.pid\"\n";
    }
    out += "}\n\ndown() {\n    [ ! -e \"$folder/dnsmasq.pid\" ] || kill \"$(cat \"$folder/dnsmasq.pid\")\" || true\n";
    out += "    set +e # as far as possible\n    restore_settings\n";
    for (auto line = steps.down.rbegin(); line != steps.down.rend(); ++line) out += "    " + *line + '\n';
    out += "    rm -f \"$folder/dnsmasq.conf\" \"$folder/dnsmasq.pid\"\n    rmdir \"$folder\"\n}\n";
    return out + std::string(tail);
}

}  // namespace

std::string dnsmasq_conf(const Plan& plan, const conf::Config& config) {
    std::string out = "interface=" + plan.segment->name + "\nexcept-interface=lo\nbind-interfaces\nlisten-address=" +
                      to_string(plan.segment->address.address) + "\n";
    if (config.dhcp.enabled) add_dhcp(out, plan, config);
    if (config.dns.enabled)
        add_dns(out, config);
    else
        out += "port=0\n";
    return out;
}

std::vector<std::string> recipe_lacks(const Plan& plan, const conf::Config& config) {
    std::vector<std::string> lacks{
        "It knows the networks of this machine as they are now: a Wi-Fi or VPN that comes later is open to guests.",
        "A flush or a reload of a firewall removes these rules, and nobody notices: the LAN is open, or guests are cut "
        "off.",
        "ip_forward is on for the whole machine: its other interfaces forward to one another too.",
        "Nothing at layer 2: a guest can send VLAN tags, IPv6, forged ARP, and answer DHCP for others.",
        "Source addresses: another guest's address can be used, by anybody on the segment.",
        "IPv4 options (source routes, record route) pass, and ESTABLISHED is whatever was begun before these rules.",
        "Guests learn this machine's other addresses by ARP (arp_ignore), and hear its multicast.",
        "A chain of nftables beside iptables (firewalld, a hand-made policy) still drops what is accepted here.",
        "NetworkManager and systemd-networkd are not told; they may take the address away.",
        "dnsmasq writes its leases in place (a kill during the write loses them), and probes new addresses one after "
        "the "
        "other, 3 s each.",
        "Nobody limits connections of a guest, counts what was blocked, or shows who is there.",
    };
    if (config.dns.enabled && config.dns.hide_lan_names)
        lacks.emplace_back("Names of the LAN: the host's search domains still resolve; only single labels do not.");
    if (config.dns.enabled && config.dns.serve_stale)
        lacks.emplace_back("dns.serve_stale: without upstreams there are no answers.");
    if (config.dns.enabled && config.dns.host_lookup)
        lacks.emplace_back("dns.host_lookup: this machine does not resolve guests by name.");
    if (!config.dns.block_files.empty())
        lacks.emplace_back("Block lists: a listed name gets the address that stands in the list, and not NXDOMAIN.");
    if (!config.firewall.allow_domains.empty())
        lacks.emplace_back("firewall.allow_domains is NOT in here: guests reach the whole internet.");
    if (!config.usermode.empty())
        lacks.emplace_back("[[usermode]] is NOT in here: QEMU's user-mode guests are not confined.");
    if (config.network.isolate_guests)
        lacks.emplace_back(
            "network.isolate_guests: only through this machine; each port needs `bridge link set dev PORT isolated "
            "on`.");
    const auto is_lost = [](const conf::Forward& forward) {
        return !std::holds_alternative<Ipv4>(forward.guest) || !forward.listen.address ||
               forward.listen.address->is_loopback();
    };
    if (std::any_of(config.firewall.forward.begin(), config.firewall.forward.end(), is_lost))
        lacks.emplace_back(
            "[[firewall.forward]] on loopback, or to a guest by name or MAC, is NOT in here: iptables knows "
            "addresses.");
    if (!plan.segment->is_bridge) lacks.emplace_back("The interface's IPv6 addresses are gone after `down`.");
    return lacks;
}

std::string plan_recipe(const Plan& plan, const conf::Config& config) {
    std::string out = "#!/bin/sh\n# The classic recipe for " + plan.instance +
                      ": brctl, iptables and dnsmasq. sh FILE up, sh FILE down. For this machine as it is now.\n";
    if (!plan.segment) return out + "# There is no segment in this configuration, so there is no recipe.\nexit 1\n";
    out += "#\n# What it lacks in comparison with vmrouter:\n";
    for (const auto& line : recipe_lacks(plan, config)) out += "# - " + line + '\n';
    for (const auto& warning : plan.warnings) out += "# warning: " + warning + '\n';
    return out + script(plan, config);
}

}  // namespace vmrouter
