#include "firewall/policy.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "firewall/ruleset.hpp"
#include "firewall/sets.hpp"
#include "tests/unit/firewall/policies.hpp"

using namespace vmrouter;
using namespace vmrouter::firewall;
using namespace vmrouter::firewall::test;

namespace {

std::vector<std::string> contents(const std::vector<Set>& sets, std::string_view name) {
    for (const auto& set : sets) {
        if (set.name == name) return set.elements;
    }
    FAIL("no set " << name);
    return {};
}

using Elements = std::vector<std::string>;

}  // namespace

TEST_CASE("Two instances never have one table") {
    CHECK(table_name("virbr10") == "vmrouter_virbr10");
    CHECK(std::set<std::string>{table_name("br-a"), table_name("br_a"), table_name("br.a")}.size() == 3);
}

TEST_CASE("What nft cannot name is left out of every set") {
    for (const char* name : {"eth0", "vpn+1", "wg_b\xc3\xbcro", "vpn#1", "a;b", "a{b}", "$x", "-x"})
        CHECK(can_name(name));
    for (const char* name : {"", "a\"b", "tun*", "a\\", "a\x01", "a\x7f", "b\xfcro", "\xc3", "\xc0\xaf"})
        CHECK_FALSE(can_name(name));
    auto policy = bridge_policy();
    policy.segment->match_bridge_name = false;
    policy.segment->forward_guard = true;
    const auto clean = std::pair(inet_sets(policy).size(), bridge_sets(policy).size());
    policy.uplinks = {{"tun*", {}, {}}, {"a\"b", ip("10.0.0.1"), {}}, {"vpn+1", ip("10.0.0.2"), {}}};
    policy.side_links = {"b\xfcro", "wg_b\xc3\xbcro"};
    policy.ports = {"vnet1", "vnet\x01"};
    policy.bindings = {{mac("52:54:00:00:00:01"), ip("192.168.100.11"), "vnet\x01"}};
    const auto sets = inet_sets(policy);
    CHECK(contents(sets, "vm_uplinks") == Elements{"\"vpn+1\""});
    CHECK(contents(sets, "vm_gatewayed") == Elements{"\"vpn+1\""});
    CHECK(contents(sets, "vm_gateways") == Elements{"\"vpn+1\" . 10.0.0.2"});
    CHECK(contents(sets, "vm_outside") == Elements{"\"vpn+1\"", "\"wg_b\xc3\xbcro\""});
    CHECK(contents(bridge_sets(policy), "vm_ports") == Elements{"\"vnet1\""});
    CHECK(contents(bridge_sets(policy), "vm_pinned").empty());
    CHECK(contents(bridge_sets(policy), "vm_pins").empty());
    CHECK(clean == std::pair(sets.size(), bridge_sets(policy).size()));
    CHECK(unnamed(policy) == Elements{"a\"b", "b\xfcro", "tun*", "vnet\x01"});
}

TEST_CASE("Log groups are spread above the small numbers that others use") {
    CHECK(log_group("virbr10") != log_group("virbr11"));
    for (const auto* name : {"", "a", "virbr10", "enp6s0"}) CHECK(log_group(name) >= 1024);
}

TEST_CASE("Prefixes inside others are left out because nft refuses overlaps") {
    auto policy = bridge_policy();
    policy.lan = {cidr("10.1.2.3/24"), cidr("10.1.0.0/16"), cidr("10.1.0.0/16"), cidr("9.0.0.0/8"),
                  cidr("10.2.0.0/16")};
    CHECK(contents(inet_sets(policy), "vm_lan") == Elements{"9.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"});
}

TEST_CASE("IPv6 prefixes inside others are left out too") {
    auto policy = usermode_policy();
    const auto before = contents(inet_sets(policy), "vm_lan6");
    policy.lan6 = {
        {*Ipv6::parse("fd12::"), 32}, {*Ipv6::parse("2001:db8:1::"), 64}, {*Ipv6::parse("2001:db8:1::"), 64}};
    CHECK(contents(inet_sets(policy), "vm_lan6") == before);  // fd12::/32 lies in fc00::/7
}

TEST_CASE("An uplink known by its IPv6 gateway alone is none for IPv4") {
    auto policy = usermode_policy();
    policy.uplinks = {{"four", ip("10.0.0.1"), {}}, {"six", {}, Ipv6::parse("fe80::1")}, {"tun0", {}, {}}};
    const auto sets = inet_sets(policy);
    CHECK(contents(sets, "vm_uplinks") == Elements{"\"four\"", "\"tun0\""});
    CHECK(contents(sets, "vm_uplinks6") == Elements{"\"four\"", "\"six\"", "\"tun0\""});
    CHECK(contents(sets, "vm_gatewayed6") == Elements{"\"six\""});
    CHECK(contents(sets, "vm_gatewayed") == Elements{"\"four\""});
}

TEST_CASE("Only what differs is changed") {
    const auto from = bridge_policy();
    CHECK(elements(from, from).empty());

    auto to = from;
    to.ports = {"vnet1", "vnet2"};
    CHECK(elements(from, to) ==
          "delete element bridge vmrouter_virbr10 vm_ports { \"vnet0\" }\n"
          "add element bridge vmrouter_virbr10 vm_ports { \"vnet2\" }\n");

    to = from;
    to.lan = {};
    CHECK(elements(from, to) == "flush set inet vmrouter_virbr10 vm_lan\n");

    to = from;
    to.bindings[0].port.clear();
    CHECK(elements(from, to) ==
          "delete element bridge vmrouter_virbr10 vm_pinned { 52:54:00:00:00:0a }\n"
          "delete element bridge vmrouter_virbr10 vm_pins { 52:54:00:00:00:0a . \"vnet0\" }\n");
}

TEST_CASE("What is not a set element needs a reload") {
    auto other = bridge_policy();
    CHECK(same_shape(other, bridge_policy()));
    other.uplinks.clear();
    other.bindings.clear();
    CHECK(same_shape(other, bridge_policy()));
    other.allow.push_back({cidr("192.168.0.10"), {}, {}});
    CHECK_FALSE(same_shape(other, bridge_policy()));
}

TEST_CASE("The outline counts the rules of every chain") {
    const auto rules = outline(usermode_policy());
    CHECK(rules.at("inet vm_usermode_output") == 1);
    CHECK(rules.at("inet vm_usermode6") == 4);
    CHECK(rules.at("inet vm_usermode_elsewhere") == 2);
    CHECK(rules.size() == 5);
}
