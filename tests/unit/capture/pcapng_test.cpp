#include "src/capture/pcapng.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <numeric>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/capture/filter.hpp"
#include "src/capture/output.hpp"

using namespace vmrouter;

namespace {

std::string hex(const std::string& bytes) {
    return to_hex({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "");
}

std::uint32_t u32(const std::string& bytes, std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = (value << 8) | static_cast<std::uint8_t>(bytes.at(at + i));
    return value;
}

/// The types of the blocks; fails when lengths do not agree.
std::vector<std::uint32_t> blocks(const std::string& file) {
    std::vector<std::uint32_t> types;
    for (std::size_t at = 0; at < file.size();) {
        const auto length = u32(file, at + 4);
        REQUIRE((length >= 12 && length % 4 == 0 && at + length <= file.size()));
        CHECK(u32(file, at + length - 4) == length);
        types.push_back(u32(file, at));
        at += length;
    }
    return types;
}

const MacAddress web{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
const MacAddress gateway{{0x02, 0, 0, 0, 0, 1}};

/// A UDP datagram from web to the gateway, with a VLAN tag or without.
std::vector<std::uint8_t> frame(std::uint16_t port, bool tagged = false) {
    std::vector<std::uint8_t> bytes(gateway.bytes.begin(), gateway.bytes.end());
    bytes.insert(bytes.end(), web.bytes.begin(), web.bytes.end());
    if (tagged) bytes.insert(bytes.end(), {0x81, 0, 0, 5});
    bytes.insert(bytes.end(), {8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 100, 2, 192, 168, 100, 1});
    bytes.insert(bytes.end(),
                 {0x30, 0x39, static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port), 0, 8, 0, 0});
    return bytes;
}

}  // namespace

TEST_CASE("The blocks of a capture are those of the specification, byte by byte") {
    CHECK(hex(pcapng::section("p", "")) ==
          "0a0d0d0a"
          "28000000"
          "4d3c2b1a"
          "0100"
          "0000"
          "ffffffffffffffff"
          "0400"
          "0100"
          "70000000"
          "00000000"
          "28000000");
    CHECK(hex(pcapng::interface({"eth0", "d", ""})) ==
          "01000000"
          "30000000"
          "0100"
          "0000"
          "00000200"
          "0200"
          "0400"
          "65746830"
          "0300"
          "0100"
          "64000000"
          "0900"
          "0100"
          "09000000"
          "00000000"
          "30000000");
    const std::vector<std::uint8_t> data{1, 2, 3, 4, 5};
    CHECK(hex(pcapng::packet({7, 0x0102030405060708, data, 9, true, "hi"})) ==
          "06000000"
          "3c000000"
          "07000000"
          "04030201"
          "08070605"
          "05000000"
          "09000000"
          "0102030405000000"
          "0100"
          "0200"
          "68690000"
          "0200"
          "0400"
          "02000000"
          "00000000"
          "3c000000");
    CHECK(hex(pcapng::names({{Ipv4{192, 168, 100, 2}, "web"}})) ==
          "04000000"
          "1c000000"
          "0100"
          "0800"
          "c0a86402"
          "77656200"
          "00000000"
          "1c000000");
    CHECK(hex(pcapng::statistics({1, 1, 2, 3, 4})) ==
          "05000000"
          "4c000000"
          "01000000"
          "00000000"
          "02000000"
          "0200"
          "0800"
          "00000000"
          "01000000"
          "0300"
          "0800"
          "00000000"
          "02000000"
          "0400"
          "0800"
          "0300000000000000"
          "0500"
          "0800"
          "0400000000000000"
          "00000000"
          "4c000000");
}

TEST_CASE("Blocks of any content stay whole") {
    std::string file = pcapng::section(std::string(5000, 'x'), std::string(70000, 'y'));
    for (std::size_t size = 0; size < 9; ++size) {
        const std::vector<std::uint8_t> data(size, 0xff);
        file += pcapng::packet({0, 0, data, 0, false, std::string(size, 'c')});
        file += pcapng::names({{Ipv4{}, std::string(size, 'n')}});
        file += pcapng::interface({std::string(size, 'i'), "", std::string(size, 'c')});
    }
    CHECK(blocks(file).size() == 28);
}

TEST_CASE("A filter looks at the guest and at the expression, tags included") {
    const auto all = recording::Filter::make(std::nullopt, "");
    REQUIRE(all);
    CHECK(all->matches(frame(53), 42));
    CHECK(all->matches({}, 0));
    CHECK(all->kernel_program().empty());

    const auto guest = recording::Filter::make(web, "");
    REQUIRE(guest);
    CHECK(guest->matches(frame(53), 42));
    CHECK(recording::Filter::make(gateway, "")->matches(frame(53), 42));
    CHECK(!recording::Filter::make(MacAddress{}, "")->matches(frame(53), 42));
    CHECK(!guest->matches(Bytes(frame(53)).first(11), 42));

    const auto dns = recording::Filter::make(std::nullopt, "udp port 53");
    if (!dns) {
        WARN("no libpcap here: " << dns.error().what);
        return;
    }
    CHECK(dns->matches(frame(53), 42));
    CHECK(!dns->matches(frame(123), 42));
    CHECK(!dns->matches(frame(53, true), 46));
    CHECK(recording::Filter::make(std::nullopt, "vlan 5 and udp port 53")->matches(frame(53, true), 46));
    const auto both = recording::Filter::make(gateway, "udp port 53");
    CHECK((both->matches(frame(53), 42) && !both->matches(frame(123), 42)));

    const auto wrong = recording::Filter::make(std::nullopt, "prot 53");
    REQUIRE(!wrong);
    CHECK(wrong.error().where == "--filter 'prot 53'");
    CHECK(wrong.error().what.find("error") != std::string::npos);
}

TEST_CASE("A ring keeps the newest files, each whole by itself") {
    const auto folder = std::filesystem::temp_directory_path() / ("vmrouter-ring-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
    CHECK(recording::ring_name("/a/day.pcapng", 7) == "/a/day.00007.pcapng");
    CHECK(recording::ring_name("day", 123456) == "day.123456");
    {
        const std::string head = pcapng::section("vmrouter", "") + pcapng::interface({"eth0", "", ""});
        auto output =
            recording::Output::open(folder / "day.pcapng", recording::Output::Ring{2, 1000}, [head] { return head; });
        REQUIRE(output);
        const std::vector<std::uint8_t> data(500, 1);
        for (int i = 0; i < 5; ++i) REQUIRE(output->write(pcapng::packet({0, 0, data, 500, false, ""})));
        CHECK(output->path() == folder / "day.00005.pcapng");
    }
    CHECK(!std::filesystem::exists(folder / "day.00003.pcapng"));
    for (const auto* name : {"day.00004.pcapng", "day.00005.pcapng"}) {
        const auto file = read_file(folder / name);
        REQUIRE(file);
        CHECK(file->size() <= 1000);
        CHECK(blocks(*file) == std::vector<std::uint32_t>{0x0a0d0d0a, 1, 6});
    }
    CHECK(!recording::Output::open("/nonexistent/x", std::nullopt, [] { return std::string(); }));
    std::filesystem::remove_all(folder);
}
