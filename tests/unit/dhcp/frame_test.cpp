#include "dhcp/frame.hpp"

#include <catch2/catch.hpp>

#include "dhcp/message.hpp"
#include "packets.hpp"
#include "src/base/checksum.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

const MacAddress ours = MacAddress::parse("02:00:00:00:00:01").value();
const MacAddress guest = MacAddress::parse("52:54:00:12:34:56").value();

std::vector<std::uint8_t> frame_of(Bytes payload) {
    return build_frame(ours, guest, Ipv4(192, 168, 100, 1), server_port, Ipv4(192, 168, 100, 76), client_port, payload);
}

/// The frame with one byte changed and its IP checksum right again.
std::vector<std::uint8_t> changed(std::vector<std::uint8_t> frame, std::size_t at, std::uint8_t value) {
    frame[at] = value;
    if (at < 34) {
        frame[24] = frame[25] = 0;
        const std::uint16_t sum = internet_checksum(Bytes{frame}.subspan(14, 20));
        frame[24] = static_cast<std::uint8_t>(sum >> 8);
        frame[25] = static_cast<std::uint8_t>(sum);
    }
    return frame;
}

std::string outcome(const std::vector<std::uint8_t>& frame, ChecksumState state = ChecksumState::Verify) {
    const auto result = parse_frame(frame, state);
    return result ? "ok" : std::string(to_string(result.error()));
}

}  // namespace

TEST_CASE("A frame of udhcpc is taken apart") {
    const auto bytes = packet("udhcpc-discover.frame");
    const auto datagram = parse_frame(bytes, ChecksumState::Verify);
    REQUIRE(datagram);
    CHECK(datagram->ethernet_source == guest);
    CHECK(datagram->ethernet_destination == MacAddress::broadcast());
    CHECK(datagram->source.is_unspecified());
    CHECK(datagram->destination.is_broadcast());
    CHECK(datagram->source_port == client_port);
    CHECK(datagram->destination_port == server_port);
    CHECK(parse(datagram->payload)->type() == MessageType::Discover);
}

TEST_CASE("A frame that we build is one that we and a strict client accept") {
    for (std::size_t size = 0; size < 700; size = size * 2 + 1) {
        std::vector<std::uint8_t> payload(size);
        for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<std::uint8_t>(i * 37);
        const auto frame = frame_of(payload);
        const auto datagram = parse_frame(frame, ChecksumState::Verify);
        REQUIRE(datagram);
        CHECK(std::ranges::equal(datagram->payload, payload));
        CHECK(datagram->source_port == server_port);
        CHECK((frame[40] != 0 || frame[41] != 0));  // a client may insist on a checksum
        const Bytes ip = Bytes{frame}.subspan(14);
        CHECK(internet_checksum(ip.first(20)) == 0);
    }
}

TEST_CASE("A UDP checksum that comes out as 0 is sent as 0xffff") {
    bool seen = false;
    for (std::uint32_t word = 0; word < 0x10000 && !seen; ++word) {
        const std::vector<std::uint8_t> payload{static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
        const auto frame = frame_of(payload);
        CHECK((frame[40] | frame[41]) != 0);
        if (frame[40] != 0xff || frame[41] != 0xff) continue;
        seen = true;
        CHECK(outcome(frame) == "ok");
    }
    CHECK(seen);
}

TEST_CASE("Padding after the IP packet is not payload") {
    const std::vector<std::uint8_t> payload{1, 2, 3};
    auto frame = frame_of(payload);
    frame.resize(60);
    CHECK(parse_frame(frame, ChecksumState::Verify)->payload.size() == 3);
}

TEST_CASE("What is no whole plain UDP packet is refused with its reason") {
    const std::vector<std::uint8_t> payload{1, 2, 3, 4};
    const auto frame = frame_of(payload);
    CHECK(outcome(frame) == "ok");
    CHECK(outcome(changed(frame, 12, 0x81)) == "not IPv4");
    CHECK(outcome(changed(frame, 14, 0x65)) == "wrong IP version");
    CHECK(outcome(changed(frame, 14, 0x44)) == "bad IP header length");
    CHECK(outcome(changed(frame, 14, 0x46)) == "has IP options");
    CHECK(outcome(changed(frame, 17, 200)) == "bad IP length");
    CHECK(outcome(changed(frame, 17, 19)) == "bad IP length");
    CHECK(outcome(changed(frame, 20, 0x20)) == "is a fragment");
    CHECK(outcome(changed(frame, 21, 0x01)) == "is a fragment");
    CHECK(outcome(changed(frame, 20, 0x40)) == "ok");  // don't fragment
    CHECK(outcome(changed(frame, 23, 6)) == "not UDP");
    auto broken = frame;
    broken[25] ^= 1;
    CHECK(outcome(broken) == "wrong IP checksum");
    CHECK(outcome(changed(frame, 39, 7)) == "bad UDP length");
    CHECK(outcome(changed(frame, 39, 13)) == "bad UDP length");
}

TEST_CASE("A wrong UDP checksum is refused unless the kernel says it is not ready or there is none") {
    const std::vector<std::uint8_t> payload{1, 2, 3, 4};
    auto frame = frame_of(payload);
    frame[42] ^= 0xff;
    CHECK(outcome(frame) == "wrong UDP checksum");
    CHECK(outcome(frame, ChecksumState::NotReady) == "ok");
    frame[40] = frame[41] = 0;
    CHECK(outcome(frame) == "ok");
}

TEST_CASE("Every truncation of a real frame is refused without reading past its end") {
    for (const auto* name : {"udhcpc-discover.frame", "dhclient-discover.frame"}) {
        const auto bytes = packet(name);
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            const std::vector<std::uint8_t> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK_FALSE(parse_frame(exact, ChecksumState::Verify));
        }
    }
}
