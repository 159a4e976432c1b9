#include "conf/dhcp_option.hpp"

#include <catch2/catch.hpp>

#include "src/base/text.hpp"
#include "text.hpp"

using namespace vmrouter;
using namespace vmrouter::conf;
using namespace vmrouter::conf::test;

namespace {

/// A file whose third line is one option.
std::string file_with(const std::string& option) {
    return "network.bridge = \"br0\"\n[dhcp]\noptions = [{ " + option + " }]\n";
}

/// The bytes of the option, as hex.
std::string bytes(const std::string& option) {
    const auto loaded = load_text(file_with(option), "vm.toml");
    CHECK(text_of(loaded.errors) == "");
    return loaded.config.dhcp.options.empty() ? "none" : to_hex(loaded.config.dhcp.options[0].data);
}

std::string refusal(const std::string& option) {
    return errors_of(file_with(option));
}

}  // namespace

TEST_CASE("Options are encoded as their definition says") {
    CHECK(bytes("code = 224, text = \"abc\"") == "61:62:63");
    CHECK(bytes("code = 224, hex = \"01:ff-0a\"") == "01:ff:0a");
    CHECK(bytes("code = 224, ip = [\"10.0.0.1\", \"10.0.0.2\"]") == "0a:00:00:01:0a:00:00:02");
    CHECK(bytes("code = 224, ip = \"10.0.0.1\"") == "0a:00:00:01");
    CHECK(bytes("code = 224, u8 = 255") == "ff");
    CHECK(bytes("code = 224, u16 = 258") == "01:02");
    CHECK(bytes("code = 224, u32 = 4294967295") == "ff:ff:ff:ff");
    CHECK(bytes("code = 108, u32 = 1800") == "00:00:07:08");
    CHECK(bytes("code = 119, text = \"vm.internal, b\"") == "02:76:6d:08:69:6e:74:65:72:6e:61:6c:00:01:62:00");
    CHECK(bytes("code = 121, text = \"10.128.0.0/9 10.0.0.5, 0.0.0.0/0 10.0.0.1\"") ==
          "09:0a:80:0a:00:00:05:00:0a:00:00:01");
    CHECK(bytes("code = 121, hex = \"00:0a:00:00:01\"") == "00:0a:00:00:01");
    CHECK(bytes("code = 19, u8 = 1") == "01");
}

TEST_CASE("A value that the option cannot take is refused with what it can take") {
    CHECK(refusal("code = 19, u8 = 2") ==
          "vm.toml:3:30: dhcp.options has a value that option 19 cannot take\n"
          "  hint: option 19 is a flag: u8 = 0 or u8 = 1\n");
    for (const auto* bad : {"code = 13, u8 = 1", "code = 16, ip = [\"1.2.3.4\", \"1.2.3.5\"]",
                            "code = 33, ip = \"1.2.3.4\"", "code = 4, text = \"1.2.3.4\"", "code = 4, ip = []",
                            "code = 4, hex = \"01:02\"", "code = 119, ip = \"1.2.3.4\"", "code = 119, text = \"\"",
                            "code = 121, hex = \"21\"", "code = 121, hex = \"08:0a:01\"", "code = 14, text = \"\""}) {
        CAPTURE(bad);
        CHECK(refusal(bad).find("cannot take") != std::string::npos);
    }
    for (const auto* bad : {"code = 119, text = \"a b!\"", "code = 121, text = \"10.0.0.1/8 10.0.0.5\"",
                            "code = 121, text = \"10.0.0.0/8\"", "code = 224, u8 = 256", "code = 224, u16 = -1",
                            "code = 224, u32 = 4294967296", "code = 224, hex = \"xy\"", "code = 224, ip = [\"::1\"]",
                            "code = 224, text = 5", "code = 224, u8 = \"1\""}) {
        CAPTURE(bad);
        CHECK(refusal(bad).find("vm.toml:3:") == 0);
    }
    CHECK(refusal("code = 224, text = \"" + std::string(1025, 'a') + "\"").find("at most 1024") != std::string::npos);
    CHECK(bytes("code = 224, text = \"" + std::string(1024, 'a') + "\"").size() == 1024 * 3 - 1);
}

TEST_CASE("An option is its code and one value") {
    CHECK(refusal("text = \"a\"").find("vm.toml:3:12: dhcp.options has an option without its code") == 0);
    CHECK(refusal("code = 224").find("vm.toml:3:12: dhcp.options has an option without a value") == 0);
    CHECK(refusal("code = 224, u8 = 1, u16 = 1").find("vm.toml:3:34: dhcp.options has both u8 and u16") == 0);
    CHECK(refusal("code = 224, u64 = 1").find("vm.toml:3:26: dhcp.options has an unknown key 'u64'") == 0);
    CHECK(refusal("code = 256, u8 = 1").find("it must be from 1 to 254") != std::string::npos);
    CHECK(refusal("code = \"a\", u8 = 1").find("it must be from 1 to 254") != std::string::npos);
}

TEST_CASE("Options that we send ourselves name the key that sets them") {
    CHECK(refusal("code = 51, u32 = 3600") ==
          "vm.toml:3:21: dhcp.options has code = 51, which is not free to set\n"
          "  hint: dhcp.lease_time sets the lease time\n");
    for (const int code :
         {0, 1, 3, 12, 15, 26, 28, 42, 50, 52, 53, 54, 55, 56, 57, 58, 59, 61, 66, 67, 80, 81, 82, 255})
        CHECK(refusal("code = " + std::to_string(code) + ", hex = \"00000000\"").find("not free to set") !=
              std::string::npos);
    CHECK(refusal("code = 6, ip = \"9.9.9.9\"").find("guests are to ask our own DNS server") != std::string::npos);
    CHECK(errors_of(file_with("code = 6, ip = \"9.9.9.9\"") + "[dns]\nenabled = false\n") == "");
}

TEST_CASE("An option is given once and routes without a default route are pointed out") {
    CHECK(errors_of("network.bridge = \"b\"\ndhcp.options = [{ code = 224, u8 = 1 }, { code = 224, u8 = 2 }]\n") ==
          "vm.toml:2:41: dhcp.options has code = 224 twice\n  hint: it is also at vm.toml:2:17\n");
    CHECK(warnings_of(file_with("code = 121, text = \"10.0.0.0/8 10.0.0.5\""))
              .find("vm.toml:3:12: option 121 has no route") == 0);
    CHECK(warnings_of(file_with("code = 121, text = \"10.0.0.0/8 10.0.0.5, 0.0.0.0/0 10.0.0.1\"")) == "");
}
