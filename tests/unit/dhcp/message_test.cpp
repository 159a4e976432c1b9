#include "dhcp/message.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "packets.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::vector<std::uint8_t> codes(const Options& options) {
    std::vector<std::uint8_t> result;
    for (std::size_t i = 0; i < options.size(); ++i) result.push_back(options[i].code);
    return result;
}

Options read(std::string_view hex) {
    const auto bytes = from_hex(hex);
    const Bytes area{bytes};
    return Options::read(std::span{&area, 1});
}

Message with_options() {
    Message message;
    message.op = Message::reply;
    message.xid = 0xdeadbeef;
    message.chaddr = HardwareAddress::parse("52:54:00:12:34:56").value();
    message.options.add_u8(option::message_type, 5);
    return message;
}

constexpr Room wide{65535, 0, false};

}  // namespace

TEST_CASE("A DISCOVER of udhcpc is read field by field") {
    const auto message = parse(packet("udhcpc-discover"));
    REQUIRE(message);
    CHECK(message->op == Message::request);
    CHECK(to_string(message->chaddr) == "52:54:00:12:34:56");
    CHECK(message->type() == MessageType::Discover);
    CHECK_FALSE(message->wants_broadcast());
    CHECK(message->ciaddr.is_unspecified());
    CHECK(message->options.text(option::host_name) == "vm1");
    CHECK(message->options.u16(option::max_message_size) == 576);
    CHECK(to_hex(message->client_id()) == "01:52:54:00:12:34:56");
    CHECK(to_hex(*message->parameter_list()) == "01:03:06:0c:0f:1c:2a");
    CHECK_FALSE(message->requested_address());
}

TEST_CASE("A DISCOVER of udhcpc with the broadcast flag is read with it") {
    const auto message = parse(packet("udhcpc-broadcast-discover"));
    REQUIRE(message);
    CHECK(message->wants_broadcast());
}

TEST_CASE("A REQUEST of dhclient names server and address") {
    const auto message = parse(packet("dhclient-request"));
    REQUIRE(message);
    CHECK(message->type() == MessageType::Request);
    CHECK(message->server_identifier() == Ipv4(192, 168, 100, 1));
    CHECK(message->requested_address() == Ipv4(192, 168, 100, 76));
}

TEST_CASE("Every real packet survives being written and read again") {
    for (const auto& [name, bytes] : all_packets()) {
        if (name.find("frame") != std::string::npos) continue;
        INFO(name);
        const auto message = parse(bytes);
        REQUIRE(message);
        const auto again = serialize(*message, wide);
        CHECK(again.left_out.empty());
        CHECK(parse(again.bytes).value() == *message);
    }
}

TEST_CASE("Every truncation of every real packet is read without reading past its end") {
    for (const auto& [name, bytes] : all_packets()) {
        if (name.find("frame") != std::string::npos) continue;
        INFO(name);
        for (std::size_t size = 0; size <= bytes.size(); ++size) {
            const std::vector<std::uint8_t> exact(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
            CHECK(parse(exact).has_value() == (size >= 236));
        }
    }
}

TEST_CASE("What is no BOOTP message is refused with its reason") {
    auto bytes = packet("udhcpc-discover");
    CHECK(parse(Bytes{bytes}.first(235)).error() == ParseError::TooShort);
    bytes[0] = 3;
    CHECK(parse(bytes).error() == ParseError::BadOp);
    bytes[0] = 1;
    bytes[2] = 17;
    CHECK(parse(bytes).error() == ParseError::BadHlen);
    bytes[1] = 0;
    bytes[2] = 6;
    CHECK(parse(bytes).error() == ParseError::NoHardwareType);
    bytes[2] = 0;
    CHECK(parse(bytes).has_value());
}

TEST_CASE("Bytes of chaddr past hlen do not matter") {
    auto bytes = packet("udhcpc-discover");
    bytes[28 + 6] = 0xff;
    CHECK(to_string(parse(bytes)->chaddr) == "52:54:00:12:34:56");
    bytes[2] = 16;
    CHECK(parse(bytes)->chaddr.length == 16);
}

TEST_CASE("Without the magic cookie a message is BOOTP and has no options") {
    auto bytes = packet("udhcpc-discover");
    bytes[236] = 0;
    const auto message = parse(bytes);
    REQUIRE(message);
    CHECK_FALSE(message->cookie);
    CHECK(message->options.empty());
    CHECK(message->type() == MessageType::Bootp);
}

TEST_CASE("A message type that is not one byte or not known is Unknown") {
    CHECK(Message{}.type() == MessageType::Bootp);
    for (const auto* hex : {"350109", "350100", "35020101", "3500", "3501ff"}) {
        Message message;
        message.options = read(hex);
        CHECK(message.type() == MessageType::Unknown);
    }
}

TEST_CASE("Option pieces are joined in the order they came in") {
    const Options options = read("0c02 6162 35 01 01 0c01 63 00 00 0c02 6465 ff 0c01 66");
    CHECK(codes(options) == std::vector<std::uint8_t>{12, 53});
    CHECK(options.text(12) == "abcde");
    CHECK(options.u8(53) == 1);
}

TEST_CASE("An option that runs past the end ends the options and keeps those before it") {
    CHECK(codes(read("350101 0c05 6162")) == std::vector<std::uint8_t>{53});
    CHECK(codes(read("350101 0c")) == std::vector<std::uint8_t>{53});
}

TEST_CASE("Typed values are taken only at their size") {
    const Options options = read("3303 000e10 3604 c0a86401 3901 05 0c03 610000");
    CHECK_FALSE(options.u32(51));
    CHECK(options.ip(54) == Ipv4(192, 168, 100, 1));
    CHECK_FALSE(options.u16(57));
    CHECK(options.text(12) == "a");
}

TEST_CASE("Options in file and sname are read when option 52 says so: file first") {
    for (const std::uint8_t overload : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
        std::vector<std::uint8_t> bytes(236);
        bytes[0] = 1;
        bytes[1] = 1;
        bytes[2] = 6;
        const auto put = [&](std::size_t at, std::string_view hex) {
            std::ranges::copy(from_hex(hex), bytes.begin() + static_cast<std::ptrdiff_t>(at));
        };
        put(44, "0c0178 0f0173 ff");
        put(108, "0c0179 430166 ff");
        const auto tail = from_hex("63825363 350101 3401" + to_hex(Bytes{&overload, 1}, "") + "ff");
        bytes.insert(bytes.end(), tail.begin(), tail.end());
        const auto message = parse(bytes);
        REQUIRE(message);
        const bool file = (overload & 1) != 0;
        const bool sname = (overload & 2) != 0;
        CHECK(message->options.has(67) == file);
        CHECK(message->options.has(15) == sname);
        CHECK(message->options.text(12) == (file && sname ? "yx" : file ? "y" : "x"));
        CHECK_FALSE(message->options.has(option::overload));
        CHECK(message->file.empty() == file);
        CHECK(message->sname.empty() == sname);
    }
}

TEST_CASE("Fixed text fields end at their first NUL and are written terminated") {
    Message message = with_options();
    message.sname = "boot.example";
    message.file = std::string(127, 'f');
    const auto bytes = serialize(message, Room{}).bytes;
    CHECK(bytes[44 + 12] == 0);
    CHECK(bytes[108 + 127] == 0);
    CHECK(parse(bytes).value() == message);
}

TEST_CASE("A reply has at least 300 bytes and its padding is zero") {
    const auto bytes = serialize(with_options(), Room{}).bytes;
    CHECK(bytes.size() == 300);
    CHECK(bytes[243] == option::end);
    CHECK(std::all_of(bytes.begin() + 244, bytes.end(), [](auto byte) { return byte == 0; }));
}

TEST_CASE("An option of more than 255 bytes is split and joined again") {
    Message message = with_options();
    std::vector<std::uint8_t> value(600);
    std::iota(value.begin(), value.end(), 0);
    message.options.add(option::classless_routes, value);
    const auto bytes = serialize(message, Room{1472}).bytes;
    CHECK(bytes[243] == 121);
    CHECK(bytes[244] == 255);
    CHECK(bytes[243 + 257] == 121);
    CHECK(parse(bytes).value() == message);
}

TEST_CASE("What has no room is left out and named while what comes first stays") {
    Message message = with_options();
    message.options.add(60, std::vector<std::uint8_t>(200, 'a'));
    message.options.add(43, std::vector<std::uint8_t>(200, 'b'));
    message.options.add_u32(51, 3600);
    const auto result = serialize(message, Room{548});
    CHECK(result.left_out == std::vector<std::uint8_t>{43});
    CHECK(result.bytes.size() <= 548);
    CHECK(codes(parse(result.bytes)->options) == std::vector<std::uint8_t>{53, 60, 51});
}

TEST_CASE("A full packet is filled to its last byte") {
    Message message = with_options();
    message.options.add(60, std::vector<std::uint8_t>(300 - 236 - 4 - 1 - 3 - 2, 'a'));
    auto result = serialize(message, Room{300});
    CHECK(result.left_out.empty());
    CHECK(result.bytes.size() == 300);
    CHECK(result.bytes.back() == option::end);
    message.options.add(116, {});
    result = serialize(message, Room{300});
    CHECK(result.left_out == std::vector<std::uint8_t>{116});
}

TEST_CASE("When not all have room what the client lists first comes first, after what no client can do without") {
    Message message = with_options();
    message.options.add(15, std::vector<std::uint8_t>(130, 'd'));
    message.options.add(43, std::vector<std::uint8_t>(130, 'v'));
    message.options.add(119, std::vector<std::uint8_t>(130, 's'));
    message.options.add_u32(51, 3600);
    const std::vector<std::uint8_t> list{119, 43, 15, 51};
    const auto options_of = [&](const Room& room) {
        const auto result = serialize(message, room);
        return std::pair{codes(parse(result.bytes)->options), result.left_out};
    };
    using Codes = std::vector<std::uint8_t>;
    CHECK(options_of({548, 300, false, list}) == std::pair{Codes{53, 43, 119, 51}, Codes{15}});
    CHECK(options_of({548, 300, false, {}}) == std::pair{Codes{53, 15, 43, 51}, Codes{119}});
    CHECK(options_of({300, 300, false, list}) == std::pair{Codes{53, 51}, Codes{15, 43, 119}});
    CHECK(options_of({1000, 300, false, list}) == std::pair{Codes{53, 15, 43, 119, 51}, Codes{}});
    // 15, which the client wants least, is the one that must go into the field.
    message.options.add(17, std::vector<std::uint8_t>(90, 'r'));
    CHECK(options_of({548, 300, true, list}) == std::pair{Codes{53, 43, 119, 51, 17}, Codes{15}});
}

TEST_CASE("Clients are told apart by no more of a client-id than a leases file can hold") {
    Message message;
    message.options.add(option::client_identifier, std::vector<std::uint8_t>(255, 7));
    CHECK(message.client_id().size() == 255);
    Message longer;
    longer.options.add(option::client_identifier, std::vector<std::uint8_t>(1000, 7));
    CHECK(longer.client_id().size() == 255);
}

TEST_CASE("Options spill into file and sname only when that is allowed and they are empty") {
    Message message = with_options();
    message.options.add(60, std::vector<std::uint8_t>(250, 'a'));
    message.options.add(43, std::vector<std::uint8_t>(110, 'b'));
    message.options.add(66, std::vector<std::uint8_t>(50, 'c'));
    const auto spilled = serialize(message, Room{548, 300, true});
    CHECK(spilled.left_out.empty());
    CHECK(parse(spilled.bytes).value() == message);
    CHECK(spilled.bytes[108] == 43);
    CHECK(spilled.bytes[44] == 66);
    CHECK(serialize(message, Room{548, 300, false}).left_out == std::vector<std::uint8_t>{43});
    message.file = "pxelinux.0";
    const auto half = serialize(message, Room{548, 300, true});
    CHECK(parse(half.bytes)->file == "pxelinux.0");
    CHECK(half.left_out == std::vector<std::uint8_t>{43});
}

TEST_CASE("Option 82 comes last and is never left out") {
    Message message = with_options();
    message.options.add(option::relay_agent, from_hex("0104 00000001"));
    message.options.add(60, std::vector<std::uint8_t>(250, 'a'));
    const auto result = serialize(message, Room{300});
    CHECK(result.left_out == std::vector<std::uint8_t>{60});
    CHECK(codes(parse(result.bytes)->options) == std::vector<std::uint8_t>{53, 82});
    Message behind = with_options();
    behind.options.add(60, std::vector<std::uint8_t>(300 - 236 - 4 - 1 - 3 - 2 - 8, 'a'));
    behind.options.add(option::relay_agent, from_hex("0104 00000001"));
    CHECK(serialize(behind, Room{300}).left_out.empty());
    CHECK(serialize(behind, Room{300}).bytes.size() == 300);
    CHECK(parse(serialize(behind, Room{300}).bytes).value() == behind);
    const auto roomy = serialize(message, Room{548});
    CHECK(codes(parse(roomy.bytes)->options) == std::vector<std::uint8_t>{53, 60, 82});
}

TEST_CASE("A client that terminates its strings is known by option 12 or 60") {
    Message message;
    message.options = read("0c03 616200");
    CHECK(message.terminates_strings());
    message.options = read("3c03 616200");
    CHECK(message.terminates_strings());
    message.options = read("0c02 6162 3c01 00");
    CHECK_FALSE(message.terminates_strings());
}

TEST_CASE("Hardware addresses are written and read in the form of the leases file") {
    CHECK(to_string(HardwareAddress::parse("52:54:00:AB:cd:01").value()) == "52:54:00:ab:cd:01");
    const auto infiniband = HardwareAddress::parse("20-01:02:03");
    REQUIRE(infiniband);
    CHECK(infiniband->type == 0x20);
    CHECK(infiniband->length == 3);
    CHECK(to_string(*infiniband) == "20-01:02:03");
    CHECK_FALSE(infiniband->mac());
    CHECK(to_string(HardwareAddress{}) == "01-");
    CHECK(HardwareAddress::parse("01-").value() == HardwareAddress{});
    for (const auto* bad :
         {"", "5", "52:", ":52", "52:5", "g0:00", "00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10", "123-00"})
        CHECK_FALSE(HardwareAddress::parse(bad));
}

TEST_CASE("Sub-options are found and a broken one ends the search") {
    const auto value = from_hex("0102 aabb 0500 0b04 01020304 06ff 00");
    CHECK(to_hex(*suboption(value, 1)) == "aa:bb");
    CHECK(suboption(value, 5)->empty());
    CHECK(suboption(value, 11)->size() == 4);
    CHECK_FALSE(suboption(value, 6));
}
