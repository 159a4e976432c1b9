#include "dhcp/hosts_file.hpp"

#include <catch2/catch.hpp>

#include "scene.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

HostEntry entry(std::string_view line) {
    const auto result = parse_host_line(line, "hostsfile:1");
    if (!result) FAIL(to_string(result.error()));
    return *result;
}

std::string problem(std::string_view line) {
    const auto result = parse_host_line(line, "hostsfile:1");
    return result ? "accepted" : to_string(result.error());
}

bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

struct Built {
    Reservations reservations;
    std::vector<Error> problems;
};
Built build(std::string_view text, std::vector<HostEntry> configured = {}) {
    Built built;
    auto file = parse_hosts_file(text, "hostsfile");
    built.problems = file.problems;
    built.reservations = Reservations::build(std::move(configured), std::move(file.entries),
                                             Cidr::parse("192.168.100.1/24").value(), "virbr10", built.problems);
    return built;
}

}  // namespace

TEST_CASE("A line of MAC and address and name and lease time is read in any order") {
    for (const auto* line : {"52:54:00:00:00:01,192.168.100.10,web,12h", "12h , web, 192.168.100.10 ,52:54:00:00:00:01",
                             "  \"52:54:00:00:00:01\",192.168.100.10,\"web\",12h   # the web server"}) {
        const HostEntry host = entry(line);
        REQUIRE(host.macs.size() == 1);
        CHECK(to_string(host.macs[0]) == "52:54:00:00:00:01");
        CHECK(host.address == ip("192.168.100.10"));
        CHECK(host.name == "web");
        CHECK(host.lease_time == Seconds{12 * 3600});
        CHECK_FALSE(host.ignore);
        CHECK(host.where == "hostsfile:1");
    }
}

TEST_CASE("Several MACs and wildcards and other hardware types are read") {
    const HostEntry host = entry("52:54:0:0:0:1,52:54:00:*:*:02,06-00:11:22:33:44:55,192.168.100.10");
    REQUIRE(host.macs.size() == 3);
    CHECK(to_string(host.macs[0]) == "52:54:00:00:00:01");
    CHECK(to_string(host.macs[1]) == "52:54:00:*:*:02");
    CHECK(to_string(host.macs[2]) == "06-00:11:22:33:44:55");
    CHECK(host.macs[1].matches(hw("52:54:00:aa:bb:02")));
    CHECK_FALSE(host.macs[1].matches(hw("52:54:00:aa:bb:03")));
    CHECK_FALSE(host.macs[2].matches(hw("00:11:22:33:44:55")));
}

TEST_CASE("A client-id is hexadecimal or text or ignored") {
    CHECK(to_hex(entry("id:01:02:0a,192.168.100.10").client_id) == "01:02:0a");
    CHECK(to_hex(entry("ID:abc,192.168.100.10").client_id) == "61:62:63");
    const HostEntry host = entry("52:54:00:00:00:01,id:*,192.168.100.10");
    CHECK(host.ignore_client_id);
    CHECK(host.client_id.empty());
    CHECK(has(problem("id:xyz:01,192.168.100.10"), "is not a client-id"));
    CHECK(has(problem("id:,192.168.100.10"), "without a client-id"));
}

TEST_CASE("Lease times have a unit and a floor or are infinite") {
    const auto time = [](const std::string& text) { return entry("52:54:00:00:00:01," + text).lease_time; };
    CHECK(time("45") == Seconds{120});
    CHECK(time("3600") == Seconds{3600});
    CHECK(time("5m") == Seconds{300});
    CHECK(time("5M") == Seconds{300});
    CHECK(time("1w") == Seconds{604800});
    CHECK(time("infinite") == infinite);
    CHECK(has(problem("52:54:00:00:00:01,99999999999999999999d"), "too large"));
    CHECK(has(problem("52:54:00:00:00:01,99999999d"), "too large"));
}

TEST_CASE("Ignore and tags and IPv6 addresses are accepted") {
    CHECK(entry("52:54:00:00:00:01,ignore").ignore);
    const HostEntry host = entry("tag:bootp,set:red,net:blue,52:54:00:00:00:01,[fd00::1],192.168.100.10");
    CHECK(host.tags == std::vector<std::string>{"bootp"});
    CHECK(host.set_tags == std::vector<std::string>{"red", "blue"});
    CHECK(host.address == ip("192.168.100.10"));
}

TEST_CASE("A name may have a domain, of which the host part is used") {
    CHECK(entry("52:54:00:00:00:01,web.vm.internal").name == "web");
    CHECK(entry("52:54:00:00:00:01,a_b-c9").name == "a_b-c9");
    for (const auto* bad : {"_web", "-web", "we b", "web-", "w\xc3\xbc", "web!", "web.ex ample"})
        CHECK(has(problem("52:54:00:00:00:01," + std::string(bad)), "neither a host name nor anything else"));
}

TEST_CASE("What dnsmasq misreads in silence is an error that says what to write") {
    CHECK(problem("52-54-00-ee-00-09,192.168.100.10") ==
          "hostsfile:1: \"52-54-00-ee-00-09\" would be a host name, not a hardware address\n"
          "  hint: write it with colons: 52:54:00:ee:00:09");
    CHECK(has(problem("525400ee0008,192.168.100.10"), "write it with colons: 52:54:00:ee:00:08"));
    CHECK(problem("525400000003,192.168.100.10") ==
          "hostsfile:1: \"525400000003\" would be a lease time, not a hardware address\n"
          "  hint: write it with colons: 52:54:00:00:00:03");
    CHECK(has(problem("5254.00ee.0008,192.168.100.10"), "write it with colons: 52:54:00:ee:00:08"));
    CHECK(has(problem("52:54:00:00:00:01,192.168.77.500"), "\"192.168.77.500\" is not an IPv4 address"));
    CHECK(has(problem("52:54:00:00:00:01,192.168.100.010"), "is not an IPv4 address"));
    CHECK(has(problem("52:54:00:00:00:01,one,two"), "a second host name"));
    CHECK(has(problem("52:54:00:00:00:01,192.168.100.10,192.168.100.11"), "a second address"));
    CHECK(has(problem("52:54:00:00:00"), "is not a hardware address"));
    CHECK(has(problem("52:54:00:00:00:0g"), "is not a hardware address"));
    CHECK(has(problem("52:54:00:00:00:01,,web"), "an empty field"));
    for (const auto* text :
         {"192.168.77.5W00", "12h.example", "ignore.example", "infinite.example", "525400ee0008.example"})
        CHECK(has(problem("52:54:00:00:00:01," + std::string(text)), "which is no name by itself"));
    CHECK(has(problem("web,192.168.100.10"), "any guest could claim it by its name"));
    CHECK(has(problem("52:54:00:00:00:01,\"web"), "a double quote is not closed"));
}

TEST_CASE("Comments and blank lines and quotes are as in dnsmasq") {
    const auto file = parse_hosts_file(
        "\xef\xbb\xbf# head\n\n  \t\r\n52:54:00:00:00:01,a # tail\r\n"
        "52:54:00:00:00:02,set:\"x,#y\\\"z\",b\n#52:54:00:00:00:03\n52:54:00:00:00:04,c",
        "hostsfile");
    CHECK(file.problems.empty());
    REQUIRE(file.entries.size() == 3);
    CHECK(file.entries[0].name == "a");
    CHECK(file.entries[0].where == "hostsfile:4");
    CHECK(file.entries[1].set_tags == std::vector<std::string>{"x,#y\"z"});
    CHECK(file.entries[2].where == "hostsfile:7");
}

TEST_CASE("A bad line is reported with its number and costs no other line") {
    const auto file = parse_hosts_file(
        "52:54:00:00:00:01,192.168.100.10\n52-54-00-00-00-02,192.168.100.11\n"
        "dhcp-host=52:54:00:00:00:05,x\n52:54:00:00:00:03,192.168.100.12\n",
        "/etc/hosts.vm");
    CHECK(file.entries.size() == 2);
    REQUIRE(file.problems.size() == 2);
    CHECK(file.problems[0].where == "/etc/hosts.vm:2");
    CHECK(file.problems[1].where == "/etc/hosts.vm:3");
}

TEST_CASE("A line that is made from an entry is read back as that entry") {
    for (const auto* line :
         {"52:54:00:00:00:01,192.168.100.10,web,infinite", "id:61,192.168.100.10", "id:01:02:03,ignore",
          "tag:bootp,set:a b,52:54:00:*:*:*,06-00:11:22:33:44:55,id:*,7200s,x"}) {
        const HostEntry host = entry(line);
        CHECK(entry(to_line(host)) == host);
    }
    HostEntry text;
    text.client_id = {0x41};
    text.where = "hostsfile:1";
    CHECK(entry(to_line(text)) == text);
}

TEST_CASE("Client-id lines win over exact MACs and those over wildcards with fewer stars first") {
    const auto built = build(
        "52:54:00:*:*:*,192.168.100.20\n52:54:00:00:00:*,192.168.100.21\n52:54:00:00:00:01,192.168.100.22\n"
        "id:01:aa,192.168.100.23\n*:*:*:*:*:*,ignore\n");
    CHECK(built.problems.empty());
    const auto& hosts = built.reservations;
    const std::vector<std::uint8_t> id{1, 0xaa};
    const std::vector<std::uint8_t> zero_id{0, 1, 0xaa};
    CHECK(hosts.match(hw(vm1), id)->address == ip("192.168.100.23"));
    CHECK(hosts.match(hw(vm1), zero_id)->address == ip("192.168.100.23"));
    CHECK(hosts.match(hw(vm1), {})->address == ip("192.168.100.22"));
    CHECK(hosts.match(hw(vm2), {})->address == ip("192.168.100.21"));
    CHECK(hosts.match(hw("52:54:00:99:00:02"), {})->address == ip("192.168.100.20"));
    CHECK(hosts.match(hw("02:00:00:00:00:01"), {})->ignore);
    CHECK(hosts.match(hw("06-02:00:00:00:00:01"), {}) == nullptr);
    CHECK(hosts.by_address(ip("192.168.100.20")) != nullptr);
    CHECK(hosts.by_address(ip("192.168.100.19")) == nullptr);
    CHECK(hosts.addresses_in({ip("192.168.100.21"), ip("192.168.100.22")}).size() == 2);
    CHECK(Reservations{}.match(hw(vm1), {}) == nullptr);
}

TEST_CASE("A line whose tag holds wins over one without and one that can never hold is an error") {
    const auto built = build(
        "52:54:00:00:00:01,192.168.100.20\ntag:bootp,52:54:00:00:00:01,192.168.100.21\n"
        "tag:virbr10,52:54:00:00:00:02,192.168.100.22\ntag:red,52:54:00:00:00:03,192.168.100.23\n"
        "tag:!virbr10,52:54:00:00:00:04,192.168.100.24\n");
    CHECK(built.reservations.match(hw(vm1), {})->address == ip("192.168.100.20"));
    CHECK(built.reservations.match(hw(vm1), {}, true)->address == ip("192.168.100.21"));
    CHECK(built.reservations.match(hw(vm2), {})->address == ip("192.168.100.22"));
    CHECK(built.reservations.match(hw("52:54:00:00:00:04"), {}) == nullptr);
    REQUIRE(built.problems.size() == 1);
    CHECK(built.problems[0].where == "hostsfile:4");
    CHECK(has(built.problems[0].what, "nothing sets the tag \"red\""));
}

TEST_CASE("Duplicates are reported with both places and the first one holds") {
    HostEntry configured = entry("52:54:00:00:00:01,192.168.100.10,web");
    configured.where = "vm.toml:12";
    const auto built = build(
        "52:54:00:00:00:02,192.168.100.10\n52:54:00:00:00:01,192.168.100.11\nid:01,192.168.100.12\n"
        "id:01,192.168.100.13\n52:54:00:00:00:05,192.168.100.14,WEB\n",
        {configured});
    REQUIRE(built.problems.size() == 4);
    CHECK(to_string(built.problems[0]) ==
          "hostsfile:1: the address 192.168.100.10 is reserved at vm.toml:12 already\n"
          "  hint: remove one of the two; the first one holds");
    CHECK(has(to_string(built.problems[1]),
              "hostsfile:2: the hardware address 52:54:00:00:00:01 is reserved at vm.toml:12"));
    CHECK(has(to_string(built.problems[2]), "hostsfile:4: the client-id 30:31 is reserved at hostsfile:3"));
    CHECK(has(to_string(built.problems[3]), "hostsfile:5: the name WEB is reserved at vm.toml:12"));
    CHECK(built.reservations.entries().size() == 3);
    CHECK(built.reservations.by_name("web")->where == "vm.toml:12");
    CHECK(built.reservations.by_address(ip("192.168.100.14"))->name.empty());
}

TEST_CASE("An address that the segment cannot give is an error") {
    const auto built = build(
        "52:54:00:00:00:01,192.168.101.10\n52:54:00:00:00:02,192.168.100.1\n"
        "52:54:00:00:00:03,192.168.100.255\n52:54:00:00:00:04,192.168.100.0\n52:54:00:00:00:05,192.168.100.2\n");
    REQUIRE(built.problems.size() == 4);
    CHECK(has(built.problems[0].what, "192.168.101.10 is outside the segment 192.168.100.0/24"));
    CHECK(has(built.problems[1].what, "our own address"));
    CHECK(has(built.problems[2].what, "network or broadcast address"));
    CHECK(has(built.problems[3].what, "network or broadcast address"));
    CHECK(built.reservations.entries().size() == 1);
}
