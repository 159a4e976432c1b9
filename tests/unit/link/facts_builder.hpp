#pragma once

// Hosts as tests describe them: `host.link("eth0").address("eth0", "192.168.0.7/24").route("default", "eth0",
// "192.168.0.1")`.

#include <linux/if.h>

#include <string>
#include <string_view>

#include "src/link/facts.hpp"

namespace vmrouter::test {

class Host {
public:
    Host() {
        link("lo");
        facts.links.back().flags |= IFF_LOOPBACK;
        address("lo", "127.0.0.1/8");
    }

    Host& link(std::string name, std::string kind = {}) {
        link::Link made;
        made.index = static_cast<int>(facts.links.size()) + 1;
        made.name = std::move(name);
        made.kind = std::move(kind);
        made.flags = IFF_UP;
        made.mtu = 1500;
        facts.links.push_back(std::move(made));
        return *this;
    }
    Host& master(std::string_view port, std::string_view master) {
        get(port).master = index(master);
        get(port).port_kind = get(master).kind;
        return *this;
    }
    Host& parent(std::string_view child, std::string_view parent) {
        get(child).parent = index(parent);
        return *this;
    }

    /// With the routes that the kernel adds: the network's in table main, the address's own in table local.
    Host& address(std::string_view link, std::string_view text) {
        const Cidr cidr = *Cidr::parse(text);
        facts.addresses.push_back({index(link), cidr.address, cidr.network(), std::nullopt});
        facts.routes.push_back(
            {{cidr.address, 32}, 255, link::RouteType::Local, 254, 0, cidr.address, {{index(link), {}, {}}}});
        if (cidr.length < 32) {
            facts.routes.push_back(
                {cidr.network(), 254, link::RouteType::Unicast, 253, 0, cidr.address, {{index(link), {}, {}}}});
        }
        return *this;
    }

    Host& route(std::string_view destination, std::string_view link, std::string_view gateway = {},
                std::uint32_t table = 254) {
        link::Route made;
        made.destination = destination == "default" ? Cidr{Ipv4{}, 0} : *Cidr::parse(destination);
        made.table = table;
        made.nexthops = {{index(link), Ipv4::parse(gateway), {}}};
        facts.routes.push_back(made);
        return *this;
    }

    /// The kernel answers a question about a public address with the last route.
    Host& answers_with_last_route() {
        facts.internet.push_back({Ipv4{77, 0, 0, 1}, facts.routes.back()});
        return *this;
    }

    [[nodiscard]] int index(std::string_view name) const {
        const auto* found = facts.find(name);
        return found != nullptr ? found->index : 0;
    }

    link::HostFacts facts;

private:
    link::Link& get(std::string_view name) { return facts.links.at(static_cast<std::size_t>(index(name)) - 1); }
};

/// The usual one: eth0 192.168.0.7/24, default by 192.168.0.1.
inline Host home() {
    Host host;
    host.link("eth0").address("eth0", "192.168.0.7/24").route("default", "eth0", "192.168.0.1");
    return host.answers_with_last_route();
}

}  // namespace vmrouter::test
