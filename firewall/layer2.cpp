// Below IP. On a bridge the guards match the port that a frame came in by, before anything else sees it: only untagged
// IPv4 and ARP come through, because one VLAN tag is enough to hide an ARP packet from an ARP match and two hide
// everything. On a plain interface the MAC stands for the port, and the arp family does what the bridge family does
// there.

#include "firewall/script.hpp"

namespace vmrouter::firewall {

namespace {

constexpr Reason frames{"frames", Reason::Answer::Drop, Reason::Log::No,
                        "VLAN tags, IPv6, 802.3, spanning tree, PPPoE: everything but untagged IPv4 and ARP"};
constexpr Reason spoofed{"spoofed", Reason::Answer::Drop, Reason::Log::PerGuest,
                         "a source that is not the sender's; never answered, the answer would reach whoever is forged"};
constexpr Reason options{"options", Reason::Answer::Drop, Reason::Log::PerGuest,
                         "IPv4 options: source routes, record route"};
constexpr Reason dhcp_server{"dhcp_server", Reason::Answer::Drop, Reason::Log::PerGuest,
                             "a guest that answers DHCP for us"};
constexpr Reason unasked{"unasked", Reason::Answer::Drop, Reason::Log::No,
                         "multicast and broadcast of the host and of the bridge itself (IGMP queries)"};
constexpr Reason ports_crowd{"crowd", Reason::Answer::Drop, Reason::Log::PerGuest,
                             "more MAC addresses behind one port than the bridge shall learn"};
constexpr Reason arp_crowd{"crowd", Reason::Answer::Drop, Reason::Log::PerGuest,
                           "more unleased addresses at once than this machine keeps neighbours for"};
constexpr Reason arp{"arp", Reason::Answer::Drop, Reason::Log::PerGuest, "ARP that claims what is not the sender's"};
constexpr Reason neighbours{"guests", Reason::Answer::Drop, Reason::Log::PerGuest,
                            "from guest to guest, with isolate_guests"};

/// How a rule recognises frames from guests, and frames to them.
std::string from_guests(const Segment& segment) {
    return segment.match_bridge_name ? "meta ibrname \"" + segment.interface + "\"" : "iifname @vm_ports";
}
std::string to_guests(const Segment& segment) {
    return segment.match_bridge_name ? "meta obrname \"" + segment.interface + "\"" : "oifname @vm_ports";
}

void open_table(Script& script, const std::string& family, const std::string& table) {
    script.gap();
    script.open("table " + family + " " + table);
}

}  // namespace

std::vector<std::string> source_guard(const Segment& segment, const Reason& reason) {
    const std::string drop = " goto " + chain_of(reason);
    const std::string net = to_string(segment.address.network());
    std::vector<std::string> rules{
        "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67 accept",
        "ip saddr " + to_string(segment.address.address) + drop,
    };
    if (segment.source_guard == SourceGuard::Off) return rules;

    rules.push_back("ip saddr != " + net + drop);
    if (segment.address.length < 31)
        rules.push_back("ip saddr { " + to_string(segment.address.first()) + ", " + to_string(segment.address.last()) +
                        " }" + drop);
    rules.push_back("ip saddr @vm_owned ether saddr . ip saddr != @vm_bound" + drop);
    if (segment.source_guard == SourceGuard::Lease) {
        // A guest whose lease we forgot must hear our NAK: DHCP goes through, and checks the sender itself.
        rules.push_back("ip saddr != @vm_owned ip daddr != { " + to_string(segment.address.address) +
                        ", 255.255.255.255 }" + drop);
        rules.push_back("ip saddr != @vm_owned udp dport != 67" + drop);
        rules.push_back("ip saddr != @vm_owned meta l4proto != udp" + drop);
    }
    return rules;
}

bool counts_neighbours(const Segment& segment) {
    constexpr std::uint8_t few_hosts = 23;  // a prefix of 510 addresses
    return segment.address.length < few_hosts && segment.source_guard != SourceGuard::Lease;
}

std::vector<std::string> neighbour_guard(const Segment& segment, const std::string& source, const Reason& reason) {
    if (!counts_neighbours(segment)) return {};
    return {source + " @vm_owned accept", "update @vm_unleased { " + source + " } accept", "goto " + chain_of(reason)};
}

Set unleased_set() {
    return {"vm_unleased",
            "ipv4_addr",
            "flags dynamic; size 256; timeout 1m;",
            "addresses that nobody leased: no more than fit beside others into the table of neighbours",
            {}};
}

std::vector<std::string> arp_guard(const Segment& segment, const Reason& reason) {
    const std::string drop = " goto " + chain_of(reason);
    std::vector<std::string> rules{
        "arp htype != 1" + drop,
        "arp ptype != ip" + drop,
        "arp hlen != 6" + drop,
        "arp plen != 4" + drop,
        "arp operation != { request, reply }" + drop,
        "arp saddr ip " + to_string(segment.address.address) + drop,
        "arp saddr ip 0.0.0.0 accept",  // a probe (RFC 5227)
    };
    if (segment.source_guard == SourceGuard::Off) return rules;

    rules.push_back("arp saddr ip != " + to_string(segment.address.network()) + drop);
    rules.push_back("arp saddr ip @vm_owned ether saddr . arp saddr ip != @vm_bound" + drop);
    rules.push_back("arp saddr ip @vm_owned arp saddr ether . arp saddr ip != @vm_bound" + drop);
    if (segment.source_guard == SourceGuard::Lease) rules.push_back("arp saddr ip != @vm_owned" + drop);
    return rules;
}

void add_bridge_table(Script& script, const Policy& policy, const std::string& table) {
    const Segment& segment = *policy.segment;
    std::vector<Reason> reasons{frames, spoofed, options, dhcp_server, arp, ports_crowd, unasked};
    if (segment.isolate_guests) reasons.push_back(neighbours);

    open_table(script, "bridge", table);
    add_reason_objects(script, policy, reasons);
    for (const auto& set : bridge_sets(policy)) script.set(set);
    script.set({"vm_macs",
                "ether_addr . ifname",
                "flags dynamic; size 16384; timeout 5m;",
                "who was heard behind which port",
                {}});
    script.set({"vm_newcomers", "ifname", "flags dynamic; size 4096; timeout 10m;", "limits them for each port", {}});

    script.base_chain("vm_ports_in", "filter hook prerouting priority -350",
                      "frames from guests, before any other rule", {from_guests(segment) + " jump vm_frame"});
    script.base_chain("vm_ports_local", "filter hook input priority -350",
                      "link-local multicast (01:80:c2:00:00:0x) does not meet prerouting",
                      {from_guests(segment) + " ether type != { ip, arp } goto " + chain_of(frames)});
    if (segment.isolate_guests) {
        script.base_chain("vm_ports_across", "filter hook forward priority -350",
                          "between ports; their isolated flag says the same",
                          {from_guests(segment) + " " + to_guests(segment) + " goto " + chain_of(neighbours)});
    }
    std::vector<std::string> leaving;
    if (segment.stp) leaving.push_back(to_guests(segment) + " ether daddr 01:80:c2:00:00:00 accept");
    leaving.push_back(to_guests(segment) + " ether type != { ip, arp } goto " + chain_of(frames));
    leaving.push_back(to_guests(segment) +
                      " ether type ip ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 goto vm_to_all");
    script.base_chain("vm_ports_out", "filter hook output priority -350", "frames of the host to guests", leaving);
    script.chain("vm_to_all", "of what goes to several guests, DHCP: our answers, and questions who else serves here",
                 {"udp sport 67 udp dport 68 accept", "udp sport 68 udp dport 67 accept", "goto " + chain_of(unasked)});

    script.chain("vm_frame", "a frame of a guest",
                 {"ether type != { ip, arp } goto " + chain_of(frames),
                  "ether saddr @vm_pinned ether saddr . iifname != @vm_pins goto " + chain_of(spoofed),
                  "jump vm_sender", "ether type arp goto vm_arp", "goto vm_ip"});
    script.chain(
        "vm_sender",
        "the bridge learns after this: a port that makes up MAC addresses neither fills its table, which would "
        "make it send every frame to every port, nor costs memory",
        {"ether saddr . iifname @vm_macs update @vm_macs { ether saddr . iifname } return",
         "add @vm_newcomers { iifname limit rate over 10/minute burst 256 packets } goto " + chain_of(ports_crowd),
         "add @vm_macs { ether saddr . iifname } return", "goto " + chain_of(ports_crowd)});
    script.chain("vm_arp", "nobody speaks for our address or for another guest's", arp_guard(segment, arp));
    std::vector<std::string> ip{
        "ip hdrlength != 5 goto " + chain_of(options),
        // A relay speaks from port 67 as well, to us alone.
        "udp sport 67 udp dport != 67 goto " + chain_of(dhcp_server),
        "udp sport 67 ip daddr != " + to_string(segment.address.address) + " goto " + chain_of(dhcp_server),
    };
    for (auto& rule : source_guard(segment, spoofed)) ip.push_back(std::move(rule));
    script.chain("vm_ip", "an IPv4 packet of a guest", ip);
    add_reason_chains(script, policy, reasons);
    script.close();
}

void add_arp_table(Script& script, const Policy& policy, const std::string& table) {
    const Segment& segment = *policy.segment;
    std::vector<Reason> reasons{arp};
    if (counts_neighbours(segment)) reasons.push_back(arp_crowd);
    open_table(script, "arp", table);
    add_reason_objects(script, policy, reasons);
    for (const auto& set : arp_sets(policy)) script.set(set);
    if (counts_neighbours(segment)) script.set(unleased_set());
    script.base_chain("vm_arp_in", "filter hook input priority -350", "what the host believes about guests",
                      {"iifname \"" + segment.interface + "\" goto vm_arp"});
    auto rules = arp_guard(segment, arp);
    for (auto& rule : neighbour_guard(segment, "arp saddr ip", arp_crowd)) rules.push_back(std::move(rule));
    // Also before the probes: who has 192.168.1.5 (an address of the host elsewhere)? Answers to our own probes are for
    // 0.0.0.0.
    rules.insert(rules.begin(),
                 "arp daddr ip != { 0.0.0.0, " + to_string(segment.address.network()) + " } goto " + chain_of(arp));
    script.chain("vm_arp",
                 "nobody speaks for our address or for another guest's, or asks for other addresses of the host",
                 rules);
    add_reason_chains(script, policy, reasons);
    script.close();
}

void add_netdev_table(Script& script, const Policy& policy, const std::string& table) {
    const std::vector<Reason> reasons{frames};
    open_table(script, "netdev", table);
    add_reason_objects(script, policy, reasons);
    script.gap();
    script.comment("before anything else, VLAN interfaces on top included");
    script.open("chain vm_ingress");
    script.line("type filter hook ingress device \"" + policy.segment->interface + "\" priority -350; policy accept;");
    script.line("ether type != { ip, arp } goto " + chain_of(frames));
    script.close();
    add_reason_chains(script, policy, reasons);
    script.close();
}

}  // namespace vmrouter::firewall
