#include "dns/resolved_names.hpp"

#include <catch2/catch.hpp>

#include "dns/response.hpp"
#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

constexpr Ipv4 first{192, 168, 100, 11};
constexpr Ipv4 second{192, 168, 100, 12};
constexpr Ipv4 web{198, 51, 100, 10};
constexpr Monotonic start{std::chrono::seconds{1000}};

Packet reply(std::string_view qname, std::string_view address) {
    return Builder(1, 0x8180).question(qname, Type::A).answer(qname, Type::A, 60, a(address));
}

std::string found(const ResolvedNames& names, Ipv4 guest, Ipv4 address) {
    const auto entry = names.find(guest, address);
    return entry ? to_string(entry->name) : "";
}

}  // namespace

TEST_CASE("An address has the name that this guest resolved to it last") {
    ResolvedNames names;
    CHECK(found(names, first, web).empty());
    names.note(first, name("www.example.net"), reply("www.example.net", "198.51.100.10"), start);
    CHECK(found(names, first, web) == "www.example.net");
    CHECK(found(names, second, web).empty());
    CHECK(found(names, first, Ipv4{198, 51, 100, 11}).empty());

    names.note(second, name("cdn.example.org"), reply("cdn.example.org", "198.51.100.10"), start);
    names.note(first, name("other.example.net"), reply("other.example.net", "198.51.100.10"),
               start + std::chrono::seconds{5});
    CHECK(found(names, first, web) == "other.example.net");
    CHECK(names.find(first, web)->when == start + std::chrono::seconds{5});
    CHECK(found(names, second, web) == "cdn.example.org");
    CHECK(names.size() == 2);
}

TEST_CASE("Every address of a chain is known by the name that was asked for") {
    ResolvedNames names;
    // As upstreams send it: owners compressed, an AAAA and an OPT beside, authority not looked at.
    const auto packet =
        hex("0001 8180 0001 0003 0001 0001"
            "03 777777 07 6578616d706c65 03 6e6574 00 0001 0001"
            "c00c 0005 0001 0000003c 0006 03 63646e c010"
            "c02d 0001 0001 0000003c 0004 c633640a"
            "c02d 0001 0001 0000003c 0004 c633640b"
            "c010 0001 0001 0000003c 0004 c633640c"
            "00 0029 04d0 00000000 0000");
    names.note(first, name("www.example.net"), packet, start);
    CHECK(found(names, first, web) == "www.example.net");
    CHECK(found(names, first, Ipv4{198, 51, 100, 11}) == "www.example.net");
    CHECK(found(names, first, Ipv4{198, 51, 100, 12}).empty());

    for (std::size_t size = 0; size < packet.size(); ++size) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
        std::copy_n(packet.begin(), size, exact.get());
        ResolvedNames cut;
        cut.note(first, name("www.example.net"), {exact.get(), size}, start);
        CHECK(cut.size() <= 2);
    }
}

TEST_CASE("A guest that resolves a hundred thousand names takes no more than its room and leaves others theirs") {
    ResolvedNames names(256);
    for (std::uint32_t i = 0; i < 20; ++i) {
        const auto address = Ipv4{Ipv4{198, 51, 100, 0}.value + i};
        names.note(second, name("quiet.example"), reply("quiet.example", to_string(address)), start);
    }
    for (std::uint32_t i = 0; i < 100000; ++i) {
        const auto address = Ipv4{Ipv4{11, 0, 0, 0}.value + i * 7919};
        names.note(first, name("loud.example"), reply("loud.example", to_string(address)),
                   start + std::chrono::seconds{1 + i});
    }
    CHECK(names.size() <= 256);
    std::size_t kept = 0;
    for (std::uint32_t i = 0; i < 20; ++i)
        kept += names.find(second, Ipv4{Ipv4{198, 51, 100, 0}.value + i}).has_value() ? 1 : 0;
    CHECK(kept >= 18);
    // The newest of the loud one is there.
    CHECK(found(names, first, Ipv4{Ipv4{11, 0, 0, 0}.value + 99999 * 7919}) == "loud.example");
}
