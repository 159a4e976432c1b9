#include <catch2/catch.hpp>

#include "dhcp/option.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::string hex(std::uint8_t code, const OptionValue& value) {
    const auto option = encode_option(code, value);
    return option ? to_hex(option->value, "") : "error: " + option.error().what;
}

}  // namespace

TEST_CASE("Search domains are written as labels") {
    CHECK(hex(119, std::string{"vm.internal corp."}) ==
          "02766d08696e7465726e616c00"
          "04636f727000");
    CHECK_FALSE(encode_domain_search("a..b"));
    CHECK_FALSE(encode_domain_search(std::string(64, 'a')));
    CHECK_FALSE(encode_domain_search(std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') +
                                     "." + std::string(63, 'd')));
}

TEST_CASE("Classless routes hold only the bytes of the prefix that matter") {
    CHECK(hex(121,
              std::string{"10.0.0.0/8 via 192.168.100.1, 0.0.0.0/0 192.168.100.2, 172.16.4.0/23 via 192.168.100.3"}) ==
          "080ac0a86401"
          "00c0a86402"
          "17ac1004c0a86403");
    CHECK(hex(249, std::string{"192.0.2.7/32 via 192.168.100.1"}) == "20c0000207c0a86401");
    CHECK_FALSE(encode_classless_routes("10.0.0.0/8"));
    CHECK_FALSE(encode_classless_routes("10.0.0.1/8 via 192.168.100.1"));
    CHECK_FALSE(encode_classless_routes("10.0.0.0/33 via 192.168.100.1"));
    CHECK_FALSE(encode_classless_routes("10.0.0.0/8 via router"));
}

TEST_CASE("Options of every kind are encoded in network byte order") {
    CHECK(hex(17, std::string{"/srv"}) == "2f737276");
    CHECK(hex(42, std::vector<Ipv4>{Ipv4(1, 2, 3, 4), Ipv4(5, 6, 7, 8)}) == "0102030405060708");
    CHECK(hex(43, std::vector<std::uint8_t>{1, 2, 0xff}) == "0102ff");
    CHECK(hex(23, std::uint8_t{64}) == "40");
    CHECK(hex(26, std::uint16_t{1400}) == "0578");
    CHECK(hex(108, std::uint32_t{1800}) == "00000708");
    CHECK(hex(150, std::vector<Ipv4>{Ipv4(1, 2, 3, 4)}) == "01020304");
    CHECK(encode_option(3, std::vector<Ipv4>{})->value.empty());
}

TEST_CASE("Options that the protocol owns or whose size is wrong are refused with a reason") {
    for (const int code : {0, 1, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 80, 81, 82, 255})
        CHECK(hex(static_cast<std::uint8_t>(code), std::uint8_t{1}) ==
              "error: DHCP option " + std::to_string(code) + " belongs to the protocol itself");
    CHECK(hex(26, std::uint8_t{1}) == "error: DHCP option 26 has 1 bytes");
    CHECK(hex(3, std::vector<std::uint8_t>{1, 2, 3}) == "error: DHCP option 3 has 3 bytes");
    CHECK(hex(33, std::vector<Ipv4>{Ipv4(1, 2, 3, 4)}) == "error: DHCP option 33 has 4 bytes");
    CHECK(hex(43, std::vector<std::uint8_t>(1025)) == "error: DHCP option 43 is 1025 bytes long");
    CHECK(hex(43, std::vector<std::uint8_t>(1024)).size() == 2048);
    CHECK(hex(119, std::string{"a b!"}) == "error: DHCP option 119 is wrong: \"b!\" is not a domain name");
}
