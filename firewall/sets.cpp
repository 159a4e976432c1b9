#include "firewall/sets.hpp"

#include <algorithm>

namespace vmrouter::firewall {

namespace {

/// Empty when nft cannot name it: it is left out, see each().
std::string quoted(const std::string& interface) {
    return can_name(interface) ? '"' + interface + '"' : std::string{};
}

/// `"eth0" . 192.168.1.1`, or empty.
std::string with_gateway(const std::string& interface, const std::string& gateway) {
    const auto name = quoted(interface);
    return name.empty() ? name : name + " . " + gateway;
}

std::vector<std::string> sorted(std::vector<std::string> elements) {
    std::sort(elements.begin(), elements.end());
    elements.erase(std::unique(elements.begin(), elements.end()), elements.end());
    return elements;
}

/// Prefixes without those that lie inside another one: overlapping intervals are refused by nft.
std::vector<std::string> prefixes(std::vector<Cidr> all) {
    for (auto& cidr : all) cidr = cidr.network();
    std::sort(all.begin(), all.end());  // by address, then by length: what covers comes before what is covered
    std::vector<std::string> elements;
    const Cidr* last = nullptr;
    for (const auto& cidr : all) {
        if (last != nullptr && last->covers(cidr)) continue;
        last = &cidr;
        elements.push_back(to_string(cidr));
    }
    return elements;
}

bool covers(const Prefix6& wide, const Prefix6& narrow) {
    if (wide.length > narrow.length) return false;
    for (unsigned bit = 0; bit < wide.length; ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80 >> (bit % 8));
        if ((wide.address.bytes[bit / 8] & mask) != (narrow.address.bytes[bit / 8] & mask)) return false;
    }
    return true;
}

std::vector<std::string> prefixes6(const std::vector<Prefix6>& all) {
    std::vector<std::string> elements;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool covered = std::any_of(all.begin(), all.end(), [&](const Prefix6& other) {
            if (&other == &all[i] || !covers(other, all[i])) return false;
            return !covers(all[i], other) || &other < &all[i];  // of two equal ones the first stays
        });
        if (!covered) elements.push_back(to_string(all[i]));
    }
    return sorted(std::move(elements));
}

template <class Range, class Function>
std::vector<std::string> each(const Range& range, Function text) {
    std::vector<std::string> elements;
    for (const auto& item : range) {
        if (auto element = text(item); !element.empty()) elements.push_back(std::move(element));
    }
    return sorted(std::move(elements));
}

std::vector<std::string> owned(const Policy& policy) {
    return each(policy.bindings, [](const Binding& b) { return to_string(b.address); });
}

std::vector<std::string> bound(const Policy& policy) {
    return each(policy.bindings, [](const Binding& b) { return to_string(b.mac) + " . " + to_string(b.address); });
}

Set owned_set(const Policy& policy) {
    return {"vm_owned", "ipv4_addr", {}, "addresses that are leased or reserved", owned(policy)};
}

Set bound_set(const Policy& policy) {
    return {"vm_bound", "ether_addr . ipv4_addr", {}, "who they are leased or reserved to", bound(policy)};
}

void add_uplinks(std::vector<Set>& sets, const Policy& policy) {
    sets.push_back({"vm_uplinks", "ifname", {}, "where the internet is", each(policy.uplinks, [](const Uplink& u) {
                        return u.leads_to_ipv4() ? quoted(u.name) : std::string{};
                    })});
    sets.push_back({"vm_gatewayed",
                    "ifname",
                    {},
                    "uplinks behind which the internet is the gateway's side only",
                    each(policy.uplinks, [](const Uplink& u) { return u.gateway ? quoted(u.name) : std::string{}; })});
    sets.push_back(
        {"vm_gateways", "ifname . ipv4_addr", {}, "their gateways", each(policy.uplinks, [](const Uplink& u) {
             return u.gateway ? with_gateway(u.name, to_string(*u.gateway)) : std::string{};
         })});
}

void add_uplinks6(std::vector<Set>& sets, const Policy& policy) {
    sets.push_back({"vm_uplinks6", "ifname", {}, "the same for IPv6", each(policy.uplinks, [](const Uplink& u) {
                        return quoted(u.name);
                    })});
    sets.push_back({"vm_gatewayed6", "ifname", {}, {}, each(policy.uplinks, [](const Uplink& u) {
                        return u.gateway6 ? quoted(u.name) : std::string{};
                    })});
    sets.push_back({"vm_gateways6", "ifname . ipv6_addr", {}, {}, each(policy.uplinks, [](const Uplink& u) {
                        return u.gateway6 ? with_gateway(u.name, to_string(*u.gateway6)) : std::string{};
                    })});
}

void add_networks(std::vector<Set>& sets, const Policy& policy) {
    constexpr auto interval = "flags interval;";
    sets.push_back(
        {"vm_reserved", "ipv4_addr", interval, "never the internet, never a LAN", prefixes(reserved_ranges()), true});
    sets.push_back({"vm_private", "ipv4_addr", interval, "ranges that LANs use", prefixes(private_ranges()), true});
    sets.push_back(
        {"vm_lan", "ipv4_addr", interval, "networks of this host; follows its routes", prefixes(policy.lan), true});
    sets.push_back({"vm_block", "ipv4_addr", interval, "firewall.block", prefixes(policy.block), true});
}

std::string service(const Service& s) {
    return to_string(s.protocol) + " . " + std::to_string(s.port);
}

void add_forwards(std::vector<Set>& sets, const Policy& policy) {
    const auto target = [](const Forward& f) { return to_string(f.guest) + " . " + std::to_string(f.guest_port); };
    sets.push_back({"vm_forward_any",
                    "inet_proto . inet_service : ipv4_addr . inet_service",
                    {},
                    "published on every address of the host",
                    each(policy.forwards,
                         [&](const Forward& f) {
                             return f.listen_address.is_unspecified() ? service(f.listen) + " : " + target(f)
                                                                      : std::string{};
                         }),
                    true});
    sets.push_back({"vm_forward_at",
                    "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
                    {},
                    "published on one address",
                    each(policy.forwards,
                         [&](const Forward& f) {
                             if (f.listen_address.is_unspecified()) return std::string{};
                             return to_string(f.listen_address) + " . " + service(f.listen) + " : " + target(f);
                         }),
                    true});
    sets.push_back({"vm_published",
                    "ipv4_addr . inet_proto . inet_service",
                    {},
                    "what they lead to",
                    each(policy.forwards, [](const Forward& f) {
                        return to_string(f.guest) + " . " + service({f.listen.protocol, f.guest_port});
                    })});
}

}  // namespace

std::vector<Set> inet_sets(const Policy& policy) {
    std::vector<Set> sets;
    add_uplinks(sets, policy);
    add_networks(sets, policy);
    if (!policy.usermode.uids.empty()) {
        add_uplinks6(sets, policy);
        auto lan6 = blocked_ranges6();
        lan6.insert(lan6.end(), policy.lan6.begin(), policy.lan6.end());
        sets.push_back({"vm_lan6", "ipv6_addr", "flags interval;", "special ranges and the networks of this host",
                        prefixes6(lan6), true});
    }
    if (!policy.segment) return sets;

    auto outside = policy.side_links;
    for (const auto& uplink : policy.uplinks)
        if (uplink.leads_to_ipv4()) outside.push_back(uplink.name);
    sets.push_back({"vm_outside", "ifname", {}, "uplinks, and where allowed networks are", each(outside, quoted)});
    sets.push_back(owned_set(policy));
    sets.push_back(bound_set(policy));
    add_forwards(sets, policy);
    if (policy.segment->forward_guard) {
        auto segments = policy.other_segments;
        segments.push_back(policy.segment->interface);
        sets.push_back({"vm_segments", "ifname", {}, "of every instance", each(segments, quoted)});
    }
    if (policy.segment->allow_domains)
        sets.push_back(
            {"vm_names", "ipv4_addr", "flags timeout; size 65536;", "what the allowed names resolve to", {}});
    return sets;
}

std::vector<Set> bridge_sets(const Policy& policy) {
    std::vector<Set> sets;
    if (!policy.segment->match_bridge_name)
        sets.push_back({"vm_ports", "ifname", {}, "the ports of the bridge", each(policy.ports, quoted)});
    sets.push_back(owned_set(policy));
    sets.push_back(bound_set(policy));
    sets.push_back(
        {"vm_pinned", "ether_addr", {}, "guests that are held to a port", each(policy.bindings, [](const Binding& b) {
             return pinned_to(b).empty() ? std::string{} : to_string(b.mac);
         })});
    sets.push_back(
        {"vm_pins", "ether_addr . ifname", {}, "and to which one", each(policy.bindings, [](const Binding& b) {
             return pinned_to(b).empty() ? std::string{} : to_string(b.mac) + " . " + quoted(b.port);
         })});
    return sets;
}

std::vector<Set> arp_sets(const Policy& policy) {
    return {owned_set(policy), bound_set(policy)};
}

std::string pinned_to(const Binding& binding) {
    return can_name(binding.port) ? binding.port : std::string{};
}

std::string join(const std::vector<std::string>& elements) {
    std::string text;
    for (const auto& element : elements) text += (text.empty() ? "" : ", ") + element;
    return text;
}

}  // namespace vmrouter::firewall
