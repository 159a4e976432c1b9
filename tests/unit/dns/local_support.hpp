#pragma once

// A segment with guests, records and a LAN, and what is answered there without asking anybody.

#include <catch2/catch.hpp>

#include "dns/local.hpp"
#include "tests/unit/dns/builders.hpp"
#include "tests/unit/dns/fake_names.hpp"

namespace vmrouter::dns::test {

struct Said {
    Verdict verdict = Verdict::Forward;
    Seen seen;
    Packet message;
    const Route* route = nullptr;
    [[nodiscard]] Rcode rcode() const { return seen.rcode; }
};

/// A segment, and what it is asked.
struct LocalLab {
    FakeNames names;
    PrefixSet networks = always_blocked();
    Blocklist list;
    Cache cache;
    std::vector<ServerStatistics> servers;
    LocalConfig config;
    std::optional<Local> local;

    LocalLab() {
        networks.block(*Cidr::parse("203.0.114.0/24"));  // a LAN with public addresses
        networks.finish();
        names.guests["pi"] = {Ipv4(192, 168, 100, 7), false};
        names.guests["web"] = {Ipv4(192, 168, 100, 10), true};
        config.domain = name("vm.internal");
        config.segment = *Cidr::parse("192.168.100.1/24");
        config.own_name = "Router";
        config.records = {{name("nas.vm.internal"), Ipv4(192, 168, 100, 5)},
                          {name("nas.vm.internal"), *Ipv6::parse("2001:db8::5")},
                          {name("Deep.er.vm.internal"), Ipv4(192, 168, 100, 6)},
                          {name("pinned.example.com"), Ipv4(9, 9, 9, 9)}};
        config.hidden_domains = {name("fritz.box")};
        config.hidden_names = {name("myhost"), name("myhost.example.org"), name("printer.office.example")};
    }
    Said ask(const Query& query, std::size_t limit = 1232) {
        if (!local) local.emplace(config, Local::Sources{&names, &networks, &list, &cache, &servers});
        std::vector<std::uint8_t> out(limit);
        const Suffixes suffixes(query.question.name);
        const LocalDecision decision = local->answer(query, suffixes, out, limit);
        Said said{decision.verdict, {}, {}, decision.route};
        if (decision.verdict == Verdict::Forward) {
            CHECK(decision.size == 0);
            return said;
        }
        said.message.assign(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(decision.size));
        said.seen = see(said.message);
        CHECK(said.seen.id == query.id);
        CHECK(said.seen.qname == to_string(query.question.name));
        return said;
    }
    Said ask(std::string_view text, Type type = Type::A) { return ask(query(text, type)); }
};

inline bool is_nodata(const Said& said, std::string_view zone) {
    return said.rcode() == Rcode::NoError && said.seen.items.size() == 1 && said.seen.items[0].type == Type::Soa &&
           said.seen.items[0].section == Record::Section::Authority && name(said.seen.items[0].owner) == name(zone) &&
           said.seen.aa();
}
inline bool is_nxdomain(const Said& said, std::string_view zone) {
    return said.rcode() == Rcode::NxDomain && said.seen.items.size() == 1 && said.seen.items[0].type == Type::Soa &&
           said.seen.items[0].section == Record::Section::Authority && name(said.seen.items[0].owner) == name(zone) &&
           said.seen.aa();
}
inline bool has(const Said& said, const std::vector<std::string>& addresses) {
    return said.rcode() == Rcode::NoError && said.seen.aa() && said.seen.addresses() == addresses;
}

}  // namespace vmrouter::dns::test
