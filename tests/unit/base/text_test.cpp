#include "src/base/text.hpp"

#include <array>
#include <catch2/catch.hpp>

using namespace vmrouter;
using namespace std::chrono_literals;

TEST_CASE("escape leaves printable ASCII alone and shows everything else as hex") {
    CHECK(escape("vm-1.lan") == "vm-1.lan");
    CHECK(escape("\x1b[31mred\n\\") == "\\x1b[31mred\\x0a\\\\");
    CHECK(escape(std::string_view("\0\xff", 2)) == "\\x00\\xff");
    CHECK(escape("abcdef", 3) == "abc...");
}

TEST_CASE("Durations take one unit and nothing else") {
    CHECK(parse_duration("150s") == 150s);
    CHECK(parse_duration("12h") == 12h);
    CHECK(parse_duration("90") == 90s);
    CHECK(parse_duration("7d") == 168h);
    for (const auto* bad : {"", "h", "1.5h", "-1s", "1h30m", " 1h", "99999999999s", "1x"})
        CHECK_FALSE(parse_duration(bad));
    CHECK(to_string(3600s) == "1h");
    CHECK(to_string(5400s) == "90m");
    CHECK(to_string(0s) == "0s");
}

TEST_CASE("Hex takes separators between bytes only") {
    const std::vector<std::uint8_t> bytes{0x01, 0xff, 0x00};
    CHECK(parse_hex("01:ff:0") == bytes);
    CHECK(parse_hex("01FF00") == bytes);
    CHECK(parse_hex("") == std::vector<std::uint8_t>{});
    for (const auto* bad : {":01", "01:", "0g", "01::02"}) CHECK_FALSE(parse_hex(bad));
    CHECK(to_hex(bytes) == "01:ff:00");
}

TEST_CASE("The nearest key is suggested within two edits") {
    constexpr std::array<std::string_view, 3> keys{"address", "bridge", "mtu"};
    CHECK(nearest("adress", keys) == "address");
    CHECK(nearest("brigde", keys) == "bridge");
    CHECK_FALSE(nearest("gateway", keys));
}

TEST_CASE("Interface names that could leave their quotes are refused") {
    CHECK(is_interface_name("virbr10"));
    CHECK(is_interface_name("enp6s0.100"));
    for (const auto* bad : {"", "..", "a/b", "a b", "a\"b", "a;b", "eth*", "-x", "sixteen-bytes-xx"})
        CHECK_FALSE(is_interface_name(bad));
    for (const auto* taken : {"vpn+1", "a\"b", "a;b", "eth*", "-x", "br\xc3\xbc"})
        CHECK(is_kernel_interface_name(taken));
    for (const auto* bad : {"", ".", "..", "a/b", "a b", "a\tb", "eth0:1", "sixteen-bytes-xx"})
        CHECK_FALSE(is_kernel_interface_name(bad));
}
