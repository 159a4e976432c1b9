#include "src/commands/verify_probes.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <tuple>

namespace vmrouter::proof {
namespace {

constexpr std::uint16_t least_port = 20000;
constexpr std::uint16_t first_ports = 30000;  ///< as many: connection tracking remembers a round's ports
constexpr std::uint16_t discard = 9;
constexpr std::uint16_t quiet_port = 47831;  ///< where nobody listens
constexpr std::size_t most_neighbours = 4;   ///< tried in one network
constexpr std::size_t most_services = 24;
constexpr std::size_t most_addresses = 8;

Bytes bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Makes probes, with the next token and port each.
class List {
public:
    explicit List(const Situation& situation) : situation_(situation), guest_(situation.first) {}

    Path to_router(Ipv4 destination) const { return {guest_.mac, situation_.router, guest_.address, destination}; }

    void udp(const std::string& group, const std::string& what, Expect expect, const Path& path, std::uint16_t port,
             Bytes options = {}) {
        Probe& probe = next(group, what, expect);
        probe.name = "udp/" + std::to_string(port);
        probe.target = path.destination;
        const auto text = token_text(probe.token);
        probe.frame = udp_frame(path, probe.port, port, bytes_of(text), options);
    }
    void udp_from(const std::string& group, const std::string& what, Expect expect, const Path& path,
                  std::uint16_t source_port, std::uint16_t port) {
        Probe& probe = next(group, what, expect);
        probe.name = "udp/" + std::to_string(port);
        const auto text = token_text(probe.token);
        probe.frame = udp_frame(path, source_port, port, bytes_of(text));
    }
    void tcp(const std::string& group, const std::string& what, Expect expect, const Path& path, std::uint16_t port,
             std::uint8_t flags = tcp_flag::syn) {
        Probe& probe = next(group, what, expect);
        probe.name = "tcp/" + std::to_string(port);
        probe.target = path.destination;
        probe.frame = tcp_frame(path, probe.port, port, probe.token, flags == tcp_flag::syn ? 0 : 1, flags);
    }
    void icmp(const std::string& group, const std::string& what, Expect expect, const Path& path,
              std::uint8_t type = 8) {
        Probe& probe = next(group, what, expect);
        probe.name = "icmp";
        probe.target = path.destination;
        const auto text = token_text(probe.token);
        probe.frame = icmp_frame(path, type, probe.port, 1, bytes_of(text));
    }
    /// UDP, TCP and ICMP to one address.
    void every_way(const std::string& group, const std::string& what, Expect expect, const Path& path) {
        const auto before = probes.size();
        udp(group, what, expect, path, discard);
        tcp(group, what, expect, path, 80);
        icmp(group, what, expect, path);
        for (auto i = before; i < probes.size(); ++i)
            probes[i].name = to_string(path.destination) + " " + probes[i].name;
    }
    void frame(const std::string& group, const std::string& what, Expect expect,
               const std::function<Frame(const Probe&, Bytes token)>& make) {
        Probe& probe = next(group, what, expect);
        const auto text = token_text(probe.token);
        probe.frame = make(probe, bytes_of(text));
    }
    void arp(const std::string& group, const std::string& what, Expect expect, const MacAddress& to, const Arp& arp) {
        Probe& probe = next(group, what, expect);
        probe.frame = arp_frame(guest_.mac, to, arp, probe.token);
        if (arp.operation == 1) probe.asks = arp.target;
    }

    std::vector<Probe> probes;

private:
    Probe& next(const std::string& group, const std::string& what, Expect expect) {
        Probe probe;
        probe.group = group;
        probe.what = what;
        probe.expect = expect;
        probe.token = situation_.session + static_cast<std::uint32_t>(probes.size());
        probe.port = static_cast<std::uint16_t>(least_port + situation_.session % first_ports + probes.size());
        probes.push_back(std::move(probe));
        return probes.back();
    }

    const Situation& situation_;
    Host guest_;
};

bool inside_any(const std::vector<Cidr>& networks, Ipv4 address) {
    return std::any_of(networks.begin(), networks.end(), [&](const Cidr& one) { return one.contains(address); });
}

bool is_open(const Subject& subject, const Service& service) {
    const std::string text = (service.tcp ? "tcp/" : "udp/") + std::to_string(service.port);
    return std::find(subject.open_ports.begin(), subject.open_ports.end(), text) != subject.open_ports.end();
}

void try_internet(List& list, const Situation& s) {
    if (!s.target || s.subject.uplinks.empty()) return;
    const auto path = list.to_router(*s.target);
    const std::string to = " to " + to_string(*s.target);
    const bool open = s.subject.internet && s.target_allowed;
    const auto expect = open ? Expect::Leaves : Expect::Nothing;
    list.tcp("internet", "TCP" + to, expect, path, 443);
    list.tcp("internet", "TCP" + to, expect, path, 80);
    list.udp("internet", "UDP" + to, expect, path, 443);
    list.icmp("internet", "ICMP echo" + to, expect, path);
    list.tcp("internet", "TCP that begins without SYN" + to, Expect::Nothing, path, 443, tcp_flag::ack);
}

/// Queries to other servers: answered by ours, and the token in the name leaves nowhere.
void try_dns(List& list, const Situation& s) {
    if (!s.subject.dns || !s.subject.redirect_dns) return;
    const auto ask = [&](const std::string& what, Ipv4 server) {
        list.frame("DNS", what, Expect::Redirect, [&](const Probe& probe, Bytes) {
            const auto query = dns_query(probe.port, token_text(probe.token) + "." + s.subject.domain);
            return udp_frame(list.to_router(server), probe.port, 53, query);
        });
    };
    if (s.target) ask("a query to a server in the internet", *s.target);
    if (!s.subject.gateways.empty() && !inside_any(s.subject.allow, s.subject.gateways.front()))
        ask("a query to a server in the LAN", s.subject.gateways.front());
}

/// What this machine says to guests.
void try_speaking(List& list, const Situation& s) {
    const auto say = [&](const std::string& what, Expect expect, Ipv4 destination) {
        list.frame("this machine", what, expect, [](const Probe&, Bytes) { return Frame{}; });
        list.probes.back().from = From::Machine;
        list.probes.back().destination = destination;
    };
    say("it reaches guests", Expect::Reaches, s.first.address);
    say("its multicast and broadcast on the segment", Expect::Nothing, Ipv4{224, 0, 0, 251});
    say("its multicast and broadcast on the segment", Expect::Nothing, Ipv4{255, 255, 255, 255});
}

/// Hosts of a network that the machine knows, then one that it does not.
std::vector<Ipv4> targets_in(const Situation& s, const Cidr& network) {
    std::vector<Ipv4> targets;
    const auto add = [&](Ipv4 address) {
        const bool known = std::find(targets.begin(), targets.end(), address) != targets.end();
        const auto is_own = [&](const Place& own) { return own.address == address; };
        if (known || !network.contains(address) || inside_any(s.subject.allow, address) ||
            s.subject.address.network().contains(address) ||
            std::any_of(s.host_addresses.begin(), s.host_addresses.end(), is_own))
            return;
        targets.push_back(address);
    };
    for (const auto gateway : s.subject.gateways) add(gateway);
    for (const auto& neighbour : s.neighbours)
        if (targets.size() < most_neighbours) add(neighbour.address);
    if (network.length < 31) add(Ipv4{network.last().value - 1});
    if (network.length >= 31 && targets.empty()) add(network.first());
    return targets;
}

void try_networks(List& list, const Situation& s, const std::string& group, const std::vector<Cidr>& networks) {
    for (const auto& network : networks)
        for (const auto target : targets_in(s, network))
            list.every_way(group, to_string(network), Expect::Nothing, list.to_router(target));
}

void try_lan(List& list, const Situation& s) {
    if (s.subject.lan_blocked) {
        try_networks(list, s, "LAN", s.subject.lan);
        for (const auto& range : firewall::private_ranges()) {
            const Ipv4 target{range.last().value - 77};
            if (inside_any(s.subject.allow, target) || s.subject.address.network().contains(target)) continue;
            list.udp("LAN", "private ranges", Expect::Nothing, list.to_router(target), discard);
            list.tcp("LAN", "private ranges", Expect::Nothing, list.to_router(target), 80);
            for (std::size_t i = list.probes.size() - 2; i < list.probes.size(); ++i)
                list.probes[i].name = to_string(target) + " " + list.probes[i].name;
        }
    }
    for (const auto& range : firewall::reserved_ranges()) {
        const bool multicast = range.first().is_multicast();
        const Ipv4 target = multicast ? Ipv4{239, 255, 0, 77}
                                      : Ipv4{range.length == 32 ? range.first().value : range.first().value + 77};
        auto path = list.to_router(target);
        if (multicast) path.to = multicast_mac(target);
        list.udp("LAN", "reserved ranges", Expect::Nothing, path, discard);
        list.probes.back().answer_only = multicast;  // other guests may hear it
        list.probes.back().name = to_string(target) + " " + list.probes.back().name;
    }
    try_networks(list, s, "LAN", s.subject.block);
}

void try_machine(List& list, const Situation& s) {
    const Ipv4 ours = s.subject.address.address;
    const auto path = list.to_router(ours);
    const std::string at = " at " + to_string(ours);
    list.icmp("this machine", "ICMP echo" + at, Expect::Answer, path);
    list.icmp("this machine", "ICMP timestamp" + at, Expect::Nothing, path, 13);
    if (s.subject.dns) list.tcp("this machine", "DNS over TCP" + at, Expect::Answer, path, 53);
    std::vector<Ipv4> addresses{ours};
    for (const auto& place : s.host_addresses)
        if (addresses.size() < most_addresses && !inside_any(s.subject.allow, place.address))
            addresses.push_back(place.address);
    for (const auto address : addresses) {
        const auto there = list.to_router(address);
        const std::string what = "its services at " + to_string(address);
        std::size_t tried = 0;
        for (const auto& service : s.services) {
            const bool open = address == ours && is_open(s.subject, service);
            if (address == ours && s.subject.dns && service.port == 53) continue;
            // A query for another address of this machine is answered by ours, and that is meant.
            if (address != ours && s.subject.redirect_dns && s.subject.dns && service.port == 53) continue;
            if (++tried > most_services) break;
            const auto expect = open ? Expect::Machine : Expect::Nothing;
            const std::string row = open ? "opened ports at " + to_string(address) : what;
            if (service.tcp)
                list.tcp("this machine", row, expect, there, service.port);
            else
                list.udp("this machine", row, expect, there, service.port);
        }
        list.tcp("this machine", what, Expect::Nothing, there, quiet_port);
        list.udp("this machine", what, Expect::Nothing, there, quiet_port);
        if (address != ours) list.icmp("this machine", what, Expect::Nothing, there);
    }
    auto everybody = list.to_router(Ipv4{255, 255, 255, 255});
    everybody.to = MacAddress::broadcast();
    list.udp("this machine", "broadcast and multicast", Expect::Nothing, everybody, 137);
    everybody.destination = s.subject.address.last();
    list.udp("this machine", "broadcast and multicast", Expect::Nothing, everybody, 137);
    everybody.destination = Ipv4{224, 0, 0, 251};
    everybody.to = multicast_mac(everybody.destination);
    list.udp("this machine", "broadcast and multicast", Expect::Nothing, everybody, 5353);
    // Where the first of these is meant to be seen by other guests, only this machine counts.
    for (std::size_t i = list.probes.size() - 3; i < list.probes.size(); ++i) list.probes[i].answer_only = true;
    std::size_t asked = 0;
    for (const auto& place : s.host_addresses) {
        if (++asked > most_addresses) break;
        list.arp("this machine", "ARP questions for its other addresses", Expect::Nothing, MacAddress::broadcast(),
                 {1, s.first.mac, s.first.address, {}, place.address});
        list.probes.back().answer_only = true;
    }
}

void try_ipv6(List& list, const Situation& s) {
    const auto ours = link_local(s.first.mac);
    const auto all_nodes = *Ipv6::parse("ff02::1");
    const auto all_routers = *Ipv6::parse("ff02::2");
    const auto to_group = [&](const Ipv6& group) { return Path6{s.first.mac, multicast_mac(group), ours, group}; };
    list.frame("IPv6", "router solicitation", Expect::Nothing, [&](const Probe&, Bytes token) {
        std::vector<std::uint8_t> body(4);
        body.insert(body.end(), token.begin(), token.end());
        return icmp6_frame(to_group(all_routers), 133, body);
    });
    list.frame("IPv6", "echo to all nodes", Expect::Nothing, [&](const Probe&, Bytes token) {
        std::vector<std::uint8_t> body(4);
        body.insert(body.end(), token.begin(), token.end());
        return icmp6_frame(to_group(all_nodes), 128, body);
    });
    list.frame("IPv6", "a router advertisement from a guest", Expect::Nothing, [&](const Probe&, Bytes token) {
        std::vector<std::uint8_t> body{64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0};
        body.insert(body.end(), token.begin(), token.end());
        return icmp6_frame(to_group(all_nodes), 134, body);
    });
    std::vector<Ipv6> targets{link_local(s.router), *Ipv6::parse("2001:4860:4860::8888"), *Ipv6::parse("fd00::77")};
    for (const auto& address : s.host_addresses6)
        if (targets.size() < most_addresses) targets.push_back(address);
    for (const auto& target : targets) {
        list.frame("IPv6", "UDP to the link, this machine, a ULA and the internet", Expect::Nothing,
                   [&](const Probe& probe, Bytes token) {
                       return udp6_frame({s.first.mac, s.router, ours, target}, probe.port, discard, token);
                   });
        list.probes.back().name = to_string(target);
    }
}

void try_forgery(List& list, const Situation& s) {
    const Ipv4 ours = s.subject.address.address;
    const auto forge = [&](const std::string& what, Ipv4 source, const MacAddress& mac) {
        Path path{mac, s.router, source, ours};
        list.udp("forged", what, Expect::Nothing, path, 53);
        list.probes.back().name = "to this machine";
        if (s.target) {
            path.destination = *s.target;
            list.udp("forged", what, Expect::Nothing, path, 443);
            list.probes.back().name = "to the internet";
        }
        if (s.second && !s.wire) {
            list.udp("forged", what, Expect::Nothing, {mac, s.second->mac, source, s.second->address}, discard);
            list.probes.back().name = "to another guest";
        }
    };
    if (s.subject.source_guard) {
        if (s.second) forge("the address of another guest", s.second->address, s.first.mac);
        if (s.second && s.subject.bridge && !s.wire)
            forge("address and MAC of another guest", s.second->address, s.second->mac);
        forge("a public address", Ipv4{9, 9, 9, 9}, s.first.mac);
        forge("the address of the network", s.subject.address.first(), s.first.mac);
    }
    forge("our own address", ours, s.first.mac);
    for (const auto& place : s.host_addresses) {
        if (s.subject.source_guard) forge("another address of this machine", place.address, s.first.mac);
        break;
    }
    if (s.subject.source_guard && !s.neighbours.empty())
        forge("the address of a host of the LAN", s.neighbours.front().address, s.first.mac);

    const auto claim = [&](const std::string& what, Ipv4 address, const MacAddress& owner) {
        list.arp("forged", what, Expect::Nothing, MacAddress::broadcast(),
                 {2, owner, address, MacAddress::broadcast(), s.first.address});
    };
    claim("ARP that claims our address", ours, s.first.mac);
    if (s.second && s.subject.source_guard)
        claim("ARP that claims another guest's address", s.second->address, s.first.mac);

    if (s.subject.bridge && !s.wire) {
        // One field after the other is not what ARP for IPv4 over Ethernet has: another guest must not see any.
        const Arp question{1, s.first.mac, s.first.address, {}, ours};
        for (const auto& [name, at, value] : {std::tuple{"hardware type", 15, 6},
                                              {"protocol", 17, 1},
                                              {"length of MACs", 18, 8},
                                              {"length of addresses", 19, 16},
                                              {"operation", 21, 3}}) {
            list.arp("forged", "ARP of another kind", Expect::Nothing, MacAddress::broadcast(), question);
            list.probes.back().frame[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(value);
            list.probes.back().asks.reset();
            list.probes.back().name = name;
        }
    }

    const std::array<std::uint8_t, 8> record_route{7, 7, 4, 0, 0, 0, 0, 0};
    list.udp("forged", "IPv4 options (record route)", Expect::Nothing, list.to_router(ours), 53, record_route);
    if (s.target)
        list.udp("forged", "IPv4 options (record route)", Expect::Nothing, list.to_router(*s.target), 443,
                 record_route);
    Path everybody = list.to_router(Ipv4{255, 255, 255, 255});
    everybody.to = MacAddress::broadcast();
    list.udp_from("forged", "answers of a DHCP server", Expect::Nothing, everybody, 67, 68);
}

void try_guests(List& list, const Situation& s) {
    if (!s.second || s.wire) return;
    const bool apart = s.subject.isolate_guests;
    list.udp("guests", "from guest to guest", apart ? Expect::Nothing : Expect::Reaches,
             {s.first.mac, s.second->mac, s.first.address, s.second->address}, discard);
    // Without internet nothing is forwarded, so that this way is closed in any case.
    list.udp("guests", "from guest to guest through us",
             apart || !s.subject.internet ? Expect::Nothing : Expect::Reaches, list.to_router(s.second->address),
             discard);
    const auto to = s.second->mac;
    const auto inner = [&](Bytes token) {
        return udp_frame({s.first.mac, to, s.first.address, s.second->address}, 1, discard, token);
    };
    const std::string what = "VLAN and double tags, 802.3, BPDU, PPPoE, other types";
    list.frame("layer 2", what, Expect::Nothing,
               [&](const Probe&, Bytes token) { return tagged(inner(token), {0x8100}); });
    list.probes.back().name = "VLAN tag";
    list.frame("layer 2", what, Expect::Nothing, [&](const Probe&, Bytes token) {
        return tagged(inner(token), {0x88a8, 0x8100});
    });
    list.probes.back().name = "two tags";
    for (const auto& [name, type] : {std::pair{"802.3", 46}, {"PPPoE", 0x8863}, {"type 88b5", 0x88b5}}) {
        list.frame("layer 2", what, Expect::Nothing, [&](const Probe&, Bytes token) {
            return plain_frame(s.first.mac, to, static_cast<std::uint16_t>(type), token);
        });
        list.probes.back().name = name;
    }
    list.frame("layer 2", what, Expect::Nothing, [&](const Probe&, Bytes token) {
        std::vector<std::uint8_t> bpdu{0x42, 0x42, 0x03, 0, 0, 0, 0};
        bpdu.insert(bpdu.end(), token.begin(), token.end());
        return plain_frame(s.first.mac, MacAddress{{0x01, 0x80, 0xc2, 0, 0, 0}}, 46, bpdu);
    });
    list.probes.back().name = "BPDU";
}

/// Packets that arrive on the uplink for a guest, as a router or a host there could send them.
void try_outside(List& list, const Situation& s) {
    if (!s.outside) return;
    std::vector<Ipv4> sources(s.subject.gateways.begin(), s.subject.gateways.end());
    for (const auto& neighbour : s.neighbours)
        if (neighbour.interface == *s.outside && sources.size() < 3) sources.push_back(neighbour.address);
    if (sources.empty() && s.target) sources.push_back(*s.target);
    if (sources.empty()) return;
    const MacAddress stranger{{0x02, 0x76, 0x6d, 0, 0, 1}};
    const auto before = list.probes.size();
    if (s.outside_address) {
        list.icmp("outside", "control: what arrives on " + *s.outside + " reaches this machine", Expect::Machine,
                  {stranger, s.outside_mac, sources.front(), *s.outside_address});
        list.probes.back().control = true;
    }
    for (const auto source : sources) {
        const Path path{stranger, s.outside_mac, source, s.first.address};
        list.every_way("outside", "from " + *s.outside + " to a guest", Expect::Nothing, path);
    }
    const Path forged{stranger, s.outside_mac, s.second ? s.second->address : s.first.address, s.first.address};
    list.udp("outside", "from " + *s.outside + " in the name of a guest", Expect::Nothing, forged, discard);
    // Where the machine did not forward before us, nobody outside may use it as a way into its other networks.
    const bool closed = s.subject.ruleset.find("vm_drop_transit") != std::string::npos;
    for (const auto& network : s.subject.lan) {
        const bool here = s.outside_address && network.contains(*s.outside_address);
        if (!closed || here || network.length >= 31 || inside_any({network}, sources.front())) continue;
        const auto known = std::find_if(s.neighbours.begin(), s.neighbours.end(), [&](const Place& one) {
            return network.contains(one.address) && one.interface != *s.outside;
        });
        const Ipv4 target = known != s.neighbours.end() ? known->address : Ipv4{network.last().value - 1};
        list.udp("outside", "from " + *s.outside + " through this machine", Expect::Nothing,
                 {stranger, s.outside_mac, sources.front(), target}, discard);
        list.probes.back().name = to_string(target);
    }
    for (auto i = before; i < list.probes.size(); ++i) list.probes[i].from = From::Outside;
}

}  // namespace

std::vector<Probe> make_probes(const Situation& situation) {
    List list(situation);
    try_internet(list, situation);
    try_dns(list, situation);
    try_lan(list, situation);
    try_machine(list, situation);
    try_speaking(list, situation);
    try_ipv6(list, situation);
    try_forgery(list, situation);
    try_guests(list, situation);
    try_outside(list, situation);
    return std::move(list.probes);
}

}  // namespace vmrouter::proof
