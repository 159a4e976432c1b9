#include "dhcp/lease_file.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

// As dnsmasq 2.90 wrote it: a client with and without name and client-id, another hardware type, no hardware address, a
// lease that never ends, and what DHCPv6 adds.
constexpr std::string_view from_dnsmasq =
    "1795346423 52:54:00:cc:00:01 192.168.77.197 vmA 01:52:54:00:cc:00:01\n"
    "1795346424 52:54:00:cc:00:02 192.168.77.198 * *\n"
    "1795346425 06-52:54:00:cc:00:03 192.168.77.199 vm-3 ff:00:11\n"
    "1795346426 01- 192.168.77.200 * 00:61:62\n"
    "0 52:54:00:cc:00:05 192.168.77.201 vm_5 *\n";

constexpr std::string_view its_dhcpv6_part =
    "duid 00:01:00:01:2c:5b:9d:52:52:54:00:12:34:56\n"
    "1795346423 T1234567 fd00::1234 vmA 00:01:00:01\n"
    "1795346423 98765 fd00::1235 * 00:01:00:02\n";

std::string written(const std::vector<Lease>& leases) {
    LeaseFileImage image;
    for (auto lease = leases.rbegin(); lease != leases.rend(); ++lease) image.put(*lease);
    return image.text();
}

Lease lease(std::uint8_t last, std::string name) {
    Lease result;
    result.address = Ipv4(192, 168, 77, last);
    result.hardware = HardwareAddress(*MacAddress::parse("52:54:00:CC:00:01"));
    result.expires = Time{Milliseconds{1795346423999}};
    result.name = std::move(name);
    return result;
}

}  // namespace

TEST_CASE("A leases file of dnsmasq is read and written back to the byte") {
    const auto content = parse_lease_file(std::string(from_dnsmasq) + std::string(its_dhcpv6_part));
    CHECK(content.bad.empty());
    CHECK(content.skipped == 3);
    REQUIRE(content.leases.size() == 5);
    CHECK(content.leases[0].address == Ipv4(192, 168, 77, 197));
    CHECK(content.leases[0].name == "vmA");
    CHECK(content.leases[0].expires == Time{Seconds{1795346423}});
    CHECK(content.leases[0].client_id == std::vector<std::uint8_t>{1, 0x52, 0x54, 0, 0xcc, 0, 1});
    CHECK(content.leases[0].supplied_missing);
    CHECK(content.leases[1].client_id.empty());
    CHECK(content.leases[2].hardware.type == 6);
    CHECK(content.leases[3].hardware.empty());
    CHECK_FALSE(content.leases[4].expires);
    CHECK(written(content.leases) == from_dnsmasq);
}

TEST_CASE("A lease line has five fields in lower case and its expiry in whole seconds") {
    CHECK(lease_line(lease(197, "vmA")) == "1795346423 52:54:00:cc:00:01 192.168.77.197 vmA *\n");
    Lease at_the_epoch = lease(197, "");
    at_the_epoch.expires = Time{Milliseconds{5}};
    CHECK(lease_line(at_the_epoch) == "1 52:54:00:cc:00:01 192.168.77.197 * *\n");  // 0 would mean never
}

TEST_CASE("Lines of a leases file that make no sense are kept with their numbers and cost no good one") {
    const auto content = parse_lease_file(
        "1795346423 52:54:00:cc:00:01 192.168.77.197 vmA *\n"
        "soon 52:54:00:cc:00:02 192.168.77.198 * *\n"
        "1795346423 52-54-00-cc-00-02 192.168.77.198 * *\n"
        "1795346423 52:54:00:cc:00:02 192.168.77.999 * *\n"
        "\n"
        "1795346423 52:54:00:cc:00:02 192.168.77.198 *\n"
        "1795346423 52:54:00:cc:00:02 192.168.77.198 * xyz\n"
        "1795346423 52:54:00:cc:00:02 192.168.77.198 * * *\n"
        "1795346499 52:54:00:cc:00:03 192.168.77.197 other *\n"
        "99999999999999999999 52:54:00:cc:00:02 192.168.77.198 * *\n"
        "  1795346423\t52:54:00:cc:00:02   192.168.77.198 * *\r\n");
    CHECK(content.leases.size() == 2);
    CHECK(content.leases[1].address == Ipv4(192, 168, 77, 198));
    std::vector<std::size_t> numbers;
    for (const auto& line : content.bad) numbers.push_back(line.number);
    CHECK(numbers == std::vector<std::size_t>{2, 3, 4, 6, 7, 8, 9, 10});
    CHECK(content.bad[0].why == "the first field is not a time");
    CHECK(content.bad[6].why == "an earlier line has the same address");
}

TEST_CASE("A leases file that is cut at any byte keeps every line before the cut") {
    const std::string whole(from_dnsmasq);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        const auto content = parse_lease_file(whole.substr(0, size));
        std::size_t lines = 0;
        for (std::size_t i = 0; i < size; ++i) lines += whole[i] == '\n' ? 1 : 0;
        REQUIRE(content.leases.size() >= lines);
        REQUIRE(content.leases.size() <= lines + 1);
        for (std::size_t i = 0; i < lines; ++i) {
            CHECK(content.leases[i].address == Ipv4(192, 168, 77, static_cast<std::uint8_t>(197 + i)));
        }
        // What stands before the cut field is whole; of the cut field nothing is believed.
        if (content.leases.size() > lines) CHECK(content.leases[lines].client_id.empty());
    }
}

TEST_CASE("The newest lease comes first and a renewal keeps its place") {
    LeaseFileImage image;
    image.put(lease(1, "one"));
    image.put(lease(2, "two"));
    image.put(lease(3, "three"));
    Lease renewed = lease(1, "one");
    renewed.expires = Time{Seconds{1795350000}};
    image.put(renewed);
    CHECK(image.text() ==
          "1795346423 52:54:00:cc:00:01 192.168.77.3 three *\n"
          "1795346423 52:54:00:cc:00:01 192.168.77.2 two *\n"
          "1795350000 52:54:00:cc:00:01 192.168.77.1 one *\n");

    Lease declined = lease(2, "");
    declined.state = LeaseState::Declined;
    image.put(declined);
    image.erase(Ipv4(192, 168, 77, 3));
    image.erase(Ipv4(192, 168, 77, 99));
    CHECK(image.text() == "1795350000 52:54:00:cc:00:01 192.168.77.1 one *\n");
}
