// What of this machine is to be tried: its networks, addresses, neighbours and services.

#include "src/commands/verify_session.hpp"

#include <algorithm>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/host.hpp"

namespace vmrouter::proof {

std::vector<Place> neighbours_of(std::string_view table) {
    std::vector<Place> places;
    for (const auto line : split(table, '\n')) {
        auto words = split(line, ' ');
        std::erase_if(words, [](std::string_view word) { return word.empty(); });
        if (words.size() < 6) continue;
        const auto address = Ipv4::parse(words[0]);
        const bool complete = words[2] != "0x0" && words[3] != "00:00:00:00:00:00";
        if (address && complete) places.push_back({std::string(words[5]), *address});
    }
    return places;
}

std::vector<Service> services_of(std::string_view table, bool tcp) {
    std::vector<Service> services;
    for (const auto line : split(table, '\n')) {
        auto words = split(line, ' ');
        std::erase_if(words, [](std::string_view word) { return word.empty(); });
        if (words.size() < 4 || !words[0].ends_with(':')) continue;
        if (tcp ? words[3] != "0A" : words[3] != "07") continue;
        const auto local = split(words[1], ':');
        if (local.size() != 2) continue;
        const bool loopback = local[0] == "0100007F" || local[0] == "00000000000000000000000001000000";
        const auto port = parse_hex(local[1]);
        if (loopback || !port || port->size() != 2) continue;
        const auto number = Reader(*port).u16();
        if (number != 0) services.push_back({tcp, number});
    }
    std::sort(services.begin(), services.end());
    services.erase(std::unique(services.begin(), services.end()), services.end());
    return services;
}

/// What of this machine is to be tried.
Result<void> Session::look_around() {
    auto facts = link::read_host_facts(netlink_, subject_.interface, subject_.mark);
    if (!facts) return Failure{std::move(facts).error()};
    facts_ = std::move(*facts);
    situation_.neighbours.clear();
    situation_.host_addresses.clear();
    situation_.host_addresses6.clear();
    segment_links_.clear();
    known_.clear();
    const auto* segment = facts_.find(subject_.interface);
    if (segment == nullptr) return Failure{Error{"there is no such interface", subject_.interface, {}}};
    for (const auto& one : facts_.links)
        if (one.index == segment->index || one.master == segment->index || one.loopback())
            segment_links_.insert(one.index);
    for (const auto* cable : {&guests_[0].cable, &guests_[1].cable, &outside_})
        if (*cable) segment_links_.insert((*cable)->near_end());
    for (const auto& one : facts_.addresses)
        if (!segment_links_.contains(one.link))
            situation_.host_addresses.push_back({facts_.name_of(one.link), one.local});
    for (const auto& one : facts_.addresses6) {
        const auto* link = facts_.find(one.link);
        if (link != nullptr && !link->loopback()) situation_.host_addresses6.push_back(one.local);
    }
    if (const auto table = read_file("/proc/net/arp"))
        for (auto& place : neighbours_of(*table)) {
            known_.insert(place.address);
            if (place.interface != subject_.interface) situation_.neighbours.push_back(std::move(place));
        }
    known_.insert(subject_.gateways.begin(), subject_.gateways.end());
    situation_.services.clear();
    for (const char* file : {"tcp", "tcp6", "udp", "udp6"}) {
        const auto table = read_file(std::string("/proc/net/") + file);
        if (!table) continue;
        for (const auto& service : services_of(*table, file[0] == 't')) situation_.services.push_back(service);
    }
    std::sort(situation_.services.begin(), situation_.services.end());
    situation_.services.erase(std::unique(situation_.services.begin(), situation_.services.end()),
                              situation_.services.end());
    situation_.subject = subject_;
    situation_.router = *router_;
    situation_.first = guests_[0].host;
    situation_.second = guests_[1].host;
    situation_.wire = !subject_.bridge;
    situation_.outside.reset();
    situation_.outside_address.reset();
    if (outside_) {
        situation_.outside = subject_.uplinks.front();
        const auto* uplink = facts_.find(*situation_.outside);
        if (uplink != nullptr && uplink->mac) situation_.outside_mac = *uplink->mac;
        for (const auto& place : situation_.host_addresses)
            if (place.interface == *situation_.outside && !situation_.outside_address)
                situation_.outside_address = place.address;
    }
    return {};
}

}  // namespace vmrouter::proof
