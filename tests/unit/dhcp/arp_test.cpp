#include "dhcp/arp.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "src/base/checksum.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::vector<std::uint8_t> hex(std::string_view text) {
    return *parse_hex(text);
}

// A Linux host answers a probe: sender and target of the question swapped.
const std::string reply_to_probe =
    "525400000001 525400000002 0806 0001 0800 06 04 0002 "
    "525400000002 c0a86417 525400000001 00000000";

const std::string echo_reply =
    "525400000001 525400000002 0800 "
    "4500 0024 1234 0000 40 01 0000 0a010203 c0a86401 "
    "0000 0000 766d 0000 1122334455667788";

std::vector<std::uint8_t> valid_echo_reply() {
    auto frame = hex(echo_reply);
    const auto sum = internet_checksum(Bytes(frame).subspan(34));
    frame[36] = static_cast<std::uint8_t>(sum >> 8);
    frame[37] = static_cast<std::uint8_t>(sum);
    return frame;
}

}  // namespace

TEST_CASE("An ARP probe asks everybody and says nothing about us but our hardware address") {
    const auto frame = arp_probe(*MacAddress::parse("52:54:00:00:00:01"), Ipv4(192, 168, 100, 23));
    CHECK(to_hex(frame, "") == to_hex(hex("ffffffffffff 525400000001 0806 0001 0800 06 04 0001 "
                                          "525400000001 00000000 000000000000 c0a86417 "
                                          "000000000000 000000000000 000000000000"),
                                      ""));
    const auto parsed = parse_arp(frame);
    REQUIRE(parsed);
    CHECK(parsed->request);
    CHECK(parsed->sender.is_unspecified());
    CHECK(parsed->target == Ipv4(192, 168, 100, 23));
}

TEST_CASE("An ARP reply tells who has the address") {
    const auto parsed = parse_arp(hex(reply_to_probe));
    REQUIRE(parsed);
    CHECK_FALSE(parsed->request);
    CHECK(parsed->sender == Ipv4(192, 168, 100, 23));
    CHECK(to_string(parsed->sender_mac) == "52:54:00:00:00:02");
}

TEST_CASE("ARP that is cut short or of another kind is not read") {
    const auto whole = hex(reply_to_probe);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::vector<std::uint8_t> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK_FALSE(parse_arp(part));
    }
    for (const std::size_t at : {12U, 14U, 16U, 18U, 19U, 20U}) {
        auto other = whole;
        other[at] ^= 0x40;
        CHECK_FALSE(parse_arp(other));
    }
}

TEST_CASE("An echo request has right checksums and its answer brings the cookie back") {
    EchoRequest request;
    request.ethernet_source = *MacAddress::parse("52:54:00:00:00:01");
    request.ethernet_destination = *MacAddress::parse("52:54:00:00:00:02");
    request.source = Ipv4(192, 168, 100, 1);
    request.target = Ipv4(10, 1, 2, 3);
    request.identifier = 0x766d;
    request.cookie = 0x1122334455667788;
    const auto frame = echo_request(request);
    CHECK(internet_checksum(Bytes(frame).subspan(14, 20)) == 0);
    CHECK(internet_checksum(Bytes(frame).subspan(34, 16)) == 0);

    const auto reply = parse_echo_reply(valid_echo_reply());
    REQUIRE(reply);
    CHECK(reply->source == Ipv4(10, 1, 2, 3));
    CHECK(reply->identifier == 0x766d);
    CHECK(reply->cookie == 0x1122334455667788);
    CHECK_FALSE(parse_echo_reply(frame));  // a request is no reply
}

TEST_CASE("An echo reply that is cut short or damaged is not read") {
    const auto whole = valid_echo_reply();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::vector<std::uint8_t> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK_FALSE(parse_echo_reply(part));
    }
    for (const std::size_t at : {12U, 14U, 23U, 34U, 40U, 49U}) {
        auto other = whole;
        other[at] ^= 0x0f;
        CHECK_FALSE(parse_echo_reply(other));
    }
}
