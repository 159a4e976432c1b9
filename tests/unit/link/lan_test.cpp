#include "src/link/lan.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/link/facts_builder.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::link;
using test::home;
using test::Host;

std::vector<std::string> names(const std::vector<Uplink>& uplinks) {
    std::vector<std::string> result;
    for (const Uplink& uplink : uplinks) result.push_back(uplink.name);
    return result;
}

std::vector<std::string> lan(const HostFacts& facts, std::vector<std::string> configured = {}) {
    std::vector<std::string> result;
    for (const Cidr& prefix : lan_prefixes(facts, "virbr10", uplinks(facts, "virbr10", configured)))
        result.push_back(to_string(prefix));
    return result;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("the uplink is where the kernel sends public addresses and its gateways are those of its default routes") {
    Host host = home();
    host.route("default", "eth0", "192.168.0.254");  // a second one, of higher metric
    const auto found = uplinks(host.facts, "virbr10", {});
    REQUIRE(found.size() == 1);
    CHECK(found[0] == Uplink{"eth0", 2, {Ipv4{192, 168, 0, 1}, Ipv4{192, 168, 0, 254}}, 1500, true});
}

TEST_CASE("a vpn of two half defaults is the uplink and has no gateway") {
    Host host = home();
    host.facts.internet.clear();
    host.link("tun0", "tun").address("tun0", "10.8.0.2/24");
    host.route("0.0.0.0/1", "tun0").answers_with_last_route();
    host.route("128.0.0.0/1", "tun0").answers_with_last_route();
    const auto found = uplinks(host.facts, "virbr10", {});
    REQUIRE(names(found) == Names{"tun0"});
    CHECK(found[0].gateways.empty());
    CHECK(lan(host.facts) == Names{"10.8.0.0/24", "192.168.0.0/24"});
}

TEST_CASE("an answer by the route of one network does not make its interface an uplink") {
    Host host = home();
    host.link("eth1").route("77.0.0.0/24", "eth1", "10.1.0.1").answers_with_last_route();
    CHECK(names(uplinks(host.facts, "virbr10", {})) == Names{"eth0"});
}

TEST_CASE("the segment is never an uplink") {
    Host host;
    host.link("virbr10", "bridge").route("default", "virbr10", "192.168.100.2").answers_with_last_route();
    CHECK(uplinks(host.facts, "virbr10", {}).empty());
}

TEST_CASE("configured uplinks keep their order and are listed when they are not there") {
    Host host = home();
    const std::vector<std::string> configured{"tun0", "eth0"};
    const auto found = uplinks(host.facts, "virbr10", configured);
    REQUIRE(names(found) == Names{"tun0", "eth0"});
    CHECK(found[0] == Uplink{"tun0", 0, {}, 0, false});
    CHECK(found[1].gateways == std::vector{Ipv4{192, 168, 0, 1}});
    CHECK(found[1].leads);
    host.link("eth1").address("eth1", "192.168.7.2/24");
    CHECK_FALSE(uplinks(host.facts, "virbr10", std::vector<std::string>{"eth1"}).at(0).leads);
}

TEST_CASE("all next hops of a multipath default are uplinks") {
    Host host = home();
    host.link("eth1").address("eth1", "192.168.7.2/24");
    host.facts.internet.at(0).route->nexthops.push_back({host.index("eth1"), Ipv4{192, 168, 7, 1}, {}});
    const auto found = uplinks(host.facts, "virbr10", {});
    REQUIRE(names(found) == Names{"eth0", "eth1"});
    CHECK(found[1].gateways == std::vector{Ipv4{192, 168, 7, 1}});
}

TEST_CASE("connected networks are blocked whatever their addresses are") {
    Host host = home();
    host.link("eth1").address("eth1", "203.0.113.9/28").link("eth2").address("eth2", "7.7.7.7/24");
    CHECK(lan(host.facts) == Names{"7.7.7.0/24", "192.168.0.0/24", "203.0.113.0/28"});
}

TEST_CASE("routed networks of every table are blocked and default routes are not") {
    Host host = home();
    host.link("eth1").address("eth1", "10.0.0.2/30");
    host.route("10.20.0.0/16", "eth1", "10.0.0.1");
    host.route("198.51.100.0/24", "eth1", "10.0.0.1", 100);
    host.route("default", "eth1", "10.0.0.1", 100);
    CHECK(lan(host.facts) == Names{"10.0.0.0/30", "10.20.0.0/16", "192.168.0.0/24", "198.51.100.0/24"});
}

TEST_CASE("a prefix shorter than 8 is the internet through an uplink and a network through anything else") {
    Host host = home();
    host.link("eth1").route("12.0.0.0/7", "eth1", "10.0.0.1");
    CHECK(lan(host.facts) == Names{"12.0.0.0/7", "192.168.0.0/24"});
    CHECK(lan(host.facts, {"eth0", "eth1"}) == Names{"192.168.0.0/24"});
    host.route("11.0.0.0/8", "eth0", "192.168.0.1");
    CHECK(lan(host.facts) == Names{"11.0.0.0/8", "12.0.0.0/7", "192.168.0.0/24"});
}

TEST_CASE("what is on the segment is not blocked and what is on another segment is") {
    Host host = home();
    host.link("virbr10", "bridge")
        .address("virbr10", "192.168.100.1/24")
        .route("10.9.0.0/16", "virbr10", "192.168.100.7");
    host.link("virbr11", "bridge").address("virbr11", "192.168.101.1/24");
    CHECK(lan(host.facts) == Names{"192.168.0.0/24", "192.168.101.0/24"});
}

TEST_CASE("both the peer and the own address of a point to point link are blocked") {
    Host host = home();
    host.link("ppp0", "ppp");
    host.facts.addresses.push_back({host.index("ppp0"), Ipv4{5, 5, 5, 5}, {Ipv4{6, 6, 6, 6}, 32}, std::nullopt});
    CHECK(lan(host.facts) == Names{"5.5.5.5/32", "6.6.6.6/32", "192.168.0.0/24"});
}

TEST_CASE("networks inside another and multicast routes are left out") {
    Host host = home();
    host.link("eth1").route("172.20.0.0/14", "eth1").route("172.21.3.0/24", "eth1").route("224.0.0.0/4", "eth1");
    host.route("239.1.0.0/16", "eth1");
    CHECK(lan(host.facts) == Names{"172.20.0.0/14", "192.168.0.0/24"});
}

TEST_CASE("a network that refuses all packets is no lan") {
    Host host = home();
    link::Route blackhole;
    blackhole.destination = *Cidr::parse("100.100.0.0/16");
    blackhole.type = RouteType::Refusing;
    host.facts.routes.push_back(blackhole);
    CHECK(lan(host.facts) == Names{"192.168.0.0/24"});
}

TEST_CASE("settings for all interfaces that overrule a segment's are named with their cure") {
    Host host = home();
    CHECK(overruling_sysctls(host.facts).empty());
    host.facts.sysctls = {{"net/ipv4/conf/all/proxy_arp", "1"}, {"net/ipv4/conf/all/route_localnet", "0"}};
    const auto found = overruling_sysctls(host.facts);
    REQUIRE(found.size() == 1);
    CHECK(found[0].where == "net.ipv4.conf.all.proxy_arp");
    CHECK(found[0].hint == "if nothing needs it: sysctl -w net.ipv4.conf.all.proxy_arp=0");
}

TEST_CASE("the default route is carried by its interface and by everything below it") {
    Host host = home();
    host.link("eth1").link("wlan0");
    host.link("bond0", "bond").link("eth2").master("eth2", "bond0").link("bond0.7", "vlan").parent("bond0.7", "bond0");
    host.route("default", "bond0.7", "10.7.0.1", 7);
    CHECK(carries_default_route(host.facts, "eth0"));
    CHECK(carries_default_route(host.facts, "bond0.7"));
    CHECK(carries_default_route(host.facts, "bond0"));
    CHECK(carries_default_route(host.facts, "eth2"));
    CHECK_FALSE(carries_default_route(host.facts, "eth1"));
    CHECK_FALSE(carries_default_route(host.facts, "wlan0"));
    CHECK_FALSE(carries_default_route(host.facts, "absent"));
}

TEST_CASE("an interface with a multicast route can be a segment") {
    Host host = home();
    host.link("eth1").route("224.0.0.0/4", "eth1");
    CHECK_FALSE(refuse_interface(host.facts, "eth1"));
}

TEST_CASE("loopback and ports and the way to the internet are refused as segments by name") {
    Host host = home();
    host.link("br0", "bridge").link("eth1").master("eth1", "br0").link("eth2");
    CHECK(refuse_interface(host.facts, "lo")->what == "the loopback interface cannot be a segment");
    CHECK(refuse_interface(host.facts, "eth1")->what == "eth1 belongs to br0 and cannot be a segment by itself");
    CHECK(refuse_interface(host.facts, "eth0")->what ==
          "the host reaches the internet through eth0; it cannot be a segment as well");
    CHECK_FALSE(refuse_interface(host.facts, "eth2"));
    CHECK_FALSE(refuse_interface(host.facts, "usb0"));  // not there yet: it is waited for
}

TEST_CASE("a bridge is refused when it is something else or the host's own network") {
    Host host;
    host.link("br0", "bridge").link("eth0").master("eth0", "br0").address("br0", "192.168.0.7/24");
    host.route("default", "br0", "192.168.0.1").answers_with_last_route();
    host.link("virbr10", "bridge").link("ovs0", "openvswitch").link("eth1");
    host.link("br1", "bridge").link("eth2").master("eth2", "br1").route("default", "eth2", "10.1.0.1", 9);
    CHECK(refuse_bridge(host.facts, "br0"));
    CHECK(refuse_bridge(host.facts, "ovs0")->what == "ovs0 exists and is not a bridge but openvswitch");
    CHECK(refuse_bridge(host.facts, "eth1")->what == "eth1 exists and is not a bridge");
    CHECK(refuse_bridge(host.facts, "br1")->what == "port eth2 of br1 carries the host's default route");
    CHECK_FALSE(refuse_bridge(host.facts, "virbr10"));
    CHECK_FALSE(refuse_bridge(host.facts, "virbr11"));
}

namespace {

Network6 net6(const char* address, std::uint8_t length) {
    return {*Ipv6::parse(address), length};
}

/// eth0 with a global network and a default route, eth1 with a network behind another router.
Host six() {
    Host host;
    host.link("eth0").link("eth1");
    host.facts.addresses6 = {{2, *Ipv6::parse("2001:db8:1::2"), 64, 0, true, false},
                             {2, *Ipv6::parse("fe80::2"), 64, 0, true, true}};
    host.facts.routes6 = {
        {net6("::", 0), RouteType::Unicast, {{2, Ipv6::parse("fe80::1")}}},
        {net6("2001:db8:1::", 64), RouteType::Unicast, {{2, std::nullopt}}},
        {net6("2001:db8:55::", 48), RouteType::Unicast, {{3, Ipv6::parse("fe80::5")}}},
        {net6("2001:db8:1::2", 128), RouteType::Local, {{1, std::nullopt}}},
        {net6("2001:db8:66::", 48), RouteType::Refusing, {{1, std::nullopt}}},
        {net6("ff00::", 8), RouteType::Other, {{2, std::nullopt}}},
    };
    return host;
}

}  // namespace

TEST_CASE("the ipv6 uplink is where the default route leads with its gateway") {
    Host host = six();
    CHECK(uplinks6(host.facts, "virbr10", {}) == std::vector<Uplink6>{{"eth0", {*Ipv6::parse("fe80::1")}}});
    CHECK(uplinks6(host.facts, "eth0", {}).empty());                                             // never the segment
    host.facts.routes6.push_back({net6("2000::", 3), RouteType::Unicast, {{3, std::nullopt}}});  // a tunnel's
    CHECK(uplinks6(host.facts, "virbr10", {}) ==
          std::vector<Uplink6>{{"eth0", {*Ipv6::parse("fe80::1")}}, {"eth1", {}}});
}

TEST_CASE("a configured ipv6 uplink is one also without a route") {
    const std::vector<std::string> configured{"wg0", "eth0"};
    CHECK(uplinks6(six().facts, "virbr10", configured) ==
          std::vector<Uplink6>{{"wg0", {}}, {"eth0", {*Ipv6::parse("fe80::1")}}});
}

TEST_CASE("ipv6 networks are those of addresses and routes but no default route and no multicast") {
    CHECK(lan_prefixes6(six().facts) == std::vector<Network6>{net6("2001:db8:1::", 64), net6("2001:db8:1::2", 128),
                                                              net6("2001:db8:55::", 48), net6("fe80::", 64)});
}
