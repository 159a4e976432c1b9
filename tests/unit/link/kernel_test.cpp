// What talks to the kernel, each test in a network namespace of its own. `ip` sets scenes and is the second opinion.

#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/lan.hpp"
#include "src/link/rule.hpp"
#include "src/link/sysctl.hpp"
#include "src/link/tap.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::link;
using test::output_of;
using test::run;

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

BridgeOptions options() {
    return {stable_mac("0123456789abcdef", "virbr10"), false, 1400};
}

/// Shell words: an interface with an address, up, as its far end is.
std::string link_with(const std::string& name, const std::string& address) {
    return "ip link add " + name + " type veth peer name q-" + name + "; ip link set q-" + name + " up; ip link set " +
           name + " up; ip addr add " + address + " dev " + name + "; ";
}

const std::string uplink_and_segment =
    "ip link set lo up; " + link_with("eth0", "192.168.0.7/24") + "ip route add default via 192.168.0.1; " +
    link_with("virbr10", "192.168.100.1/24") + "echo 1 > /proc/sys/net/ipv4/conf/virbr10/forwarding; ";

}  // namespace

TEST_CASE("the pinned mac is local and unicast and differs by machine and name") {
    const auto mac = stable_mac("machine-a", "virbr10");
    CHECK(mac == stable_mac("machine-a", "virbr10"));
    CHECK(mac != stable_mac("machine-a", "virbr11"));
    CHECK(mac != stable_mac("machine-b", "virbr10"));
    for (int i = 0; i < 64; ++i) {
        const auto any = stable_mac("machine", "br" + std::to_string(i));
        CHECK((any.bytes[0] & 3) == 2);
    }
}

TEST_CASE("a bridge is created down with all its options and marked as ours") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(netlink);
    REQUIRE(*create_bridge(*netlink, "virbr10", options()) == Created::Yes);
    const auto shown = output_of("ip -d link show virbr10");
    INFO(shown);
    CHECK(contains(shown, "mtu 1400"));
    CHECK(contains(shown, "state DOWN"));
    CHECK(contains(shown, to_string(options().mac)));
    CHECK(contains(shown, "forward_delay 0 "));
    CHECK(contains(shown, "stp_state 0 "));
    CHECK(contains(shown, "mcast_snooping 0 "));
    CHECK(contains(shown, "mcast_querier 0 "));
    CHECK(contains(shown, "group_fwd_mask 0 "));
    CHECK(contains(shown, "alias vmrouter"));
    CHECK(contains(shown, "addrgenmode none"));

    CHECK(*create_bridge(*netlink, "virbr10", options()) == Created::WasThere);
    REQUIRE(delete_link(*netlink, "virbr10"));
    CHECK(output_of("ip -o link show type bridge").empty());
    CHECK(delete_link(*netlink, "virbr10"));  // nothing there: nothing to do
}

TEST_CASE("spanning tree comes with the shortest delay that the kernel takes") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    auto wanted = options();
    wanted.stp = true;
    REQUIRE(create_bridge(*netlink, "br1", wanted));
    const auto shown = output_of("ip -d link show br1");
    CHECK(contains(shown, "stp_state 1 "));
    CHECK(contains(shown, "forward_delay 200 "));
}

TEST_CASE("the pinned mac stays when ports come and go") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(create_bridge(*netlink, "virbr10", options()));
    REQUIRE(run("ip link add p0 address 02:00:00:00:00:01 type veth peer name q0"));
    REQUIRE(enslave(*netlink, "p0", "virbr10"));
    CHECK(contains(output_of("ip link show virbr10"), to_string(options().mac)));
}

TEST_CASE("what exists under the name is left alone") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add virbr10 type veth peer name q0"));
    auto netlink = Netlink::open();
    CHECK(*create_bridge(*netlink, "virbr10", options()) == Created::WasThere);
    CHECK(contains(output_of("ip -d link show virbr10"), "veth"));
}

TEST_CASE("a request that cannot be sent does not spoil those that follow") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(netlink);
    MessagePointer huge(nlmsg_alloc_size(9 << 20));  // larger than any send buffer: EMSGSIZE
    REQUIRE(nlmsg_put(huge.get(), NL_AUTO_PORT, NL_AUTO_SEQ, RTM_NEWLINK, 8 << 20, 0) != nullptr);
    CHECK(netlink->send(std::move(huge)) < 0);
    CHECK(netlink->index_of("lo") == 1);
    CHECK(*create_bridge(*netlink, "virbr10", options()) == Created::Yes);
}

TEST_CASE("ports are enslaved and listed and isolated and released") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(create_bridge(*netlink, "virbr10", options()));
    REQUIRE(run("ip link add p0 type veth peer name q0; ip link add p1 type veth peer name q1; ip link set p0 up"));
    REQUIRE(enslave(*netlink, "p0", "virbr10"));
    REQUIRE(enslave(*netlink, "p1", "virbr10"));
    REQUIRE(enslave(*netlink, "p1", "virbr10"));  // again: nothing to do

    auto listed = ports(*netlink, "virbr10");
    REQUIRE(listed);
    REQUIRE(listed->size() == 2);
    CHECK(listed->at(0).name == "p0");
    CHECK(listed->at(0).up);
    CHECK_FALSE(listed->at(1).up);
    CHECK(listed->at(0).learning);
    CHECK_FALSE(listed->at(0).isolated);

    REQUIRE(set_isolated(*netlink, "p0", true));
    CHECK(contains(output_of("ip -d link show p0"), "isolated on"));
    CHECK(ports(*netlink, "virbr10")->at(0).isolated);
    REQUIRE(set_isolated(*netlink, "p0", false));
    CHECK(contains(output_of("ip -d link show p0"), "isolated off"));

    REQUIRE(release(*netlink, "p0"));
    CHECK(ports(*netlink, "virbr10")->size() == 1);
    REQUIRE(release(*netlink, "absent"));
    CHECK(ports(*netlink, "absent")->empty());
}

TEST_CASE("the bridge tells behind which port it has seen an address") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(create_bridge(*netlink, "virbr10", options()));
    REQUIRE(
        run("ip link add p0 type veth peer name q0; ip link set p0 master virbr10; ip link set p0 up;"
            "bridge fdb add 52:54:00:00:00:01 dev p0 master static"));
    const int bridge = netlink->index_of("virbr10");
    CHECK(port_of(*netlink, bridge, *MacAddress::parse("52:54:00:00:00:01")) == netlink->index_of("p0"));
    CHECK(port_of(*netlink, bridge, *MacAddress::parse("52:54:00:00:00:02")) == 0);
    CHECK(port_of(*netlink, bridge, options().mac) == 0);  // its own
    CHECK(port_of(*netlink, 9999, *MacAddress::parse("52:54:00:00:00:01")) == 0);
    CHECK(port_of(*netlink, netlink->index_of("q0"), *MacAddress::parse("52:54:00:00:00:01")) == 0);  // no bridge
}

TEST_CASE("a port of another bridge is not taken") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add br0 type bridge; ip link add p0 type veth peer name q0; ip link set p0 master br0"));
    auto netlink = Netlink::open();
    REQUIRE(create_bridge(*netlink, "virbr10", options()));
    const auto refused = enslave(*netlink, "p0", "virbr10");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().where == "p0");
    CHECK_FALSE(enslave(*netlink, "absent", "virbr10"));
}

TEST_CASE("an address comes with its broadcast and goes with what was learnt in it") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(run("ip link add eth1 type veth peer name q1; ip link set q1 up; ip link set eth1 up"));
    const auto address = *Cidr::parse("192.168.100.1/24");
    REQUIRE(add_address(*netlink, "eth1", address));
    REQUIRE(add_address(*netlink, "eth1", address));  // again: nothing to do
    CHECK(contains(output_of("ip -4 addr show eth1"), "inet 192.168.100.1/24 brd 192.168.100.255 scope global eth1"));

    REQUIRE(
        run("ip neigh add 192.168.100.7 lladdr 02:00:00:00:00:07 dev eth1 nud stale;"
            "ip neigh add 192.168.100.8 lladdr 02:00:00:00:00:08 dev eth1 nud permanent;"
            "ip neigh add 10.0.0.8 lladdr 02:00:00:00:00:09 dev eth1 nud stale"));
    REQUIRE(flush_neighbours(*netlink, "eth1", address));
    const auto neighbours = output_of("ip neigh show nud all dev eth1");
    CHECK_FALSE(contains(neighbours, "192.168.100.7"));
    CHECK(contains(neighbours, "192.168.100.8"));
    CHECK(contains(neighbours, "10.0.0.8"));

    REQUIRE(remove_address(*netlink, "eth1", address));
    REQUIRE(remove_address(*netlink, "eth1", address));
    CHECK_FALSE(contains(output_of("ip -4 addr show eth1"), "192.168.100.1"));
    CHECK(remove_address(*netlink, "absent", address));
    CHECK_FALSE(add_address(*netlink, "absent", address));
}

TEST_CASE("guard rules are written as the kernel shows them and found again") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(
        run("ip rule add priority 100 iif virbr10 to 10.0.0.0/8 prohibit;"  // without our mark: not ours
            "ip rule add priority 100 iif virbr11 fwmark 0/0x100000 to 10.0.0.0/8 prohibit"));
    const auto lan = guard_rule("virbr10", 0x100000, *Cidr::parse("192.168.0.0/24"));
    REQUIRE(add_rule(*netlink, lan));
    REQUIRE(add_rule(*netlink, lan));  // again: nothing to do
    const auto shown = output_of("ip rule show");
    INFO(shown);
    CHECK(contains(shown, "100:\tfrom all to 192.168.0.0/24 fwmark 0/0x100000 iif virbr10 [detached] prohibit\n"));

    const auto rules = read_rules(*netlink);
    REQUIRE(rules);
    CHECK(guard_rules(*rules, "virbr10", 0x100000) == std::vector{lan});
    CHECK(to_string(lan) == "100: from all to 192.168.0.0/24 fwmark 0x0/0x100000 iif virbr10 prohibit");

    REQUIRE(remove_rule(*netlink, lan));
    REQUIRE(remove_rule(*netlink, lan));
    CHECK(guard_rules(*read_rules(*netlink), "virbr10", 0x100000).empty());
    CHECK(contains(output_of("ip rule show"), "iif virbr11"));
}

TEST_CASE("guard rules follow the networks and come back when somebody took them") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    const std::vector first{*Cidr::parse("10.0.0.0/8"), *Cidr::parse("192.168.0.0/24")};
    const std::vector second{*Cidr::parse("10.0.0.0/8"), *Cidr::parse("172.16.0.0/12")};
    CHECK(sync_guard_rules(*netlink, "virbr10", 4, first)->add.size() == 2);
    const auto changed = sync_guard_rules(*netlink, "virbr10", 4, second);
    REQUIRE(changed);
    CHECK(changed->add == std::vector{guard_rule("virbr10", 4, second[1])});
    CHECK(changed->remove == std::vector{guard_rule("virbr10", 4, first[1])});
    CHECK(*sync_guard_rules(*netlink, "virbr10", 4, second) == RuleChanges{});
    REQUIRE(run("ip rule flush; ip rule add priority 32766 lookup main"));
    CHECK(sync_guard_rules(*netlink, "virbr10", 4, second)->add.size() == 2);
    CHECK(sync_guard_rules(*netlink, "virbr10", 4, {})->remove.size() == 2);
    CHECK_FALSE(contains(output_of("ip rule"), "virbr10"));
}

TEST_CASE("a tap belongs to its user and is ours and outlives its maker") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    REQUIRE(create_tap(*netlink, "tap0", 65534));
    const auto shown = output_of("ip -d link show tap0");
    INFO(shown);
    CHECK(contains(shown, "user nobody"));
    CHECK(contains(shown, "persist on"));
    CHECK(contains(shown, "alias vmrouter"));
    CHECK(contains(shown, "state DOWN"));
    const auto again = create_tap(*netlink, "tap0", 65534);
    REQUIRE_FALSE(again);
    CHECK(again.error().what == "there is an interface of that name already");
    CHECK_FALSE(create_tap(*netlink, "a-name-of-sixteen", 0));
    const auto links = read_links(*netlink);
    const auto tap = std::find_if(links->begin(), links->end(), [](const Link& link) { return link.name == "tap0"; });
    REQUIRE(tap != links->end());
    CHECK(is_ours(*tap, {}));
    REQUIRE(delete_link(*netlink, "tap0"));
}

TEST_CASE("guard prefixes stay few by becoming wider and never become everything") {
    std::vector<Cidr> many;
    for (unsigned b = 0; b < 256; ++b) many.push_back({Ipv4{10, static_cast<std::uint8_t>(b), 3, 0}, 24});
    many.push_back(*Cidr::parse("192.168.0.0/16"));
    many.push_back(*Cidr::parse("0.0.0.0/0"));
    CHECK(guard_prefixes(many, 1000).size() == 257);
    const auto few = guard_prefixes(many, 64);
    CHECK(few.size() <= 64);
    for (const Cidr& prefix : many) {
        if (prefix.length == 0) continue;
        INFO(to_string(prefix));
        CHECK(std::any_of(few.begin(), few.end(), [&](const Cidr& wide) { return wide.covers(prefix); }));
    }
    CHECK(std::find(few.begin(), few.end(), *Cidr::parse("192.168.0.0/14")) == few.end());  // no wider than needed
    const std::vector<Cidr> far{*Cidr::parse("1.0.0.0/8"), *Cidr::parse("200.0.0.0/8")};
    for (const Cidr& prefix : guard_prefixes(far, 1)) CHECK(prefix.length >= 1);
    CHECK(guard_prefixes({}, 64).empty());
}

TEST_CASE("guard changes add what is missing and remove what is too much") {
    const auto rule = [](const char* prefix) { return guard_rule("virbr10", 1, *Cidr::parse(prefix)); };
    const std::vector present{rule("10.0.0.0/8"), rule("192.168.0.0/24"),
                              guard_rule("virbr11", 1, *Cidr::parse("10.0.0.0/8"))};
    const std::vector wanted{*Cidr::parse("192.168.0.0/24"), *Cidr::parse("172.16.0.0/12"),
                             *Cidr::parse("172.16.0.0/12"), *Cidr::parse("0.0.0.0/0")};
    const auto changes = guard_changes(present, "virbr10", 1, wanted);
    CHECK(changes.add == std::vector{rule("172.16.0.0/12")});
    CHECK(changes.remove == std::vector{rule("10.0.0.0/8")});
    CHECK(guard_changes(present, "virbr12", 1, {}) == RuleChanges{});
}

TEST_CASE("the facts hold links and addresses and routes and rules as ip shows them") {
    IN_NAMESPACE;
    REQUIRE(
        run("ip link set lo up;"
            "ip link add eth0 address 02:00:00:00:00:05 type veth peer name q9; ip link set q9 up; ip link set eth0 up "
            "mtu 1400;"
            "ip addr add 192.168.0.7/24 brd + dev eth0; ip route add default via 192.168.0.1 metric 100;"
            "ip link add eth0.5 link eth0 type macvlan; ip link set eth0.5 up;"
            "ip addr add 10.1.1.1 peer 10.2.2.2 dev eth0.5;"
            "ip route add 10.50.0.0/16 via 192.168.0.9 table 100; ip route add blackhole 100.99.0.0/16;"
            "ip route add 10.60.0.0/16 nexthop via 192.168.0.8 dev eth0 nexthop dev eth0.5;"
            "ip rule add priority 5270 not fwmark 0xca6c lookup 51820;"
            "ip link add br0 type bridge; ip link set br0 alias trunk; ip link add p0 type veth peer name q0;"
            "ip link set p0 master br0"));
    auto netlink = Netlink::open();
    const auto read = read_host_facts(*netlink, "virbr10");
    REQUIRE(read);
    const HostFacts& facts = *read;
    INFO(to_string(facts));

    const Link* eth0 = facts.find("eth0");
    REQUIRE(eth0 != nullptr);
    CHECK(eth0->kind == "veth");
    CHECK(eth0->mac == MacAddress::parse("02:00:00:00:00:05"));
    CHECK(eth0->mtu == 1400);
    CHECK(eth0->up());
    CHECK(facts.find("lo")->loopback());
    CHECK(facts.find("eth0.5")->parent == eth0->index);
    CHECK(facts.find("p0")->port_kind == "bridge");
    CHECK(facts.find("p0")->parent == 0);
    CHECK(facts.find("br0")->alias == "trunk");
    REQUIRE(facts.ports_of("br0").size() == 1);
    CHECK(facts.ports_of("br0")[0]->name == "p0");

    const auto text = to_string(facts);
    CHECK(contains(text, "address 192.168.0.7 in 192.168.0.0/24 dev eth0\n"));
    CHECK(contains(text, "address 10.1.1.1 in 10.2.2.2/32 dev eth0.5\n"));
    CHECK(contains(text, "route default via 192.168.0.1 dev eth0 metric 100\n"));
    CHECK(contains(text, "route 10.50.0.0/16 via 192.168.0.9 dev eth0 table 100\n"));
    CHECK(contains(text, "route refused 100.99.0.0/16"));
    CHECK(contains(text, "route 10.60.0.0/16 nexthop via 192.168.0.8 dev eth0 nexthop dev eth0.5\n"));
    CHECK(contains(text, "rule 5270: not from all fwmark 0xca6c/0xffffffff lookup 51820\n"));
    CHECK(facts.sysctls.at("net/ipv4/ip_forward") == "0");

    REQUIRE(facts.internet.size() == 4);
    const auto found = uplinks(facts, "virbr10", {});
    REQUIRE(found.size() == 1);
    CHECK(found[0] == Uplink{"eth0", eth0->index, {Ipv4{192, 168, 0, 1}}, 1400, true});
    CHECK(facts == *read_host_facts(*netlink, "virbr10"));
}

TEST_CASE("the look-up follows policy rules for packets that come from the segment") {
    IN_NAMESPACE;
    REQUIRE(run(uplink_and_segment + link_with("wg0", "10.66.0.2/32") +
                "ip route add default dev wg0 table 51820; ip rule add priority 5000 iif virbr10 lookup 51820"));
    auto netlink = Netlink::open();
    auto facts = read_host_facts(*netlink, "virbr10");
    REQUIRE(facts);
    INFO(to_string(*facts));
    REQUIRE(uplinks(*facts, "virbr10", {}).size() == 1);
    CHECK(uplinks(*facts, "virbr10", {})[0].name == "wg0");
    CHECK(uplinks(*facts, "virbr10", {})[0].gateways.empty());

    REQUIRE(run("ip link set virbr10 down"));  // no way to ask as a guest: the host's own way counts
    facts = read_host_facts(*netlink, "virbr10");
    CHECK(uplinks(*facts, "virbr10", {})[0].name == "eth0");
}

TEST_CASE("rules that hold packets back which the firewall has not let pass do not hide the uplink") {
    IN_NAMESPACE;
    REQUIRE(run(uplink_and_segment +
                "for half in 0.0.0.0/1 128.0.0.0/1; do"
                "  ip rule add priority 100 iif virbr10 fwmark 0/0x100000 to $half prohibit; done"));
    auto netlink = Netlink::open();
    const auto unmarked = read_host_facts(*netlink, "virbr10");
    REQUIRE(unmarked);
    CHECK(uplinks(*unmarked, "virbr10", {}).empty());
    const auto marked = read_host_facts(*netlink, "virbr10", 0x100000);
    REQUIRE(marked);
    REQUIRE(uplinks(*marked, "virbr10", {}).size() == 1);
    CHECK(uplinks(*marked, "virbr10", {})[0].name == "eth0");
}

TEST_CASE("a host without any route has no uplink") {
    IN_NAMESPACE;
    auto netlink = Netlink::open();
    const auto facts = read_host_facts(*netlink, "virbr10");
    REQUIRE(facts);
    CHECK(uplinks(*facts, "virbr10", {}).empty());
    CHECK(lan_prefixes(*facts, "virbr10", {}).empty());
}

TEST_CASE("a thousand routes are read without a gap") {
    IN_NAMESPACE;
    REQUIRE(
        run("ip link add eth0 type veth peer name q-eth0; ip link set q-eth0 up; ip link set eth0 up;"
            "i=0; while [ $i -lt 1000 ]; do echo route add 10.$((i/250)).$((i%250)).0/24 dev eth0; i=$((i+1)); done"
            " | ip -batch -"));
    auto netlink = Netlink::open();
    const auto facts = read_host_facts(*netlink, "virbr10");
    REQUIRE(facts);
    CHECK(lan_prefixes(*facts, "virbr10", {}).size() == 1000);
}

TEST_CASE("sysctls of an interface whose name has a dot are read and written") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add eth0.5 type veth peer name q-eth0.5; ip link set q-eth0.5 up"));
    for (const auto& wanted : segment_sysctls("eth0.5", true)) {
        INFO(wanted.path);
        REQUIRE(sysctl_exists(wanted.path));
        REQUIRE(write_sysctl(wanted.path, wanted.value));
        CHECK(*read_sysctl(wanted.path) == wanted.value);
    }
    for (const auto& wanted : uplink_sysctls("eth0.5")) CHECK(sysctl_exists(wanted.path));
    for (const auto& wanted : segment_forwarding("eth0.5")) REQUIRE(write_sysctl(wanted.path, wanted.value));
    CHECK(*read_sysctl("net/ipv4/ip_forward") == "0");
    const auto missing = write_sysctl("net/ipv4/conf/absent/forwarding", "1");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().where == "/proc/sys/net/ipv4/conf/absent/forwarding");
    CHECK_FALSE(sysctl_exists("net/ipv4/conf/absent/forwarding"));
}

TEST_CASE("no sysctl of another interface or of all is on the lists") {
    for (const auto& list :
         {segment_sysctls("virbr10", true), segment_forwarding("virbr10"), uplink_sysctls("virbr10")}) {
        for (const auto& wanted : list) CHECK(contains(wanted.path, "/conf/virbr10/"));
    }
}
