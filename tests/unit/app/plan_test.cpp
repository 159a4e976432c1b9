#include "src/plan.hpp"

#include <net/if.h>

#include <algorithm>
#include <catch2/catch.hpp>

using namespace vmrouter;

namespace {

/// A laptop: eth0 with 192.168.1.2/24, default route through 192.168.1.1, a VPN network behind tun0.
link::HostFacts laptop() {
    link::HostFacts facts;
    link::Link eth0;
    eth0.index = 2;
    eth0.name = "eth0";
    eth0.mtu = 1400;
    eth0.flags = IFF_UP;
    link::Link tun0;
    tun0.index = 3;
    tun0.name = "tun0";
    tun0.mtu = 1420;
    tun0.flags = IFF_UP;
    facts.links = {eth0, tun0};
    facts.addresses = {{2, Ipv4{192, 168, 1, 2}, *Cidr::parse("192.168.1.0/24"), Ipv4{192, 168, 1, 255}}};

    link::Route connected;
    connected.destination = *Cidr::parse("192.168.1.0/24");
    connected.table = 254;
    connected.scope = 253;
    connected.nexthops = {{2, std::nullopt, std::nullopt}};
    link::Route vpn;
    vpn.destination = *Cidr::parse("203.0.113.0/24");
    vpn.table = 254;
    vpn.nexthops = {{3, std::nullopt, std::nullopt}};
    link::Route standard;
    standard.destination = *Cidr::parse("0.0.0.0/0");
    standard.table = 254;
    standard.nexthops = {{2, Ipv4{192, 168, 1, 1}, std::nullopt}};
    facts.routes = {connected, vpn, standard};
    facts.internet = {{Ipv4{1, 1, 1, 1}, standard}, {Ipv4{203, 0, 114, 1}, standard}};
    facts.sysctls["net/ipv4/ip_forward"] = "0";
    return facts;
}

conf::Config bridge() {
    conf::Config config;
    config.network.bridge = "virbr10";
    return config;
}

bool contains(const std::vector<Cidr>& list, const char* text) {
    return std::find(list.begin(), list.end(), *Cidr::parse(text)) != list.end();
}

}  // namespace

TEST_CASE("The plan follows the route to the internet and takes its MTU") {
    const auto plan = make_plan(bridge(), {}, laptop(), {});
    REQUIRE(plan);
    CHECK(plan->instance == "virbr10");
    REQUIRE(plan->uplinks.size() == 1);
    CHECK(plan->uplinks[0].name == "eth0");
    CHECK(plan->segment->mtu == 1400);
    CHECK(plan->segment->address == *Cidr::parse("192.168.100.1/24"));
    REQUIRE(plan->policy.uplinks.size() == 1);
    CHECK(plan->policy.uplinks[0].gateway == Ipv4(192, 168, 1, 1));
    CHECK(plan->policy.segment->forward_guard);
    CHECK(dhcp_config(bridge(), *plan->segment, {}).mtu == 1400);
}

TEST_CASE("Every network of the host is blocked whatever its addresses are") {
    const auto plan = make_plan(bridge(), {}, laptop(), {});
    REQUIRE(plan);
    CHECK(contains(plan->policy.lan, "192.168.1.0/24"));
    CHECK(contains(plan->policy.lan, "203.0.113.0/24"));
    CHECK(contains(plan->lans, "203.0.113.0/24"));
    CHECK(contains(plan->lans, "192.168.0.0/16"));
    CHECK_FALSE(contains(plan->lans, "192.168.1.0/24"));  // inside the wider one
    CHECK_FALSE(contains(plan->lans, "0.0.0.0/0"));
}

TEST_CASE("With the LAN allowed the dead man's switch shuts only what is always blocked") {
    auto config = bridge();
    config.firewall.lan = conf::Firewall::Lan::Allow;
    config.firewall.block = {*Cidr::parse("10.9.0.0/16")};
    const auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE(plan);
    // ... and the addresses of cloud agents and metadata.
    CHECK(plan->lans == std::vector<Cidr>{*Cidr::parse("10.9.0.0/16"), *Cidr::parse("168.63.129.16/32"),
                                          *Cidr::parse("169.254.0.0/16")});
}

TEST_CASE("A link that leads to an allowed network forwards like an uplink and no other does") {
    auto config = bridge();
    auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE(plan);
    CHECK(plan->policy.side_links.empty());
    config.firewall.allow = {{*Cidr::parse("203.0.113.7/32"), std::nullopt, std::nullopt}};
    plan = make_plan(config, {}, laptop(), {});
    REQUIRE(plan);
    CHECK(plan->policy.side_links == std::vector<std::string>{"tun0"});
    CHECK(forwarding_links(plan->policy) == std::vector<std::string>{"eth0", "tun0"});
}

TEST_CASE("Without internet nothing is forwarded and the uplink is left alone") {
    auto config = bridge();
    config.firewall.internet = false;
    const auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE(plan);
    CHECK(plan->forwarding.empty());
    CHECK_FALSE(plan->policy.segment->internet);
}

TEST_CASE("An uplink that is the segment and an interface with the default route are refused with their key") {
    auto config = bridge();
    config.firewall.uplink = {"virbr10"};
    auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE_FALSE(plan);
    CHECK(plan.error().where == "firewall.uplink");

    conf::Config interface;
    interface.network.interface = "eth0";
    plan = make_plan(interface, {}, laptop(), {});
    REQUIRE_FALSE(plan);
    CHECK(plan.error().where == "network.interface");
}

TEST_CASE("A named uplink that is not there yet is planned for all the same") {
    auto config = bridge();
    config.firewall.uplink = {"wg0"};
    const auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE(plan);
    REQUIRE(plan->uplinks.size() == 1);
    CHECK(plan->uplinks[0].index == 0);
    CHECK(plan->policy.uplinks == std::vector<firewall::Uplink>{{"wg0", std::nullopt, std::nullopt}});
}

TEST_CASE("A reservation outside the address that auto became is refused with both") {
    auto config = bridge();
    conf::DhcpHost host;
    host.macs = {*MacAddress::parse("52:54:00:00:00:01")};
    host.address = Ipv4{10, 9, 9, 9};
    config.dhcp.host = {host};
    const auto plan = make_plan(config, {}, laptop(), {});
    REQUIRE_FALSE(plan);
    CHECK(plan.error().what.find("10.9.9.9") != std::string::npos);
    CHECK(plan.error().hint.find("192.168.100.1/24") != std::string::npos);
}

TEST_CASE("The DHCP range is the subnet without its first and last address unless it is given") {
    auto config = bridge();
    Segment segment;
    segment.address = *Cidr::parse("10.7.0.1/29");
    auto dhcp = dhcp_config(config, segment, {});
    CHECK(dhcp.range.first == Ipv4(10, 7, 0, 2));
    CHECK(dhcp.range.last == Ipv4(10, 7, 0, 6));
    CHECK(dhcp.dns_servers == std::vector<Ipv4>{Ipv4(10, 7, 0, 1)});
    config.dns.enabled = false;
    segment.address = *Cidr::parse("192.168.100.1/24");  // dnsmasq's hash counts from the first address of the range
    CHECK(dhcp_config(config, segment, {}).range.first == Ipv4(192, 168, 100, 2));
    CHECK(dhcp_config(config, segment, {}).range.last == Ipv4(192, 168, 100, 254));
    segment.address = *Cidr::parse("192.168.100.254/24");
    CHECK(dhcp_config(config, segment, {}).range.first == Ipv4(192, 168, 100, 1));
    CHECK(dhcp_config(config, segment, {}).range.last == Ipv4(192, 168, 100, 253));
    segment.address = *Cidr::parse("10.7.0.2/29");
    config.dhcp.range = {Ipv4(10, 7, 0, 4), Ipv4(10, 7, 0, 5)};
    dhcp = dhcp_config(config, segment, {});
    CHECK(dhcp.range.first == Ipv4(10, 7, 0, 4));
    CHECK(dhcp.dns_servers.empty());
}

TEST_CASE("The host's names are its own and those of its hosts file without comments") {
    const auto names = host_names("127.0.0.1\tlocalhost\n# 1.2.3.4 no\n192.168.1.5 NAS nas.lan # the box\n", "Laptop");
    CHECK(names == std::vector<std::string>{"laptop", "localhost", "nas", "nas.lan"});
}

TEST_CASE("Guests together have at most half of the connections that the machine can track") {
    auto facts = laptop();
    const auto limit = [&facts] {
        const auto plan = make_plan(bridge(), {}, facts, {});
        REQUIRE(plan);
        return plan->policy.segment->max_segment_connections;
    };
    CHECK(limit() == 65536);  // not known yet
    facts.sysctls["net/netfilter/nf_conntrack_max"] = "16384";
    CHECK(limit() == 8192);
    facts.sysctls["net/netfilter/nf_conntrack_max"] = "1048576";
    CHECK(limit() == 65536);
    facts.sysctls["net/netfilter/nf_conntrack_max"] = "0";
    CHECK(limit() == 1);
}

TEST_CASE("An uplink for IPv6 alone neither forwards IPv4 nor is one for it") {
    auto facts = laptop();
    facts.routes6 = {{{Ipv6{}, 0}, link::RouteType::Unicast, {{3, std::nullopt}}}};
    PlanContext context;
    context.usermode_uids = {1001};
    const auto plan = make_plan(bridge(), {}, facts, context);
    REQUIRE(plan);
    const auto& uplinks = plan->policy.uplinks;
    REQUIRE(uplinks.size() == 2);
    CHECK(uplinks[1] == firewall::Uplink{"tun0", std::nullopt, std::nullopt, true});
    CHECK_FALSE(uplinks[1].leads_to_ipv4());
    CHECK(forwarding_links(plan->policy) == std::vector<std::string>{"eth0"});
}
