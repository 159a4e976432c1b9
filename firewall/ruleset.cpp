// The rule set, one chain a purpose. Three ideas carry it:
//
// - The packet mark bit says "our chains let this packet pass", and nothing else sets it. Chains of other firewalls
// accept
//   by it. Packets carry it on their way from prerouting to routing as well, where it disarms the dead man's switch (a
//   routing rule that prohibits the LAN for whatever comes from the segment without the bit), so the first thing that
//   forward and input do is to take it away again, in chains of their own just before the deciding ones: with several
//   instances, each one's clearing comes before any one's deciding.
// - The same bit in the connection mark says "our rules let this connection begin". Connection tracking calls a
//   connection established whoever began it, before us or while our rules were flushed; we do not, without the bit.
// - What a guest sends in the direction in which the connection was opened is judged packet by packet, so a network
// that
//   becomes forbidden is shut for connections that are already open. Only answers pass by the connection's mark alone.

#include "firewall/ruleset.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <iterator>

#include "firewall/script.hpp"
#include "src/base/text.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::firewall {

namespace {

using Answer = Reason::Answer;
using Log = Reason::Log;

constexpr Reason host{"host", Answer::Refuse, Log::PerGuest, "services and addresses of this machine"};
constexpr Reason lan{"lan", Answer::Refuse, Log::PerGuest, "networks around this machine"};
constexpr Reason block{"block", Answer::Refuse, Log::PerGuest, "networks that firewall.block names"};
constexpr Reason closed{"closed", Answer::Refuse, Log::PerGuest, "anything beyond the segment, with internet = false"};
constexpr Reason name{"name", Answer::Refuse, Log::PerGuest, "addresses that no allowed name resolved to"};
constexpr Reason limit{"limit", Answer::Refuse, Log::PerGuest, "more connections than a guest may have"};
constexpr Reason neighbours{"guests", Answer::Refuse, Log::PerGuest, "from guest to guest through us"};
constexpr Reason stale{"stale", Answer::Refuse, Log::No, "connections that began before our rules, or in the middle"};
constexpr Reason spoofed{"spoofed", Answer::Drop, Log::PerGuest,
                         "a source that is not the sender's; never answered, the answer would reach whoever is forged"};
constexpr Reason options{"options", Answer::Drop, Log::PerGuest, "IPv4 options: source routes, record route"};
constexpr Reason dhcp_server{"dhcp_server", Answer::Drop, Log::PerGuest, "a guest that answers DHCP for us"};
constexpr Reason ipv6{"ipv6", Answer::Drop, Log::No, "IPv6 from and to the segment"};
constexpr Reason invalid{"invalid", Answer::Drop, Log::No,
                         "what connection tracking cannot place, and RELATED that is no ICMP error"};
constexpr Reason inbound{"inbound", Answer::Drop, Log::Plain, "from outside to a guest, and not published"};
constexpr Reason unasked{"unasked", Answer::Drop, Log::No,
                         "multicast and broadcast of the host, redirects (net.ipv4.conf.all.send_redirects), IPv6"};
constexpr Reason chatter{"chatter", Answer::Drop, Log::No, "multicast and broadcast of guests to the host"};
constexpr Reason transit{"transit", Answer::Drop, Log::Plain, "through this machine to something other than a segment"};
constexpr Reason crowd{"crowd", Answer::Drop, Log::PerGuest,
                       "more unleased addresses at once than this machine keeps neighbours for"};

std::string hex(std::uint32_t bits) {
    std::array<std::uint8_t, 4> bytes{};
    Writer(bytes).u32(bits);
    return "0x" + to_hex(bytes, "");
}

/// The words of one segment's rules.
struct Words {
    explicit Words(const Policy& policy)
        : segment(*policy.segment),
          from("iifname \"" + segment.interface + "\""),
          to("oifname \"" + segment.interface + "\""),
          net(to_string(segment.address.network())),
          ours(to_string(segment.address.address)),
          bit(hex(policy.mark)),
          others(hex(~policy.mark)) {}

    [[nodiscard]] std::string ours_began() const { return "ct mark & " + bit + " == " + bit; }
    [[nodiscard]] std::string not_ours() const { return "ct mark & " + bit + " == 0"; }
    [[nodiscard]] std::string set_mark() const { return "meta mark set meta mark | " + bit; }
    [[nodiscard]] std::string clear_mark() const { return "meta mark set meta mark & " + others; }
    [[nodiscard]] std::string begin() const { return "ct mark set ct mark | " + bit; }

    const Segment& segment;
    std::string from, to, net, ours, bit, others;
};

std::string to(const Reason& reason) {
    return " goto " + chain_of(reason);
}

/// What `segment` can run into: only the counters and chains that its rules use.
std::vector<Reason> reasons(const Policy& policy) {
    const Segment& segment = *policy.segment;
    std::vector<Reason> all{spoofed, options, dhcp_server, ipv6,  invalid, host,
                            chatter, unasked, neighbours,  stale, limit,   inbound};
    if (segment.internet) {
        all.push_back(lan);
        all.push_back(block);
        if (segment.allow_domains) all.push_back(name);
    } else {
        all.push_back(closed);
    }
    if (segment.forward_guard) all.push_back(transit);
    if (counts_neighbours(segment)) all.push_back(crowd);
    return all;
}

void add_arrival(Script& script, const Words& w) {
    std::vector<std::string> arriving{
        "meta nfproto ipv6" + to(ipv6),
        "ip hdrlength != 5" + to(options),
        "udp sport 67 udp dport != 67" + to(dhcp_server),
        "udp sport 67 ip daddr != " + w.ours + to(dhcp_server),
    };
    if (w.segment.dhcp)  // with a made-up source each it would fill the table of connections
        arriving.push_back("ip daddr { " + w.ours + ", 255.255.255.255 } udp sport { 67, 68 } udp dport 67 notrack");
    for (auto& rule : source_guard(w.segment, spoofed)) arriving.push_back(std::move(rule));
    arriving.push_back("ip saddr " + w.net + " update @vm_sent { ip saddr counter }");
    for (auto& rule : neighbour_guard(w.segment, "ip saddr", crowd)) arriving.push_back(std::move(rule));

    script.base_chain("vm_prerouting", "filter hook prerouting priority raw",
                      "before connection tracking: what no guest may send", {w.from + " goto vm_arriving"});
    script.chain("vm_arriving", "a packet of a guest arrives", arriving);
    script.base_chain(
        "vm_route", "filter hook prerouting priority dstnat + 10",
        "just before routing: the mark disarms the dead man's switch, for answers and errors from outside too",
        {w.from + " " + w.set_mark(), "iifname @vm_outside " + w.set_mark(),
         "ct status dnat ip daddr . meta l4proto . th dport @vm_published " + w.set_mark()});
    if (!w.segment.internet)
        script.base_chain("vm_shut", "filter hook prerouting priority dstnat + 20",
                          "nothing is forwarded: routing would lose what goes beyond the segment without a word",
                          {w.from + " ip daddr != { " + w.net +
                           ", 224.0.0.0/4, 255.255.255.255 } fib daddr type != local goto vm_from_guest"});
    script.base_chain("vm_leaving", "filter hook postrouting priority mangle",
                      "what goes to guests, counted for each of them as what comes from them is",
                      {w.to + " ip daddr " + w.net + " update @vm_received { ip daddr counter }"});
}

void add_translation(Script& script, const Policy& policy, const Words& w) {
    std::vector<std::string> arriving;
    if (w.segment.dns && w.segment.redirect_dns) {
        for (const auto& allowed : policy.allow) {  // a DNS server that was allowed by its port is meant
            if (w.segment.internet && allowed.ports && allowed.ports->first <= 53 && allowed.ports->last >= 53)
                arriving.push_back(w.from + " " + match(allowed) + " th dport 53 accept");
        }
        arriving.push_back(w.from + " ip daddr != { " + w.net +
                           ", 224.0.0.0/3 } meta l4proto { tcp, udp } th dport 53 dnat ip to " + w.ours + ":53");
    }
    const std::string at = "dnat ip to ip daddr . meta l4proto . th dport map @vm_forward_at";
    const std::string any = "dnat ip to meta l4proto . th dport map @vm_forward_any";
    if (w.segment.internet) {
        arriving.push_back("fib daddr type local " + at);
        arriving.push_back("fib daddr type local " + any);
    }
    script.base_chain("vm_dnat", "nat hook prerouting priority dstnat",
                      "published ports, and DNS queries to other servers", arriving);
    if (w.segment.internet) {
        script.base_chain("vm_dnat_local", "nat hook output priority -100",
                          "published ports, asked for by this machine (loopback is relayed, not translated)",
                          {"ip daddr != 127.0.0.0/8 fib daddr type local " + at,
                           "ip daddr != 127.0.0.0/8 fib daddr type local " + any});
    }
    const std::string out = w.to.substr(0, 7) + " != \"" + w.segment.interface + "\" ip saddr " + w.net +
                            " ip daddr != " + w.net + " " + w.ours_began();
    script.base_chain("vm_snat", "nat hook postrouting priority srcnat",
                      "guests appear as this machine; so do hairpins, whose answers must come back through us",
                      {w.to + " ct status dnat ip saddr " + w.net + " ip daddr " + w.net + " masquerade",
                       w.to + " ct status dnat fib saddr type local masquerade",
                       out + " meta l4proto { tcp, udp } masquerade to :1024-65535", out + " masquerade"});
}

void add_forward(Script& script, const Policy& policy, const Words& w) {
    script.base_chain("vm_forward_start", "filter hook forward priority filter - 11",
                      "nothing has been decided yet, for any instance",
                      {"meta mark & " + w.bit + " != 0 " + w.clear_mark()});

    std::vector<std::string> rules{
        w.from + " " + w.to + " goto vm_between_guests",
        w.from + " goto vm_from_guest",
        w.to + " goto vm_to_guest",
    };
    if (w.segment.forward_guard) rules.push_back("iifname @vm_outside oifname != @vm_segments" + to(transit));
    script.base_chain("vm_forward", "filter hook forward priority filter - 10", "what passes through this machine",
                      rules);

    std::vector<std::string> between;
    if (!w.segment.isolate_guests) {
        between.push_back("meta nfproto ipv6" + to(ipv6));
        between.emplace_back("ct state new jump vm_limits");
        if (counts_neighbours(w.segment)) {
            between.emplace_back("ip daddr @vm_owned goto vm_pass");
            between.push_back("ip daddr " + w.net + " update @vm_unleased { ip daddr } goto vm_pass");
            between.push_back("ip daddr " + w.net + to(crowd));
        }
        between.push_back("ip daddr { " + w.net + ", 224.0.0.0/4, 255.255.255.255 } goto vm_pass");
    }
    between.push_back("goto " + chain_of(neighbours));
    script.chain("vm_between_guests",
                 "bridged frames (with bridge-nf-call-iptables) and hairpins; no network lies behind a guest", between);

    std::vector<std::string> out{
        "meta nfproto ipv6" + to(ipv6),       "ct state { invalid, untracked }" + to(invalid),
        "ip saddr != " + w.net + to(spoofed), "ct state related goto vm_error",
        "ct direction reply goto vm_answer",
    };
    if (!w.segment.internet) {
        out.push_back("goto " + chain_of(closed));
    } else {
        for (const auto& allowed : policy.allow) out.push_back(match(allowed) + " goto vm_open");
        out.push_back("ip daddr @vm_block" + to(block));
        out.push_back("ip daddr @vm_reserved" + to(lan));
        if (w.segment.lan == Lan::Allow) {
            out.emplace_back("ip daddr @vm_private goto vm_open");
            out.emplace_back("ip daddr @vm_lan goto vm_open");
            out.emplace_back("oifname != @vm_uplinks goto vm_elsewhere");
        } else {
            out.push_back("ip daddr @vm_private" + to(lan));
            out.push_back("ip daddr @vm_lan" + to(lan));
            out.emplace_back("oifname != @vm_uplinks goto vm_elsewhere");
            out.emplace_back("oifname @vm_gatewayed oifname . rt ip nexthop != @vm_gateways goto vm_elsewhere");
        }
        if (w.segment.allow_domains) {
            out.push_back("meta l4proto { tcp, udp } th dport 853" + to(name));
            out.push_back("ct state new ip daddr != @vm_names" + to(name));
        }
        out.emplace_back("goto vm_open");
    }
    script.chain("vm_from_guest", "a guest wants to go out: answers first, then exceptions, then what is forbidden",
                 out);

    if (w.segment.internet)
        script.chain(
            "vm_elsewhere", "this way is no uplink, or not known as one yet: connections wait for the one that comes",
            {"ct state established " + w.ours_began() + " counter name vm_stale drop", "goto " + chain_of(lan)});

    std::vector<std::string> in{
        "meta nfproto ipv6" + to(ipv6),
        "ct state { invalid, untracked }" + to(invalid),
        "ct state related goto vm_error",
        "ct direction reply goto vm_answer",
    };
    if (w.segment.internet)
        in.emplace_back("ct status dnat ip daddr . meta l4proto . th dport @vm_published goto vm_open");
    in.push_back("goto " + chain_of(inbound));
    script.chain("vm_to_guest", "somebody outside wants to reach a guest: answers, and what is published", in);

    if (w.segment.clamp_mss) {
        const std::string clamp = " tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";
        script.base_chain("vm_clamp", "filter hook forward priority mangle",
                          "the smaller MTU of the two directions decides the segment size of TCP",
                          {w.from + " oifname != \"" + w.segment.interface + "\"" + clamp,
                           w.to + " iifname != \"" + w.segment.interface + "\"" + clamp});
    }
}

void add_input(Script& script, const Words& w) {
    script.base_chain("vm_input_start", "filter hook input priority filter - 11", "as in vm_forward_start",
                      {"meta mark & " + w.bit + " != 0 " + w.clear_mark()});
    script.base_chain("vm_input", "filter hook input priority filter - 10", "what is for this machine itself",
                      {w.from + " goto vm_to_host"});

    std::vector<std::string> rules{
        "meta nfproto ipv6" + to(ipv6),
    };
    // Port 67 opened by hand is another DHCP server's, or a relay's: clients without an address call for it by
    // broadcast.
    const auto& opened = w.segment.open_host_ports;
    if (w.segment.dhcp || std::ranges::find(opened, Service{Protocol::Udp, 67}) != opened.end())
        rules.push_back("ip daddr { " + w.ours + ", 255.255.255.255 } udp sport { 67, 68 } udp dport 67 goto vm_pass");
    if (w.segment.source_guard == SourceGuard::Off)  // our answers stay on the segment all the same
        rules.push_back("ip saddr != " + w.net + to(spoofed));
    rules.push_back("ct state { invalid, untracked }" + to(invalid));
    rules.emplace_back("ct state related goto vm_error");
    rules.emplace_back("ct direction reply goto vm_answer");
    rules.push_back("meta pkttype != host" + to(chatter));
    rules.push_back("ip daddr != " + w.ours + to(host));
    if (w.segment.dns) rules.emplace_back("meta l4proto { tcp, udp } th dport 53 goto vm_open");
    rules.emplace_back("icmp type echo-request goto vm_open");
    for (const auto& service : w.segment.open_host_ports)
        rules.push_back(to_string(service.protocol) + " dport " + std::to_string(service.port) + " goto vm_open");
    rules.push_back("goto " + chain_of(host));
    script.chain("vm_to_host", "a guest wants this machine: DHCP, DNS, echo, and the services that were opened", rules);
}

void add_output(Script& script, const Words& w) {
    // A translated packet still names the interface that it would have left by.
    std::vector<std::string> sent{w.to + " goto vm_from_host",
                                  "ct status dnat ip daddr . meta l4proto . th dport @vm_published goto vm_from_host"};
    if (w.segment.forward_guard)  // whoever tries to go through us is not taught a better way, as nobody was before
        sent.push_back("oifname @vm_outside icmp type redirect" + to(transit));
    script.base_chain("vm_output", "filter hook output priority filter - 10", "what this machine sends itself", sent);
    std::string everybody = "ip daddr { 224.0.0.0/4, 255.255.255.255";
    if (w.segment.address.length < 31) everybody += ", " + to_string(w.segment.address.last());
    script.chain(
        "vm_from_host", "this machine may talk to guests, but says nothing unasked except DHCP",
        {"meta nfproto ipv6" + to(unasked), "icmp type redirect" + to(unasked), "udp sport 67 udp dport 68 accept",
         everybody + " }" + to(unasked), "ct state established " + w.not_ours() + to(stale),
         "ct state new meta l4proto tcp tcp flags & (syn | rst) == 0" + to(stale),
         "ct state new meta l4proto != tcp " + w.begin(),
         "ct state new tcp flags & (fin | syn | rst | ack) == syn " + w.begin(), "accept"});
}

/// The chains that the others end in.
void add_verdicts(Script& script, const Words& w) {
    std::vector<std::string> limits;
    if (w.segment.max_connections > 0)
        limits.push_back("add @vm_flows_guest { ip saddr ct count over " + std::to_string(w.segment.max_connections) +
                         " }" + to(limit));
    if (w.segment.max_segment_connections > 0)
        limits.push_back("add @vm_flows_all { ip saddr & 0.0.0.15 ct count over " +
                         std::to_string((w.segment.max_segment_connections + 15) / 16) + " }" + to(limit));
    script.chain("vm_limits", "no guest takes all the connections that this machine can track", limits);
    script.chain("vm_open", "the rules allow this packet: it goes on if its connection is ours or begins here",
                 {"ct state established " + w.ours_began() + " goto vm_pass", "ct state != new" + to(stale),
                  "meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn" + to(stale), w.from + " jump vm_limits",
                  w.begin(), "counter name vm_opened goto vm_pass"});

    script.chain("vm_answer", "the other direction of a connection that our rules let begin",
                 {"ct state established " + w.ours_began() + " goto vm_pass", "counter name vm_stale drop"});
    script.chain(
        "vm_error", "RELATED: ICMP errors about our connections (path MTU), nothing that a helper expects",
        {w.ours_began() + " icmp type { destination-unreachable, time-exceeded, parameter-problem } goto vm_pass",
         "goto " + chain_of(invalid)});
    script.chain("vm_pass", "the mark tells other firewalls that this was decided", {w.set_mark(), "accept"});
}

void add_refusal(Script& script) {
    const std::string limited = "add @vm_refusals { ip saddr limit rate 50/second burst 100 packets } ";
    script.chain("vm_refuse", "an answer, so that the guest fails at once; silent when it asks too often",
                 {"meta pkttype != host drop", "meta l4proto tcp " + limited + "reject with tcp reset",
                  "meta l4proto != tcp " + limited + "reject with icmpx admin-prohibited", "drop"});
}

/// Counters for each guest; one that is silent for a day makes room.
constexpr std::pair<std::string_view, std::string_view> traffic_sets[] = {{"vm_sent", "what each guest sent"},
                                                                          {"vm_received", "and what it got"}};

void add_inet_table(Script& script, const Policy& policy, const std::string& table) {
    const bool users = !policy.usermode.uids.empty();
    script.gap();
    script.open("table inet " + table);
    script.line("comment \"vmrouter " + policy.instance + "\"");
    if (policy.segment) {
        script.counter("vm_opened");
        add_reason_objects(script, policy, reasons(policy));
    }
    if (users) add_usermode_objects(script, policy);
    for (const auto& set : inet_sets(policy)) script.set(set);
    if (policy.segment) {
        script.set({"vm_refusals",
                    "ipv4_addr",
                    "flags dynamic; size 1024; timeout 1m;",
                    "limits our answers to each guest",
                    {}});
        for (const auto& [set, purpose] : traffic_sets)
            script.set({set, "ipv4_addr", "flags dynamic; size 8192; timeout 1d;", purpose, {}});
        if (counts_neighbours(*policy.segment)) script.set(unleased_set());
        if (policy.segment->max_connections > 0)
            script.set({"vm_flows_guest", "ipv4_addr", "flags dynamic; size 65536;", "connections of each guest", {}});
        if (policy.segment->max_segment_connections > 0)
            script.set({"vm_flows_all",
                        "ipv4_addr",
                        "flags dynamic; size 16;",
                        "connections of all guests, in sixteen shares, which keeps counting cheap",
                        {}});
        const Words words(policy);
        add_arrival(script, words);
        add_translation(script, policy, words);
        add_forward(script, policy, words);
        add_input(script, words);
        add_output(script, words);
        add_verdicts(script, words);
        add_reason_chains(script, policy, reasons(policy));
        add_refusal(script);
    }
    if (users) add_usermode_chains(script, policy);
    script.close();
}

constexpr std::string_view families[] = {"inet", "bridge", "arp", "netdev"};

/// Without the contents of the sets: what elements() cannot change.
Policy shape(Policy policy) {
    policy.uplinks.clear();
    policy.side_links.clear();
    policy.lan.clear();
    policy.lan6.clear();
    policy.block.clear();
    policy.ports.clear();
    policy.other_segments.clear();
    policy.bindings.clear();
    policy.forwards.clear();
    return policy;
}

void compare(std::string& text, const std::string& where, const std::vector<Set>& from, const std::vector<Set>& to) {
    assert(from.size() == to.size());
    for (std::size_t i = 0; i < to.size(); ++i) {
        if (from[i].elements == to[i].elements) continue;
        const std::string set = where + " " + std::string(to[i].name);
        std::vector<std::string> gone;
        std::vector<std::string> added;
        if (to[i].whole) {
            text += "flush " + std::string(to[i].is_map() ? "map " : "set ") + set + "\n";
            added = to[i].elements;
        } else {
            std::set_difference(from[i].elements.begin(), from[i].elements.end(), to[i].elements.begin(),
                                to[i].elements.end(), std::back_inserter(gone));
            std::set_difference(to[i].elements.begin(), to[i].elements.end(), from[i].elements.begin(),
                                from[i].elements.end(), std::back_inserter(added));
        }
        if (!gone.empty()) text += "delete element " + set + " { " + join(gone) + " }\n";
        if (!added.empty()) text += "add element " + set + " { " + join(added) + " }\n";
    }
}

}  // namespace

std::string removal(const std::string& instance) {
    std::string text;
    for (const auto family : families) {
        const std::string table = "table " + std::string(family) + " " + table_name(instance) + "\n";
        text.append(table).append("delete ").append(table);
    }
    return text;
}

std::string admission(const std::string& instance, const std::string& segment, bool admitted) {
    return std::string(admitted ? "add" : "delete") + " element inet " + table_name(instance) + " vm_segments { \"" +
           segment + "\" }\n";
}

std::string ruleset(const Policy& policy) {
    const std::string table = table_name(policy.instance);
    Script script;
    script.comment("vmrouter " + policy.instance +
                   ": one transaction. Declaring before deleting works whether the tables exist or not.");
    std::string text = script.take() + removal(policy.instance);
    add_inet_table(script, policy, table);
    if (policy.segment) {
        if (policy.segment->mode == Mode::Bridge) add_bridge_table(script, policy, table);
        add_arp_table(script, policy, table);
        if (policy.segment->ingress_guard) add_netdev_table(script, policy, table);
    }
    return text + script.take();
}

std::map<std::string, std::size_t> outline(const Policy& policy) {
    std::map<std::string, std::size_t> rules;
    std::string family;
    std::string chain;
    const std::string text = ruleset(policy);
    for (const auto raw : split(text, '\n')) {
        const auto words = split(trim(raw), ' ');
        if (words.front() == "table") {
            family = words[1];
        } else if (words.front() == "chain") {
            chain = family + " " + std::string(words[1]);
            rules[chain] = 0;
        } else if (words.front() == "}") {
            chain.clear();
        } else if (!chain.empty() && words.front() != "type") {
            ++rules[chain];
        }
    }
    return rules;
}

std::string elements(const Policy& from, const Policy& to) {
    assert(same_shape(from, to));
    const std::string table = " " + table_name(to.instance);
    std::string text;
    compare(text, "inet" + table, inet_sets(from), inet_sets(to));
    if (!to.segment) return text;
    if (to.segment->mode == Mode::Bridge) compare(text, "bridge" + table, bridge_sets(from), bridge_sets(to));
    compare(text, "arp" + table, arp_sets(from), arp_sets(to));
    return text;
}

bool same_shape(const Policy& a, const Policy& b) {
    return shape(a) == shape(b);
}

}  // namespace vmrouter::firewall
