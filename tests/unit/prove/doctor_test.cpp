#include <net/if.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "src/commands/doctor_findings.hpp"

using namespace vmrouter;
using namespace vmrouter::diagnosis;

namespace {

link::Link link_named(int index, const std::string& name, const std::string& kind = "") {
    link::Link link;
    link.index = index;
    link.name = name;
    link.kind = kind;
    link.mtu = 1500;
    link.flags = IFF_UP;
    link.carrier = true;
    return link;
}

/// virbr10 serves one guest behind vnet0; eth0 leads to the internet.
Facts healthy() {
    Facts f;
    f.segment = "virbr10";
    f.address = *Cidr::parse("192.168.100.1/24");
    f.running = true;
    f.pid = 42;
    f.rules_stand = true;
    auto port = link_named(4, "vnet0", "tun");
    port.master = 3;
    port.port_kind = "bridge";
    f.host.links = {link_named(2, "eth0"), link_named(3, "virbr10", "bridge"), port};
    f.host.addresses = {{2, Ipv4{192, 168, 1, 2}, *Cidr::parse("192.168.1.0/24"), std::nullopt},
                        {3, Ipv4{192, 168, 100, 1}, *Cidr::parse("192.168.100.0/24"), std::nullopt}};
    link::Route standard;
    standard.destination = *Cidr::parse("0.0.0.0/0");
    standard.table = 254;
    standard.nexthops = {{2, Ipv4{192, 168, 1, 1}, std::nullopt}};
    f.host.routes = {standard};
    f.host.internet = {{Ipv4{1, 1, 1, 1}, standard}};
    f.host.sysctls = {{"net/ipv4/conf/virbr10/forwarding", "1"}, {"net/ipv4/conf/eth0/forwarding", "1"}};
    link::Port bridge_port;
    bridge_port.index = 4;
    bridge_port.name = "vnet0";
    bridge_port.up = true;
    f.ports = {bridge_port};
    f.resolver.servers = {"192.168.1.1:53"};
    f.resolver.asked = true;
    f.now = Time{std::chrono::sys_days{std::chrono::year{2026} / 1 / 1}};
    return f;
}

GuestFacts well() {
    GuestFacts g;
    g.asked = "web";
    g.mac = MacAddress{{0x52, 0x54, 0, 0, 0, 1}};
    g.address = Ipv4{192, 168, 100, 10};
    g.lease_state = "bound";
    g.port = "vnet0";
    g.events = {{"DISCOVER", "OFFER", "", "", 1}, {"REQUEST", "ACK", "", "", 1}};
    g.arp = true;
    g.arp_mac = g.mac;
    g.queries = 3;
    g.dns_known = true;
    return g;
}

std::string first(const std::vector<Finding>& findings) {
    return findings.empty() ? "" : findings.front().id;
}

/// What a change to a healthy machine is called.
std::string after(const std::function<void(Facts&)>& change) {
    auto f = healthy();
    change(f);
    const auto findings = diagnose(f);
    for (const auto& one : findings) {
        CHECK_FALSE(one.what.empty());
        CHECK_FALSE(one.where.empty());
        CHECK_FALSE(one.cure.empty());
    }
    return first(findings);
}
std::string guest_after(const std::function<void(Facts&, GuestFacts&)>& change) {
    auto f = healthy();
    auto g = well();
    change(f, g);
    return first(diagnose_guest(f, g));
}

}  // namespace

TEST_CASE("Nothing is said about a machine and a guest that are well") {
    CHECK(diagnose(healthy()).empty());
    CHECK(diagnose_guest(healthy(), well()).empty());
}

TEST_CASE("Each obstacle has its name") {
    CHECK(after([](Facts& f) { f.answers = false; }) == "instance_silent");
    CHECK(after([](Facts& f) { f.answers = false, f.stopped = true; }) == "instance_silent");
    CHECK(after([](Facts& f) { f.rules_stand = false; }) == "rules_missing");
    CHECK(after([](Facts& f) { f.leftovers = {{"virbr9", "/run/vmrouter/virbr9.changes"}}; }) == "leftover");
    CHECK(after([](Facts& f) { f.missing_features = {"bridges: not supported"}; }) == "kernel");
    CHECK(after([](Facts& f) { f.files = {{"the disk is full", "/var/lib", ""}}; }) == "files");
    CHECK(after([](Facts& f) { f.hosts_file = {{"no MAC", "hostsfile:3", ""}}; }) == "hosts_file");
    CHECK(after([](Facts& f) { f.now = Time{}; }) == "clock");
    CHECK(after([](Facts& f) { f.clock_synchronized = false; }) == "clock_unsynchronized");
    CHECK(after([](Facts& f) { f.port53 = {{7, "dnsmasq", "0.0.0.0:53"}}; }) == "port_53");
    CHECK(after([](Facts& f) { f.port53 = {{42, "vmrouter", "192.168.100.1:53"}}; }).empty());
    CHECK(after([](Facts& f) { f.port67 = {{7, "dhcpd", "0.0.0.0:67"}}; }) == "port_67");
    CHECK(after([](Facts& f) { f.rogue_servers = {"192.168.100.9 (52:54:00:00:00:09)"}; }) == "dhcp_server");
    CHECK(after([](Facts& f) { f.resolver.there = false; }) == "resolv_conf");
    CHECK(after([](Facts& f) { f.resolver.servers.clear(); }) == "resolv_conf");
    CHECK(after([](Facts& f) { f.resolver.loops = {"192.168.100.1:53"}; }) == "resolver_loop");
    CHECK(after([](Facts& f) { f.resolver.silent = f.resolver.servers; }) == "upstream");
    CHECK(after([](Facts& f) { f.host.internet.clear(); }) == "uplink");
    CHECK(after([](Facts& f) { f.uplinks = {"wg0"}; }) == "uplink_missing");
    CHECK(after([](Facts& f) { f.captive_portal = true; }) == "captive_portal");
    CHECK(after([](Facts& f) { f.host.links[0].carrier = false; }) == "uplink_down");
    CHECK(after([](Facts& f) { f.host.sysctls["net/ipv4/conf/eth0/forwarding"] = "0"; }) == "forwarding");
    CHECK(after([](Facts& f) { f.host.sysctls["net/ipv4/conf/virbr10/forwarding"] = "0"; }) == "forwarding");
    CHECK(after([](Facts& f) {
              f.address_problem = Error{"it is the LAN's", "network.address", "take another"};
          }) == "address");
    CHECK(after([](Facts& f) { f.address_warnings = {"it lies inside 192.168.0.0/16"}; }) == "address_overlap");
    CHECK(after([](Facts& f) { f.network_manager = true, f.network_manager_link = "virbr10"; }) == "network_manager");
    CHECK(after([](Facts& f) { f.networkd = true; }) == "networkd");
    CHECK(after([](Facts& f) { f.rivals = {{"dhclient (pid 9) runs on it", "virbr10", "stop it"}}; }) == "rival");
    CHECK(after([](Facts& f) { f.publishes = true, f.strict_forward_ports = true; }) == "strict_forward_ports");
    CHECK(after([](Facts& f) { f.path_rules = {{"ip raw PREROUTING", 5, "rpfilter DROP"}}; }) == "reverse_path");
    CHECK(after([](Facts& f) { f.bridge_calls_iptables = true; }) == "bridge_nf");
    CHECK(after([](Facts& f) { f.forward_delay = 1500; }) == "forward_delay");
    CHECK(after([](Facts& f) { f.forward_delay = 200; }).empty());
    CHECK(after([](Facts& f) { f.ports.clear(); }) == "no_ports");
    CHECK(after([](Facts& f) { f.ports[0].isolated = true; }) == "port_isolation");
    CHECK(after([](Facts& f) { f.isolate = true; }) == "port_isolation");
    CHECK(after([](Facts& f) { f.host.links[2].flags = 0; }) == "port_down");
    CHECK(after([](Facts& f) { f.host.links[2].carrier = false; }) == "port_no_carrier");
    CHECK(after([](Facts& f) { f.host.links[2].mtu = 1400; }) == "mtu");
    CHECK(after([](Facts& f) {
              f.mtu = 1500;
              f.host.links[1].mtu = f.host.links[2].mtu = 1400;  // the bridge follows its smallest port
          }) == "mtu");
    CHECK(after([](Facts& f) { f.host.links[0].mtu = 1400; }) == "mtu");
    CHECK(after([](Facts& f) { f.host.links[1].flags = 0; }) == "segment_down");
    CHECK(after([](Facts& f) { f.host.addresses.pop_back(); }) == "address_missing");
    CHECK(after([](Facts& f) { f.host.links.erase(f.host.links.begin() + 1); }) == "segment_missing");
    CHECK(after([](Facts& f) { f.segment = "eth0", f.is_bridge = false, f.address = {}; }) == "segment");
    CHECK(after([](Facts& f) {
              link::Rule rule;
              rule.priority = 5270;
              rule.table = 52;
              auto route = f.host.routes.front();
              route.table = 52;
              route.nexthops = {{9, std::nullopt, std::nullopt}};
              f.host.links.push_back(link_named(9, "tailscale0", "tun"));
              f.host.routes.push_back(route);
              f.host.rules.push_back(rule);
          }) == "policy_routing");
    CHECK(after([](Facts& f) {
              firewall::Obstacle one;
              one.program = "ufw";
              one.family = "ip";
              one.table = "filter";
              one.chain = "FORWARD";
              one.hook = "forward";
              one.rule = "policy drop";
              one.remedy = firewall::Remedy::Nothing;
              one.cure = {"ufw route allow in on virbr10"};
              f.obstacles = {one};
          }) == "firewall");
}

TEST_CASE("A firewall that vmrouter gets through is no obstacle, and only a note before it starts") {
    auto f = healthy();
    firewall::Obstacle one;
    one.program = "Docker";
    one.remedy = firewall::Remedy::Passed;
    one.cure = {"nothing"};
    f.obstacles = {one};
    CHECK(diagnose(f).empty());
    f.obstacles[0].remedy = firewall::Remedy::Missing;
    CHECK(diagnose(f).front().severity == Severity::Broken);
    f.running = false;
    CHECK(diagnose(f).front().severity == Severity::Note);
}

TEST_CASE("The first step that did not happen is why a guest has no network") {
    CHECK(guest_after([](Facts& f, GuestFacts&) { f.running = false; }) == "not_running");
    CHECK(guest_after([](Facts& f, GuestFacts&) { f.ports.clear(); }) == "guest_link");
    CHECK(guest_after([](Facts& f, GuestFacts&) { f.host.links[2].carrier = false; }) == "guest_link");
    CHECK(guest_after([](Facts& f, GuestFacts&) { f.host.links[2].master = 0; }) == "guest_link");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.port = "vnet7"; }) == "guest_link");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.events.clear(), g.lease_state.clear(); }) == "guest_silent");
    CHECK(guest_after([](Facts&, GuestFacts& g) {
              g.events = {{"DISCOVER", "", "ignored by reservation", "", 3}};
              g.lease_state.clear();
          }) == "guest_unanswered");
    CHECK(guest_after([](Facts&, GuestFacts& g) {
              g.events = {{"REQUEST", "NAK", "", "wrong network", 1}};
          }) == "guest_nak");
    CHECK(guest_after([](Facts&, GuestFacts& g) {
              g.events = {{"DISCOVER", "OFFER", "", "", 5}};
              g.lease_state.clear();
          }) == "guest_offer");
    CHECK(guest_after([](Facts&, GuestFacts& g) {
              g.events.push_back({"DECLINE", "DECLINE", "", "", 1});
              g.lease_state.clear();
          }) == "guest_decline");
    CHECK(guest_after([](Facts&, GuestFacts& g) {
              g.events.push_back({"RELEASE", "RELEASE", "", "", 1});
              g.lease_state.clear();
          }) == "guest_released");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.lease_over = true; }) == "guest_expired");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.arp = false; }) == "guest_arp");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.arp_mac = MacAddress{{2, 2, 2, 2, 2, 2}}; }) == "guest_arp_other");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.queries = 0; }) == "guest_dns");
    CHECK(guest_after([](Facts&, GuestFacts& g) { g.blocked = {"lan: 192.168.1.1 tcp/80, 3 times"}; }) ==
          "guest_blocked");
    CHECK(guest_after([](Facts& f, GuestFacts&) { f.host.internet.clear(); }) == "uplink");
}

TEST_CASE("A reverse path check of iptables and of nft is found in a listing, and one of ours is not") {
    const std::string listing = R"({"nftables": [
        {"chain": {"family": "ip", "table": "raw", "name": "PREROUTING", "hook": "prerouting", "prio": -300}},
        {"rule": {"family": "ip", "table": "raw", "chain": "PREROUTING", "expr": [
            {"xt": {"type": "match", "name": "rpfilter"}}, {"counter": null}, {"xt": {"type": "target", "name": "DROP"}}]}},
        {"chain": {"family": "inet", "table": "fw", "name": "pre", "hook": "prerouting", "prio": -300}},
        {"rule": {"family": "inet", "table": "fw", "chain": "pre", "expr": [
            {"match": {"op": "==", "left": {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, "right": false}}, {"drop": null}]}},
        {"rule": {"family": "inet", "table": "fw", "chain": "pre", "expr": [{"accept": null}]}},
        {"rule": {"family": "inet", "table": "vmrouter_x", "chain": "rpfilter", "expr": [
            {"match": {"left": {"fib": {}}}}, {"drop": null}]}}]})";
    const auto found = path_rules(listing);
    REQUIRE(found.size() == 2);
    CHECK(found[0].where == "ip raw PREROUTING");
    CHECK(found[0].rule == "rpfilter DROP");
    CHECK(found[1].where == "inet fw pre");
    CHECK(path_rules("no JSON").empty());
}
