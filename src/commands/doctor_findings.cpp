#include "src/commands/doctor_findings.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/link/lan.hpp"
#include "src/link/rule.hpp"

namespace vmrouter::diagnosis {
namespace {

using nlohmann::json;
using List = std::vector<Finding>;

constexpr int slow_forwarding = 200;  // 2 s
constexpr Time reasonable{std::chrono::sys_days{std::chrono::year{2024} / 1 / 1}};
constexpr std::uint32_t main_rule = 32766;

void add(List& list, Severity severity, std::string id, std::string what, std::string where, std::string cure) {
    list.push_back({severity, std::move(id), std::move(what), std::move(where), std::move(cure)});
}

std::string join(const std::vector<std::string>& texts, std::string_view between = ", ") {
    std::string out;
    for (const auto& text : texts) out += (out.empty() ? "" : std::string(between)) + text;
    return out;
}

void about_instance(List& list, const Facts& f) {
    if (f.running && !f.answers)
        add(list, Severity::Broken, "instance_silent",
            f.stopped ? "vmrouter is stopped by a signal" : "vmrouter runs and does not answer",
            f.segment + " (pid " + std::to_string(f.pid) + ")",
            f.stopped ? "kill -CONT " + std::to_string(f.pid) : "restart it; what it said last is in its log");
    if (f.running && f.rules_stand == false)
        add(list, Severity::Broken, "rules_missing",
            "our firewall tables are not there: nothing but the dead man's switch "
            "holds the LAN shut, and guests have no way out",
            "nft list tables", "restart vmrouter; it puts them back within a second when it is alive");
    for (const auto& left : f.leftovers)
        add(list, Severity::Risk, "leftover", "an instance that was killed left bridge and rules of " + left.instance,
            left.file, "vmrouter down --instance " + left.instance + ", or start it again");
    for (const auto& feature : f.missing_features)
        add(list, Severity::Broken, "kernel", "the kernel lacks something: " + feature, "this kernel",
            "load the module, or boot a kernel that has it (modprobe bridge nf_tables nft_ct nft_masq)");
    for (const auto& error : f.files)
        add(list, Severity::Broken, "files", error.what, error.where,
            error.hint.empty() ? "make room, or give another place in the configuration" : error.hint);
    for (const auto& error : f.hosts_file)
        add(list, Severity::Risk, "hosts_file", "a reservation is skipped: " + error.what, error.where,
            error.hint.empty() ? "correct the line; it is read again at once" : error.hint);
    if (f.now < reasonable)
        add(list, Severity::Broken, "clock",
            "the clock stands before 2024: leases end at once when it is set, and TLS in guests fails", "system clock",
            "set it, or start vmrouter after time synchronisation");
    else if (!f.clock_synchronized)
        add(list, Severity::Note, "clock_unsynchronized", "the clock is not synchronised: leases follow when it jumps",
            "system clock", "timedatectl set-ntp true");
}

/// The program's own obstacles, in its own words.
void about_firewalls(List& list, const Facts& f) {
    for (const auto& obstacle : f.obstacles) {
        if (!obstacle.in_the_way()) continue;
        // Where nothing runs, one that can be helped is no problem: the start helps.
        const bool helped = obstacle.remedy == firewall::Remedy::Missing && !f.running;
        add(list, helped ? Severity::Note : Severity::Broken, "firewall",
            obstacle.program + " drops what guests send or get" +
                (helped ? "; vmrouter gets through when it starts" : ""),
            firewall::to_string(obstacle), join(obstacle.cure, "; "));
    }
    for (const auto& rule : f.path_rules)
        add(list, f.bridge_calls_iptables ? Severity::Broken : Severity::Risk, "reverse_path",
            "a reverse path check drops before connection tracking; DISCOVER comes from 0.0.0.0" +
                std::string(f.bridge_calls_iptables ? ", and bridged frames pass it (bridge-nf-call-iptables is 1)"
                                                    : ""),
            rule.where + ": " + escape(rule.rule) + " (handle " + std::to_string(rule.handle) + ")",
            "nft insert rule " + rule.where + " position " + std::to_string(rule.handle) + " iifname \"" +
                (f.segment.empty() ? "SEGMENT" : f.segment) + "\" accept");
    if (f.bridge_calls_iptables)
        add(list, Severity::Note, "bridge_nf",
            "bridged frames pass iptables (bridge-nf-call-iptables is 1, Docker sets it); our rules allow for it, "
            "those of others "
            "may drop what guests say to one another",
            "net.bridge.bridge-nf-call-iptables", "sysctl net.bridge.bridge-nf-call-iptables=0, when nothing needs it");
    if (f.publishes && f.strict_forward_ports == true)
        add(list, Severity::Broken, "strict_forward_ports",
            "firewalld rejects published ports that others translate (StrictForwardPorts=yes)",
            "/etc/firewalld/firewalld.conf",
            "set StrictForwardPorts=no and firewall-cmd --reload, or publish on loopback only");
}

void about_ports(List& list, const Facts& f) {
    const auto tell = [&](const std::vector<link::PortOwner>& owners, const char* port, const char* service,
                          const std::string& cure) {
        for (const auto& owner : owners) {
            if (owner.pid == f.pid && f.pid != 0) continue;
            add(list, Severity::Broken, std::string("port_") + port,
                std::string("another program has the port that our ") + service + " needs", link::describe({owner}),
                cure);
        }
    };
    if (f.dns)
        tell(f.port53, "53", "DNS",
             "have it listen on its own addresses only (dnsmasq: bind-interfaces and except-interface; unbound: "
             "interface:; "
             "systemd-resolved: DNSStubListenerExtra off), or set dns.enabled = false");
    if (f.dhcp) tell(f.port67, "67", "DHCP", "stop that DHCP server, or set dhcp.enabled = false");
    for (const auto& server : f.rogue_servers)
        add(list, Severity::Broken, "dhcp_server",
            "another DHCP server answers on the segment; guests may take its address", server,
            "switch it off there: guests behind a bridge port are guarded, others are not");
}

void about_names(List& list, const Facts& f) {
    if (!f.dns) return;
    const auto& r = f.resolver;
    if (!r.there) {
        add(list, Severity::Broken, "resolv_conf",
            r.dangling.empty() ? "there is no resolv.conf: guests have no DNS"
                               : "resolv.conf leads nowhere: guests have no DNS",
            r.dangling.empty() ? r.file : r.file + " -> " + r.dangling,
            "systemctl enable --now systemd-resolved, or write nameserver lines, or set dns.upstreams");
        return;
    }
    if (r.servers.empty() && r.loops.empty())
        add(list, Severity::Broken, "resolv_conf", "no name server is named: guests have no DNS", r.file,
            "write a nameserver line, or set dns.upstreams");
    for (const auto& loop : r.loops)
        add(list, Severity::Broken, "resolver_loop", "the upstream is our own address: questions go in a circle",
            r.file + ": " + loop, "name the real server there, or set dns.upstreams");
    if (!r.asked || r.silent.empty()) return;
    const bool all = r.silent.size() >= r.servers.size();
    add(list, all ? Severity::Broken : Severity::Risk, "upstream",
        all ? "no DNS upstream answers" : "a DNS upstream does not answer; the next one is asked", join(r.silent),
        "ask it from this machine: dig @" + r.silent.front() + " example.com; correct " + r.file + " or dns.upstreams");
}

/// Rules that send packets by another table before the main one, and before us: VPNs (Tailscale, WireGuard) do that.
void about_routing_rules(List& list, const Facts& f) {
    const auto ways = link::uplinks(f.host, f.segment, f.uplinks);
    for (const auto& rule : f.host.rules) {
        const bool plain = rule.action == link::RuleAction::Lookup && rule.priority > 0 && rule.priority < main_rule &&
                           rule.table != 254 && rule.table != 255 && rule.iif.empty() && rule.oif.empty();
        if (!plain || rule.to) continue;
        std::string by;
        for (const auto& route : f.host.routes)
            if (route.table == rule.table && route.type == link::RouteType::Unicast && route.destination.length < 8)
                for (const auto& hop : route.nexthops) by = f.host.name_of(hop.link);
        if (by.empty()) continue;
        const bool followed = std::any_of(ways.begin(), ways.end(), [&](const auto& way) { return way.name == by; });
        add(list, followed ? Severity::Note : Severity::Risk, "policy_routing",
            followed ? "a routing rule sends traffic by " + by + ", and guests follow it"
                     : "a routing rule sends some traffic by " + by +
                           ", which is no uplink of guests: what takes that way is refused",
            "ip rule " + std::to_string(rule.priority) + ": " + to_string(rule),
            followed ? "name firewall.uplink when guests shall not"
                     : "name it in firewall.uplink when guests shall use it");
    }
}

void about_uplink(List& list, const Facts& f) {
    if (!f.internet) return;
    const auto ways = link::uplinks(f.host, f.segment, f.uplinks);
    if (ways.empty()) {
        add(list, Severity::Broken, "uplink", "this machine has no route to the internet", "ip route",
            "connect it; guests get the internet when the route appears");
        return;
    }
    for (const auto& way : ways) {
        const auto* link = f.host.find(way.name);
        const bool named = !f.uplinks.empty();
        if (link == nullptr)
            add(list, Severity::Broken, "uplink_missing",
                "the uplink that the configuration names is not there" +
                    std::string(ways.size() == 1 ? "; it is a kill-switch, so guests have no internet" : ""),
                "firewall.uplink: " + way.name, "start the VPN, or name another uplink");
        else if (!link->up() || !link->carrier)
            add(list, Severity::Broken, "uplink_down",
                std::string(named ? "the uplink that the configuration names is " : "the uplink is ") +
                    (link->up() ? "without carrier" : "down"),
                way.name, link->up() ? "plug the cable in, or connect" : "ip link set " + way.name + " up");
        if (link != nullptr && f.running) {
            const auto setting = f.host.sysctls.find("net/ipv4/conf/" + way.name + "/forwarding");
            if (setting != f.host.sysctls.end() && setting->second == "0")
                add(list, Severity::Broken, "forwarding",
                    "forwarding is off on the uplink: answers to guests are dropped",
                    "net.ipv4.conf." + way.name + ".forwarding",
                    "sysctl net.ipv4.conf." + way.name +
                        ".forwarding=1; find out who writes it (vmrouter puts it back)");
        }
    }
    if (f.captive_portal)
        add(list, Severity::Broken, "captive_portal",
            "a captive portal stands before the internet, so guests get its page at best", "NetworkManager: portal",
            "log in with a browser on this machine; guests share what it gets");
    about_routing_rules(list, f);
}

void about_address(List& list, const Facts& f) {
    if (f.address_problem)
        add(list, Severity::Broken, "address", f.address_problem->what, f.address_problem->where,
            f.address_problem->hint);
    for (const auto& warning : f.address_warnings)
        add(list, Severity::Risk, "address_overlap", warning, "network.address",
            "give another one, or leave it at \"auto\"");
}

void about_settings(List& list, const Facts& f) {
    for (const auto& error : link::overruling_sysctls(f.host))
        add(list, Severity::Risk, "sysctl_all", error.what, error.where, error.hint);
    if (!f.running || !f.internet) return;
    const auto setting = f.host.sysctls.find("net/ipv4/conf/" + f.segment + "/forwarding");
    if (setting != f.host.sysctls.end() && setting->second == "0")
        add(list, Severity::Broken, "forwarding",
            "forwarding is off on the segment: guests reach nothing beyond this machine",
            "net.ipv4.conf." + f.segment + ".forwarding",
            "sysctl net.ipv4.conf." + f.segment + ".forwarding=1; find out who writes it (vmrouter puts it back)");
}

void about_managers(List& list, const Facts& f) {
    for (const auto& rival : f.rivals) add(list, Severity::Broken, "rival", rival.what, rival.where, rival.hint);
    if (f.network_manager)
        add(list, Severity::Broken, "network_manager",
            "NetworkManager manages it: it takes our address away, and ports off the bridge", f.network_manager_link,
            "nmcli device set " + f.network_manager_link + " managed no");
    if (f.networkd)
        add(list, Severity::Broken, "networkd", "systemd-networkd manages it: it removes our address when it restarts",
            f.segment,
            "write [Match] Name=" + f.segment + " [Link] Unmanaged=yes into /etc/systemd/network/00-" + f.segment +
                ".network and networkctl reload");
}

void about_bridge(List& list, const Facts& f, const link::Link& segment) {
    if (f.ports.empty())
        add(list, Severity::Note, "no_ports", "no guest is attached to the bridge", f.segment,
            "attach a VM to it (virt-manager: Bridge device " + f.segment + ")");
    if (f.forward_delay && *f.forward_delay > slow_forwarding)
        add(list, Severity::Broken, "forward_delay",
            "spanning tree keeps each new port deaf for " + std::to_string(2 * *f.forward_delay / 100) +
                " s: guests give up before they have an address",
            f.segment, "ip link set " + f.segment + " type bridge forward_delay 200, or stp_state 0");
    for (const auto& port : f.ports) {
        const auto* link = f.host.find(port.index);
        if (link == nullptr) continue;
        if (!link->up())
            add(list, Severity::Broken, "port_down", "a port of the bridge is down", port.name,
                "ip link set " + port.name + " up");
        else if (!link->carrier)
            add(list, Severity::Note, "port_no_carrier", "nobody is at the other end of a port", port.name,
                "start the VM");
        if (port.isolated != f.isolate)
            add(list, f.isolate ? Severity::Risk : Severity::Broken, "port_isolation",
                f.isolate ? "network.isolate_guests is set and a port is not isolated"
                          : "a port is isolated, so this guest cannot reach others",
                port.name, "bridge link set dev " + port.name + " isolated " + (f.isolate ? "on" : "off"));
        // The bridge itself sends no more than its smallest port takes; its guests do.
        const auto mtu = std::max(segment.mtu, f.mtu);
        if (link->mtu < mtu)
            add(list, Severity::Risk, "mtu",
                "a port takes smaller packets (" + std::to_string(link->mtu) + ") than the segment (" +
                    std::to_string(mtu) + "): larger ones vanish",
                port.name, "ip link set " + port.name + " mtu " + std::to_string(mtu));
    }
}

void about_segment(List& list, const Facts& f) {
    if (f.segment.empty()) return;
    const auto refused =
        f.is_bridge ? link::refuse_bridge(f.host, f.segment) : link::refuse_interface(f.host, f.segment);
    if (refused)
        add(list, Severity::Broken, "segment", refused->what, refused->where.empty() ? f.segment : refused->where,
            refused->hint);
    const auto* segment = f.host.find(f.segment);
    if (segment == nullptr) {
        if (!f.is_bridge || f.running)
            add(list, Severity::Broken, "segment_missing", "the interface of the segment is not there", f.segment,
                f.is_bridge ? "restart vmrouter" : "plug the adapter in; `ip link` lists those of this machine");
        return;
    }
    if (f.running && !segment->up())
        add(list, Severity::Broken, "segment_down", "the segment's interface is down", f.segment,
            "ip link set " + f.segment + " up; find out who put it down");
    if (segment->up() && !segment->carrier && !f.is_bridge)
        add(list, Severity::Broken, "no_carrier", "nothing is plugged in, or the device is off", f.segment,
            "plug the cable in; try another one");
    if (f.running && f.address) {
        const auto has = [&](const link::Address4& one) {
            return one.link == segment->index && one.local == f.address->address;
        };
        if (std::none_of(f.host.addresses.begin(), f.host.addresses.end(), has))
            add(list, Severity::Broken, "address_missing", "our address is gone from the segment: somebody removed it",
                f.segment + " " + vmrouter::to_string(*f.address),
                "ip addr add " + vmrouter::to_string(*f.address) + " dev " + f.segment +
                    "; find out who removes it (NetworkManager, systemd-networkd, dhclient)");
    }
    if (f.is_bridge && segment->kind == "bridge") about_bridge(list, f, *segment);
    for (const auto& way : link::uplinks(f.host, f.segment, f.uplinks))
        if (way.mtu != 0 && way.mtu < segment->mtu && segment->mtu <= 1500)
            add(list, Severity::Note, "mtu",
                "the uplink takes smaller packets (" + std::to_string(way.mtu) + ") than the segment (" +
                    std::to_string(segment->mtu) + "); TCP is clamped, other packets need path MTU discovery",
                way.name, "network.mtu = \"auto\" takes the uplink's");
}

bool drops(const json& expressions) {
    return std::any_of(expressions.begin(), expressions.end(), [](const json& one) {
        if (one.contains("drop")) return true;
        const auto xt = one.find("xt");
        return xt != one.end() && xt->value("type", "") == "target" && xt->value("name", "") == "DROP";
    });
}

bool checks_path(const json& expressions) {
    return std::any_of(expressions.begin(), expressions.end(), [](const json& one) {
        const auto xt = one.find("xt");
        if (xt != one.end() && xt->value("name", "") == "rpfilter") return true;
        const auto match = one.find("match");
        return match != one.end() && match->contains("left") && (*match)["left"].contains("fib");
    });
}

/// The rule in a few words; nft's own text is not in a JSON listing.
std::string text_of(const json& expressions) {
    std::string text;
    for (const auto& one : expressions) {
        const auto xt = one.find("xt");
        const auto word = xt != one.end()         ? xt->value("name", "")
                          : one.contains("match") ? std::string("fib")
                          : one.contains("drop")  ? std::string("drop")
                                                  : std::string();
        if (!word.empty()) text += (text.empty() ? "" : " ") + word;
    }
    return text;
}

}  // namespace

std::string to_string(Severity severity) {
    switch (severity) {
        case Severity::Broken:
            return "broken";
        case Severity::Risk:
            return "risk";
        case Severity::Note:
            return "note";
    }
    return {};
}

std::vector<Finding> diagnose(const Facts& facts) {
    List list;
    about_instance(list, facts);
    about_segment(list, facts);
    about_address(list, facts);
    about_uplink(list, facts);
    about_ports(list, facts);
    about_names(list, facts);
    about_firewalls(list, facts);
    about_managers(list, facts);
    about_settings(list, facts);
    std::stable_sort(list.begin(), list.end(),
                     [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
    return list;
}

std::vector<PathRule> path_rules(std::string_view ruleset_json) {
    std::vector<PathRule> found;
    const auto document = json::parse(ruleset_json, nullptr, false);
    if (!document.is_object()) return found;
    std::vector<std::string> prerouting;
    const auto name = [](const json& one, const char* chain) {
        return one.value("family", "") + " " + one.value("table", "") + " " + one.value(chain, "");
    };
    const auto objects = document.value("nftables", json::array());
    for (const auto& object : objects)
        if (const auto chain = object.find("chain"); chain != object.end() && chain->value("hook", "") == "prerouting")
            prerouting.push_back(name(*chain, "name"));
    for (const auto& object : objects) {
        const auto rule = object.find("rule");
        if (rule == object.end() || rule->value("table", "").starts_with("vmrouter_")) continue;
        const auto where = name(*rule, "chain");
        const auto expressions = rule->value("expr", json::array());
        const bool base = std::find(prerouting.begin(), prerouting.end(), where) != prerouting.end();
        if ((base || where.find("rpfilter") != std::string::npos) && checks_path(expressions) && drops(expressions))
            found.push_back({where, rule->value("handle", std::uint64_t{0}), text_of(expressions)});
    }
    return found;
}

json to_json(const std::vector<Finding>& findings) {
    auto list = json::array();
    for (const auto& one : findings)
        list.push_back({{"severity", to_string(one.severity)},
                        {"id", one.id},
                        {"what", one.what},
                        {"where", one.where},
                        {"cure", one.cure}});
    return list;
}

}  // namespace vmrouter::diagnosis
