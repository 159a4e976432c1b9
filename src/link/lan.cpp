#include "src/link/lan.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace vmrouter::link {
namespace {

/// Shorter prefixes through an uplink mean "the internet", not a network of the host.
constexpr std::uint8_t kShortestNetwork = 8;

template <class Predicate>
bool leaves_by_any(const Route& route, Predicate is_wanted) {
    return std::any_of(route.nexthops.begin(), route.nexthops.end(),
                       [&](const Nexthop& hop) { return is_wanted(hop.link); });
}

/// A default route or a part of one, as far as its prefix tells; the multicast half of `224.0.0.0/4 dev eth1` is none.
bool is_wide(const Cidr& destination) {
    return destination.length < kShortestNetwork && !destination.address.is_multicast();
}

bool is_wide(const Route& route) {
    return route.type == RouteType::Unicast && is_wide(route.destination);
}

std::vector<Ipv4> default_gateways(const HostFacts& facts, int link) {
    std::set<Ipv4> gateways;
    const auto note = [&](const Route& route) {
        if (!is_wide(route)) return;
        for (const Nexthop& hop : route.nexthops) {
            if (hop.link == link && hop.gateway) gateways.insert(*hop.gateway);
        }
    };
    for (const Route& route : facts.routes) note(route);
    for (const PathAnswer& answer : facts.internet) {
        if (answer.route) note(*answer.route);
    }
    return {gateways.begin(), gateways.end()};
}

/// The interfaces of the kernel's answers, in the order of the answers. An answer by a longer prefix is some network's
/// own route, not the way to the internet.
std::vector<int> internet_links(const HostFacts& facts) {
    std::vector<int> links;
    for (const PathAnswer& answer : facts.internet) {
        if (!answer.route || !is_wide(*answer.route)) continue;
        for (const Nexthop& hop : answer.route->nexthops) {
            if (hop.link != 0 && std::find(links.begin(), links.end(), hop.link) == links.end())
                links.push_back(hop.link);
        }
    }
    return links;
}

Uplink uplink_of(const HostFacts& facts, const Link& link) {
    const auto leading = internet_links(facts);
    const bool leads = std::find(leading.begin(), leading.end(), link.index) != leading.end();
    return {link.name, link.index, default_gateways(facts, link.index), link.mtu, leads};
}

/// The links of default routes and everything below them: the device under a VLAN, the ports of a bridge or bond.
std::set<int> default_route_carriers(const HostFacts& facts) {
    std::set<int> carriers;
    for (const int link : internet_links(facts)) carriers.insert(link);
    for (const Route& route : facts.routes) {
        if (!is_wide(route)) continue;
        for (const Nexthop& hop : route.nexthops) {
            if (hop.link != 0) carriers.insert(hop.link);
        }
    }
    for (bool grown = true; grown;) {
        grown = false;
        for (const Link& link : facts.links) {
            if (carriers.contains(link.index) && link.parent != 0) grown |= carriers.insert(link.parent).second;
            if (link.master != 0 && carriers.contains(link.master)) grown |= carriers.insert(link.index).second;
        }
    }
    return carriers;
}

Error default_route_error(std::string_view interface) {
    return {"the host reaches the internet through " + std::string(interface) + "; it cannot be a segment as well",
            std::string(interface), "give guests an interface of their own, or a bridge: --bridge virbr10"};
}

}  // namespace

std::vector<Uplink> uplinks(const HostFacts& facts, std::string_view segment, std::span<const std::string> configured) {
    std::vector<Uplink> result;
    for (const std::string& name : configured) {
        const Link* link = facts.find(name);
        result.push_back(link != nullptr ? uplink_of(facts, *link) : Uplink{name, 0, {}, 0, false});
    }
    if (!configured.empty()) return result;
    for (const int index : internet_links(facts)) {
        const Link* link = facts.find(index);
        if (link != nullptr && link->name != segment) result.push_back(uplink_of(facts, *link));
    }
    return result;
}

std::vector<Cidr> lan_prefixes(const HostFacts& facts, std::string_view segment, std::span<const Uplink> uplinks) {
    const Link* own = facts.find(segment);
    const auto is_segment = [&](int link) { return own != nullptr && own->index == link; };
    const auto is_uplink = [&](int link) {
        return std::any_of(uplinks.begin(), uplinks.end(),
                           [&](const Uplink& uplink) { return uplink.index != 0 && uplink.index == link; });
    };

    std::vector<Cidr> prefixes;
    const auto add = [&](const Cidr& prefix) {
        if (!prefix.address.is_loopback() && !prefix.address.is_multicast()) prefixes.push_back(prefix.network());
    };
    for (const Address4& address : facts.addresses) {
        if (is_segment(address.link)) continue;
        add({address.local, 32});  // not inside `network` when it is a peer's
        if (address.network.length > 0 && !(is_wide(address.network) && is_uplink(address.link))) add(address.network);
    }
    for (const Route& route : facts.routes) {
        if (route.type != RouteType::Unicast && route.type != RouteType::Local) continue;
        if (route.destination.length == 0) continue;
        if (leaves_by_any(route, is_segment)) continue;
        if (is_wide(route) && leaves_by_any(route, is_uplink)) continue;
        add(route.destination);
    }
    return outermost(std::move(prefixes));
}

std::vector<Uplink6> uplinks6(const HostFacts& facts, std::string_view segment,
                              std::span<const std::string> configured) {
    std::map<std::string, std::set<Ipv6>> gateways;
    for (const Route6& route : facts.routes6) {
        if (route.type != RouteType::Unicast || route.destination.length >= kShortestNetwork) continue;
        for (const Route6::Hop& hop : route.nexthops) {
            const Link* link = facts.find(hop.link);
            if (link == nullptr || link->loopback() || link->name == segment) continue;
            auto& known = gateways[link->name];
            if (hop.gateway) known.insert(*hop.gateway);
        }
    }
    std::vector<Uplink6> result;
    if (configured.empty()) {
        for (const auto& [name, several] : gateways) result.push_back({name, {several.begin(), several.end()}});
        return result;
    }
    for (const std::string& name : configured) {
        const auto& several = gateways[name];
        result.push_back({name, {several.begin(), several.end()}});
    }
    return result;
}

std::vector<Network6> lan_prefixes6(const HostFacts& facts) {
    const auto is_network = [](const Network6& one) {
        return one.length >= kShortestNetwork && one.address.bytes[0] != 0xff;
    };
    std::set<Network6> networks;
    for (const Address6& address : facts.addresses6) {
        Network6 network{address.local, address.length};
        for (std::size_t bit = address.length; bit < 128; ++bit)
            network.address.bytes[bit / 8] =
                static_cast<std::uint8_t>(network.address.bytes[bit / 8] & ~(0x80 >> (bit % 8)));
        const Link* link = facts.find(address.link);
        if (link != nullptr && !link->loopback() && is_network(network)) networks.insert(network);
    }
    for (const Route6& route : facts.routes6) {
        const bool counts = route.type == RouteType::Unicast || route.type == RouteType::Local;
        if (counts && is_network(route.destination)) networks.insert(route.destination);
    }
    return {networks.begin(), networks.end()};
}

std::vector<Cidr> outermost(std::vector<Cidr> prefixes) {
    std::sort(prefixes.begin(), prefixes.end());  // a wider one comes before what it covers
    std::vector<Cidr> result;
    for (const Cidr& prefix : prefixes) {
        if (result.empty() || !result.back().covers(prefix)) result.push_back(prefix);
    }
    return result;
}

std::vector<Error> overruling_sysctls(const HostFacts& facts) {
    struct Overruling {
        std::string_view key;
        std::string_view harmless;
        std::string_view meaning;
    };
    constexpr std::array kOverruling{
        Overruling{"proxy_arp", "0", "this machine answers ARP questions of guests for other networks"},
        Overruling{"route_localnet", "0", "services on 127.0.0.1 are reachable from other machines"},
    };
    std::vector<Error> found;
    for (const Overruling& entry : kOverruling) {
        const auto value = facts.sysctls.find("net/ipv4/conf/all/" + std::string(entry.key));
        if (value == facts.sysctls.end() || value->second == entry.harmless) continue;
        const std::string name = "net.ipv4.conf.all." + std::string(entry.key);
        found.push_back({name + " is " + value->second + " for every interface: " + std::string(entry.meaning), name,
                         "if nothing needs it: sysctl -w " + name + "=" + std::string(entry.harmless)});
    }
    return found;
}

bool carries_default_route(const HostFacts& facts, std::string_view interface) {
    const Link* link = facts.find(interface);
    return link != nullptr && default_route_carriers(facts).contains(link->index);
}

std::optional<Error> refuse_interface(const HostFacts& facts, std::string_view interface) {
    const Link* link = facts.find(interface);
    const std::string name(interface);
    if (link == nullptr) return std::nullopt;
    if (link->loopback()) return Error{"the loopback interface cannot be a segment", name, {}};
    if (link->master != 0) {
        const std::string master = facts.name_of(link->master);
        return Error{name + " belongs to " + master + " and cannot be a segment by itself", name,
                     link->port_kind == "bridge"
                         ? "use the bridge, if it is not the host's own network: --bridge " + master
                         : "take it out of " + master + " first"};
    }
    if (default_route_carriers(facts).contains(link->index)) return default_route_error(interface);
    return std::nullopt;
}

std::optional<Error> refuse_bridge(const HostFacts& facts, std::string_view bridge) {
    const Link* link = facts.find(bridge);
    const std::string name(bridge);
    if (link == nullptr) return std::nullopt;
    if (link->kind != "bridge") {
        return Error{name + " exists and is not a bridge" + (link->kind.empty() ? "" : " but " + link->kind), name,
                     "choose another name, or serve it as it is: --iface " + name};
    }
    const auto carriers = default_route_carriers(facts);
    if (carriers.contains(link->index)) return default_route_error(bridge);
    for (const Link* port : facts.ports_of(bridge)) {
        if (carriers.contains(port->index)) {
            return Error{"port " + port->name + " of " + name + " carries the host's default route", name,
                         "choose another bridge for the guests"};
        }
    }
    return std::nullopt;
}

}  // namespace vmrouter::link
