#include "src/address_choice.hpp"

#include <algorithm>

namespace vmrouter {
namespace {

/// Shorter prefixes are ways to the internet, not networks that an address could collide with.
constexpr std::uint8_t kShortestNetwork = 8;

/// A network of the host, and where it comes from.
struct Known {
    Cidr network;
    int link = 0;  ///< 0: of no interface (a route that refuses)
    std::string source;
};

std::vector<Known> networks_of(const link::HostFacts& facts) {
    std::vector<Known> result;
    for (const link::Address4& address : facts.addresses) {
        const std::string source = "the network of " + facts.name_of(address.link);
        result.push_back({{address.local, 32}, address.link, source});
        if (address.network.length >= kShortestNetwork) result.push_back({address.network, address.link, source});
    }
    for (const link::Route& route : facts.routes) {
        const bool counts = route.type == link::RouteType::Unicast || route.type == link::RouteType::Local ||
                            route.type == link::RouteType::Refusing;
        if (!counts || route.destination.length < kShortestNetwork) continue;
        const int link = route.nexthops.empty() ? 0 : route.nexthops.front().link;
        result.push_back({route.destination, link, "the route \"" + to_string(route, facts) + "\""});
    }
    return result;
}

int index_of(const link::HostFacts& facts, std::string_view segment) {
    const link::Link* link = facts.find(segment);
    return link != nullptr ? link->index : 0;
}

bool is_free(const std::vector<Known>& networks, const Cidr& candidate) {
    return std::none_of(networks.begin(), networks.end(),
                        [&](const Known& known) { return known.network.overlaps(candidate); });
}

/// What an instance with this address would leave on its segment does not stand in its own way.
std::vector<Known> without_own(std::vector<Known> networks, int segment, const link::HostFacts& facts,
                               const Cidr& candidate) {
    const bool is_there = std::any_of(facts.addresses.begin(), facts.addresses.end(), [&](const link::Address4& own) {
        return own.link == segment && own.local == candidate.address && own.network == candidate.network();
    });
    if (segment == 0 || !is_there) return networks;
    std::erase_if(networks,
                  [&](const Known& known) { return known.link == segment && candidate.covers(known.network); });
    return networks;
}

/// In the order they are tried.
std::vector<Cidr> candidates() {
    std::vector<Cidr> result;
    const auto add = [&](unsigned a, unsigned b, unsigned c) {
        result.push_back(
            {Ipv4{static_cast<std::uint8_t>(a), static_cast<std::uint8_t>(b), static_cast<std::uint8_t>(c), 1}, 24});
    };
    for (unsigned c = 100; c <= 254; ++c) add(192, 168, c);
    for (unsigned c = 99; c >= 2; --c) add(192, 168, c);  // 0 and 1 are everybody's home network: last
    add(192, 168, 255);
    add(192, 168, 1);
    add(192, 168, 0);
    for (unsigned b = 16; b <= 31; ++b) {
        for (unsigned c = 0; c <= 255; ++c) add(172, b, c);
    }
    for (unsigned b = 0; b <= 255; ++b) {
        for (unsigned c = 0; c <= 255; ++c) add(10, b, c);
    }
    return result;
}

/// The address of the host (an interface's own, or a gateway it uses) inside `network`, in words.
std::optional<std::string> covered_address(const link::HostFacts& facts, int segment, const Cidr& network) {
    for (const link::Address4& address : facts.addresses) {
        if ((segment == 0 || address.link != segment) && network.contains(address.local))
            return "this machine's address " + to_string(address.local) + " on " + facts.name_of(address.link);
    }
    for (const link::Route& route : facts.routes) {
        for (const link::Nexthop& hop : route.nexthops) {
            if ((segment == 0 || hop.link != segment) && hop.gateway && network.contains(*hop.gateway))
                return "the gateway " + to_string(*hop.gateway) + " on " + facts.name_of(hop.link);
        }
    }
    return std::nullopt;
}

constexpr std::string_view kHint = "choose another network for network.address, or \"auto\"";

}  // namespace

Result<AddressChoice> choose_address(const link::HostFacts& facts, std::string_view segment,
                                     std::optional<Cidr> remembered, std::span<const Cidr> taken) {
    auto networks = networks_of(facts);
    for (const Cidr& other : taken) networks.push_back({other, 0, {}});
    const int index = index_of(facts, segment);
    const auto fits = [&](const Cidr& candidate) {
        return is_free(without_own(networks, index, facts, candidate), candidate);
    };
    if (remembered && fits(*remembered)) return AddressChoice{*remembered, {}};
    for (const Cidr& candidate : candidates()) {
        if (!fits(candidate)) continue;
        AddressChoice choice{candidate, {}};
        if (remembered) {
            choice.warnings.push_back("the segment moves from " + to_string(*remembered) + " to " +
                                      to_string(candidate) + ": the host has a network there now");
        }
        return choice;
    }
    return Failure{Error{"every private network overlaps one of this machine's", "network.address",
                         "give an address that is free where you are: --address 192.168.100.1/24"}};
}

Result<AddressChoice> check_address(const link::HostFacts& facts, std::string_view segment, const Cidr& configured) {
    const Cidr wanted = configured.network();
    const int index = index_of(facts, segment);
    AddressChoice choice{configured, {}};
    if (const auto covered = covered_address(facts, index, wanted)) {
        return Failure{Error{to_string(configured) + " would put " + *covered + " on the segment", "network.address",
                             std::string(kHint)}};
    }
    std::vector<Cidr> warned;
    for (const Known& known : networks_of(facts)) {
        if (index != 0 && known.link == index) continue;
        if (known.network == wanted) {
            return Failure{Error{to_string(configured) + " is " + known.source + " of this machine already",
                                 "network.address", std::string(kHint)}};
        }
        if (!known.network.overlaps(wanted) || std::find(warned.begin(), warned.end(), known.network) != warned.end())
            continue;
        warned.push_back(known.network);
        choice.warnings.push_back(known.network.covers(wanted)
                                      ? to_string(wanted) + " is a part of " + known.source + " (" +
                                            to_string(known.network) +
                                            "): this machine no longer reaches that part of it"
                                      : to_string(known.network) + ", " + known.source + ", is a part of " +
                                            to_string(wanted) + ": guests cannot have addresses there");
    }
    return choice;
}

}  // namespace vmrouter
