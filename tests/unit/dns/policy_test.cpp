#include "dns/policy.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

namespace {

const Monotonic start{1000h};
const Ipv4 first(192, 168, 100, 2);
const Ipv4 second(192, 168, 100, 3);

}  // namespace

TEST_CASE("One guest's rate does not touch another's") {
    Admission admission({.queries_per_second = 10, .burst = 20});
    int passed = 0;
    for (int i = 0; i < 100; ++i) passed += admission.admit(first, start) ? 1 : 0;
    CHECK(passed == 20);
    CHECK(admission.refused() == 80);
    CHECK(admission.admit(second, start));
    CHECK(admission.admit(first, start + 100ms));
    CHECK_FALSE(admission.admit(first, start + 100ms));
}

TEST_CASE("When queries are lost each of several guests gets a lower rate for a while") {
    AdmissionLimits limits;
    limits.crowded_per_second = 10;
    limits.crowded_burst = 20;
    Admission admission(limits);
    const auto asked = [&](Ipv4 guest, Monotonic now) {
        int admitted = 0;
        for (int i = 0; i < 100; ++i) admitted += admission.admit(guest, now) ? 1 : 0;
        return admitted;
    };
    CHECK(asked(first, start) == 100);
    admission.lost_queries(start);  // nobody else asks: there is nobody to be fair to
    CHECK(asked(first, start) == 100);
    CHECK(asked(second, start + 1s) == 100);
    admission.lost_queries(start + 2s);
    CHECK(asked(first, start + 2s) == 20);
    CHECK(asked(second, start + 2s) == 20);
    CHECK(asked(first, start + 5s) == 20);
    CHECK(asked(first, start + 6s) == 10);
    CHECK(asked(first, start + 12s) == 100);
    CHECK(admission.guests()[0].refused == 80 + 80 + 90);
}

TEST_CASE("A guest alone gets two thirds of what may be outstanding and others still get theirs") {
    Admission admission({.outstanding = 1000, .share = 50});
    const auto fill = [&](Ipv4 guest) {
        std::size_t count = 0;
        while (admission.begin(guest)) ++count;
        return count;
    };
    CHECK(fill(first) == 667);
    CHECK(fill(second) == 222);
    CHECK(fill(Ipv4(192, 168, 100, 4)) == 74);
    for (std::uint8_t i = 10; i < 20; ++i) CHECK(fill(Ipv4(192, 168, 100, i)) >= 50);
    CHECK(admission.outstanding(first) == 667);
    for (int i = 0; i < 667; ++i) admission.end(first);
    CHECK(admission.outstanding(first) == 0);
    CHECK(admission.begin(first));
}

TEST_CASE("By default one guest may have ten thousand queries outstanding") {
    Admission admission;
    for (int i = 0; i < 10000; ++i) REQUIRE(admission.begin(first));
    CHECK(admission.begin(second));
}

TEST_CASE("Ending what was never begun counts nothing") {
    Admission admission;
    admission.end(first);
    CHECK(admission.begin(first));
    admission.end(first);
    admission.end(first);
    CHECK(admission.outstanding() == 0);
}

TEST_CASE("Accounts of silent guests are forgotten but never those that wait") {
    Admission admission({.queries_per_second = 1, .burst = 1, .guests = 100});
    REQUIRE(admission.begin(first));
    for (std::uint32_t i = 0; i < 10000; ++i)
        admission.admit(Ipv4{Ipv4(10, 0, 0, 0).value + i}, start + std::chrono::milliseconds(i));
    CHECK(admission.outstanding(first) == 1);
    CHECK(admission.accounts() <= 101);
    admission.end(first);
    CHECK(admission.outstanding() == 0);
}

TEST_CASE("A set of prefixes holds exactly its addresses") {
    PrefixSet set;
    set.block(*Cidr::parse("10.0.0.0/8"));
    set.block(*Cidr::parse("10.1.0.0/16"));  // inside the first
    set.block(*Cidr::parse("192.168.4.77/24"));
    set.block(*Cidr::parse("255.255.255.0/24"));
    set.block(*Cidr::parse("0.0.0.0/32"));
    CHECK_FALSE(set.contains(Ipv4(10, 0, 0, 1)));
    set.finish();
    for (const char* inside :
         {"10.0.0.0", "10.255.255.255", "10.1.2.3", "192.168.4.0", "192.168.4.255", "255.255.255.255", "0.0.0.0"})
        CHECK(set.contains(*Ipv4::parse(inside)));
    for (const char* outside :
         {"9.255.255.255", "11.0.0.0", "192.168.3.255", "192.168.5.0", "0.0.0.1", "255.255.254.255", "8.8.8.8"})
        CHECK_FALSE(set.contains(*Ipv4::parse(outside)));
}

TEST_CASE("Exceptions are holes in blocked prefixes whatever the order") {
    PrefixSet set;
    set.allow(*Cidr::parse("192.168.0.10"));
    set.allow(*Cidr::parse("192.168.0.0/30"));
    set.allow(*Cidr::parse("192.168.255.255"));
    set.allow(*Cidr::parse("8.8.8.8"));
    set.block(*Cidr::parse("192.168.0.0/16"));
    set.block(*Cidr::parse("192.168.0.0/28"));
    set.finish();
    for (const char* hole : {"192.168.0.0", "192.168.0.3", "192.168.0.10", "192.168.255.255", "8.8.8.8"})
        CHECK_FALSE(set.contains(*Ipv4::parse(hole)));
    for (const char* inside : {"192.168.0.4", "192.168.0.9", "192.168.0.11", "192.168.255.254"})
        CHECK(set.contains(*Ipv4::parse(inside)));
}

TEST_CASE("A set agrees with a plain search over many prefixes") {
    std::uint32_t seed = 12345;
    const auto random = [&seed] { return seed = seed * 1664525 + 1013904223; };
    for (int round = 0; round < 50; ++round) {
        std::vector<Cidr> blocked;
        std::vector<Cidr> allowed;
        PrefixSet set;
        // Addresses from a small space, so that prefixes meet.
        for (int i = 0; i < 12; ++i) {
            const Cidr cidr{Ipv4{random() >> 24}, static_cast<std::uint8_t>(24 + random() % 9)};
            (i % 3 == 0 ? allowed : blocked).push_back(cidr);
            i % 3 == 0 ? set.allow(cidr) : set.block(cidr);
        }
        set.finish();
        for (std::uint32_t value = 0; value < 300; ++value) {
            const auto holds = [&](const Cidr& cidr) { return cidr.contains(Ipv4{value}); };
            const bool expected = std::any_of(blocked.begin(), blocked.end(), holds) &&
                                  std::none_of(allowed.begin(), allowed.end(), holds);
            REQUIRE(set.contains(Ipv4{value}) == expected);
        }
    }
}

TEST_CASE("IPv6 prefixes of the host's networks are blocked to the bit") {
    PrefixSet set;
    set.block(*Ipv6::parse("2a02:810d:1234:5678::"), 62);
    set.finish();
    CHECK(set.contains(*Ipv6::parse("2a02:810d:1234:5678::1")));
    CHECK(set.contains(*Ipv6::parse("2a02:810d:1234:567b:ffff::1")));
    CHECK_FALSE(set.contains(*Ipv6::parse("2a02:810d:1234:567c::1")));
    CHECK_FALSE(set.contains(*Ipv6::parse("2a02:810d:1234:5677::1")));
    CHECK(set.contains(*Ipv6::parse("::1")));
    CHECK_FALSE(set.contains(*Ipv6::parse("::2:0:0:1")));
}

TEST_CASE("Tunnels to a blocked IPv4 address are blocked and others are not") {
    PrefixSet set;
    set.block(*Cidr::parse("192.168.0.0/16"));
    set.finish();
    for (const char* text :
         {"::ffff:192.168.1.50", "::192.168.1.50", "2002:c0a8:132::1", "64:ff9b::192.168.1.50", "::ffff:0:192.168.1.50",
          "2001:db8::5efe:192.168.1.50", "2001:db8::200:5efe:192.168.1.50", "2001:0:c000:201::3f57:fecd"})
        CHECK(set.contains(*Ipv6::parse(text)));
    for (const char* text : {"::ffff:0:198.51.100.1", "2001:db8::5efe:198.51.100.1", "2001:0:c000:201::39cc:9bfe",
                             "2001:db8::192.168.1.50", "2001:db8::c0a8:132"})
        CHECK_FALSE(set.contains(*Ipv6::parse(text)));
}

TEST_CASE("What is always blocked is the contract's list") {
    PrefixSet set = always_blocked();
    set.finish();
    for (const char* inside : {"0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.53", "168.63.129.16",
                               "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.1.1",
                               "198.18.0.1", "198.19.255.255", "224.0.0.251", "255.255.255.255"})
        CHECK(set.contains(*Ipv4::parse(inside)));
    for (const char* outside : {"1.1.1.1", "100.63.255.255", "100.128.0.0", "168.63.129.17", "172.32.0.0", "192.0.2.1",
                                "198.20.0.0", "203.0.113.1", "223.255.255.255"})
        CHECK_FALSE(set.contains(*Ipv4::parse(outside)));
}
