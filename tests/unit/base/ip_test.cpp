#include <catch2/catch.hpp>

#include "src/base/checksum.hpp"
#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

using namespace vmrouter;

TEST_CASE("Only four decimal parts are an IPv4 address") {
    CHECK(Ipv4::parse("192.168.0.1") == Ipv4(192, 168, 0, 1));
    CHECK(Ipv4::parse("255.255.255.255")->is_broadcast());
    for (const auto* bad :
         {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "a.b.c.d", "1..2.3"})
        CHECK_FALSE(Ipv4::parse(bad));
    CHECK(to_string(Ipv4(10, 0, 200, 5)) == "10.0.200.5");
}

TEST_CASE("Prefixes contain, cover and overlap") {
    const auto wide = *Cidr::parse("10.0.0.0/8");
    const auto narrow = *Cidr::parse("10.1.2.3/24");
    CHECK(narrow.first() == Ipv4(10, 1, 2, 0));
    CHECK(narrow.last() == Ipv4(10, 1, 2, 255));
    CHECK(to_string(narrow) == "10.1.2.3/24");
    CHECK(wide.covers(narrow));
    CHECK_FALSE(narrow.covers(wide));
    CHECK(narrow.overlaps(wide));
    CHECK(Cidr::parse("0.0.0.0/0")->contains(Ipv4(255, 0, 0, 1)));
    for (const auto* bad : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "/8"})
        CHECK_FALSE(Cidr::parse(bad));
}

TEST_CASE("MAC addresses are six colon-separated bytes") {
    const auto mac = MacAddress::parse("52:54:00:AB:cd:ef");
    REQUIRE(mac);
    CHECK(to_string(*mac) == "52:54:00:ab:cd:ef");
    for (const auto* bad : {"52-54-00-ab-cd-ef", "525400abcdef", "52:54:00:ab:cd", "52:54:00:ab:cd:eg"})
        CHECK_FALSE(MacAddress::parse(bad));
}

TEST_CASE("IPv6 addresses that lead to an IPv4 host are seen through") {
    CHECK(Ipv6::parse("::ffff:192.168.0.1")->embedded_ipv4() == Ipv4(192, 168, 0, 1));
    CHECK(Ipv6::parse("64:ff9b::a00:1")->embedded_ipv4() == Ipv4(10, 0, 0, 1));
    CHECK(Ipv6::parse("2002:c0a8:1::")->embedded_ipv4() == Ipv4(192, 168, 0, 1));
    CHECK_FALSE(Ipv6::parse("::1")->embedded_ipv4());
    CHECK_FALSE(Ipv6::parse("2001:db8::1")->embedded_ipv4());
    CHECK(to_string(*Ipv6::parse("2001:DB8:0:0::1")) == "2001:db8::1");
    CHECK_FALSE(Ipv6::parse("fe80::1%eth0"));
}

TEST_CASE("The Internet checksum matches RFC 1071's example and sums to zero with itself") {
    std::vector<std::uint8_t> bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    const auto sum = internet_checksum(bytes);
    CHECK(sum == 0x220d);
    bytes.push_back(static_cast<std::uint8_t>(sum >> 8));
    bytes.push_back(static_cast<std::uint8_t>(sum));
    CHECK(internet_checksum(bytes) == 0);
    const std::vector<std::uint8_t> odd{0x01};
    CHECK(internet_checksum(odd) == 0xfeff);
}
