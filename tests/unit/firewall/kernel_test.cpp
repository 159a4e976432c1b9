// Against the kernel, in a network namespace of each test's own.

#include <csignal>

#include "firewall/checksum_fill.hpp"
#include "firewall/conntrack.hpp"
#include "firewall/foreign.hpp"
#include "firewall/live.hpp"
#include "firewall/monitor.hpp"
#include "firewall/ruleset.hpp"
#include "tests/unit/firewall/namespace.hpp"
#include "tests/unit/firewall/policies.hpp"

using namespace vmrouter;
using namespace vmrouter::firewall;
using namespace vmrouter::firewall::test;

namespace {

constexpr Monotonic start{std::chrono::hours(1)};

void with_nft(const std::function<void(Findings&, Nft&)>& body) {
    in_namespace([&](Findings& found) {
        auto nft = Nft::open();
        if (!found.succeeded(nft, "open nft")) return;
        body(found, *nft);
    });
}

/// The golden policies whose rules this kernel takes.
void with_each_policy(const std::function<void(Findings&, Nft&, const std::string&, const Policy&)>& body) {
    for (const auto& [name, policy] : golden_policies())
        with_nft([&, &name = name, &policy = policy](Findings& found, Nft& nft) {
            if (policy.segment && policy.segment->match_bridge_name && !knows_bridge_names(nft)) return;
            body(found, nft, name, policy);
        });
}

bool finds(const std::string& command, const std::string& pattern) {
    return shell(command + " | grep -q -- '" + pattern + "'") == 0;
}

}  // namespace

TEST_CASE("The kernel takes every golden rule set and replaces it by itself") {
    with_each_policy([](Findings& found, Nft& nft, const std::string& name, const Policy& policy) {
        shell("ip link add enp6s0 type veth peer name enp6s0p");
        Live live(nft);
        found.succeeded(live.apply(policy, start), name);
        found.succeeded(live.apply(policy, start), name + " again");
        const auto complete = in_force(nft, policy);
        found.expect(complete && *complete, name + " is not in force as a whole");
        found.succeeded(live.remove(policy.instance), name + " removed");
        found.expect(!finds("nft list ruleset", "."), name + " leaves rules behind");
    });
}

TEST_CASE("Interfaces may have every name that the kernel allows") {
    with_nft([](Findings& found, Nft& nft) {
        auto policy = bridge_policy();
        policy.segment->match_bridge_name = false;
        policy.uplinks.clear();
        for (const std::string name :
             {"vpn+1", "wg_b\xc3\xbcro", "vpn#1", "a;b{c}$d'e", "-x", "@1", "a\"b", "tun*", "b\xfcro"})
            policy.uplinks.push_back({name, ip("192.168.1.1"), {}});
        policy.side_links = {"a,b", "a\\"};
        policy.ports = {"vnet+1", "vnet\"2"};
        Live live(nft);
        found.succeeded(live.apply(policy, start), "apply");
        for (const char* port : {"vnet+1", "vnet\"2", "vnet*", ""})
            found.succeeded(live.bind({mac("52:54:00:00:00:0b"), ip("192.168.100.11"), port}),
                            std::string("bind ") + port);
        found.succeeded(live.bind({mac("52:54:00:00:00:0c"), ip("192.168.100.12"), "vnet+1"}), "bind another");
        const auto stands = live.in_force();
        found.expect(stands && *stands, "what we gave is not what is there");
        found.expect(finds("nft list set inet vmrouter_virbr10 vm_uplinks", "\"wg_b\xc3\xbcro\""),
                     "the umlaut is not there");
        auto less = policy;
        less.uplinks.erase(less.uplinks.begin(), less.uplinks.begin() + 4);
        found.succeeded(live.update(less, start), "update");
    });
}

TEST_CASE("Whatever somebody changes in our tables is noticed by reading back") {
    with_each_policy([](Findings& found, Nft& nft, const std::string& name, const Policy& policy) {
        shell("ip link add enp6s0 type veth peer name enp6s0p");
        Live live(nft);
        found.succeeded(live.apply(policy, start), "apply");
        const auto complete = live.in_force();
        found.expect(complete && *complete, name + ": what we gave is not what is there");
    });
    for (const char* change :
         {"delete table inet vmrouter_virbr10", "delete table bridge vmrouter_virbr10",
          "delete table arp vmrouter_virbr10", "flush chain inet vmrouter_virbr10 vm_to_host",
          "insert rule inet vmrouter_virbr10 vm_from_guest accept",
          "delete element inet vmrouter_virbr10 vm_lan { 10.0.0.0/24 }",
          "add element inet vmrouter_virbr10 vm_published { 192.168.100.9 . tcp . 22 }",
          "delete element bridge vmrouter_virbr10 vm_ports { vnet1 }",
          "delete element arp vmrouter_virbr10 vm_bound { 52:54:00:00:00:0a . 192.168.100.10 }",
          "add chain inet vmrouter_virbr10 vm_early { type filter hook forward priority -200; }"}) {
        with_nft([&](Findings& found, Nft& nft) {
            Live live(nft);
            found.succeeded(live.apply(bridge_policy(), start), "apply");
            found.expect(shell("nft '" + std::string(change) + "'") == 0, change);
            const auto complete = live.in_force();
            found.expect(complete && !*complete, "not noticed: " + std::string(change));
            found.succeeded(live.repair(start), "repair");
            const auto repaired = live.in_force();
            found.expect(repaired && *repaired, "not repaired: " + std::string(change));
        });
    }
}

TEST_CASE("What the kernel is asked about is not done, and bridges are matched by name where it takes that") {
    with_nft([](Findings& found, Nft& nft) {
        const std::string rule = "table bridge lab_asked { chain c { type filter hook forward priority 0; ";
        const bool takes = shell("nft -c '" + rule + "meta ibrname \"x\" meta obrname \"x\" accept; }; }' 2>&1") == 0;
        found.expect(knows_bridge_names(nft) == takes, "nft says otherwise");
        found.succeeded(nft.check(rule + "accept; }; }"), "rules that every kernel takes");
        found.expect(!nft.check(rule + "jump nowhere; }; }"), "a jump to nowhere was taken");
        found.expect(!finds("nft list ruleset", "."), "something was done");
        found.succeeded(nft.run("table bridge lab_made {}"), "run after check");
        found.expect(finds("nft list ruleset", "lab_made"), "nothing is done any more");
    });
}

TEST_CASE("Rules that the kernel refuses leave the old ones in force") {
    with_nft([](Findings& found, Nft& nft) {
        Live live(nft);
        found.succeeded(live.apply(bridge_policy(), start), "apply");
        const auto done = nft.run(removal("virbr10") + "table inet vmrouter_virbr10 {\n  nonsense\n}\n");
        found.expect(!done, "nonsense was taken");
        found.expect(!done && done.error().what.find("generated rules:10:3") != std::string::npos,
                     "no position in: " + (done ? "" : done.error().what));
        const auto complete = in_force(nft, bridge_policy());
        found.expect(complete && *complete, "the old rules are gone");
    });
}

TEST_CASE("Changed sets reach the kernel without a reload") {
    with_nft([](Findings& found, Nft& nft) {
        auto policy = full_policy();
        Live live(nft);
        found.succeeded(live.apply(policy, start), "apply");
        shell("nft add rule inet vmrouter_br-lab.1 vm_forward counter comment '\"witness\"'");
        policy.lan = {cidr("10.0.0.0/16"), cidr("198.51.100.128/25")};
        policy.uplinks = {{"wlan0", ip("192.168.1.1"), {}}};
        policy.ports.push_back("vnet2");
        policy.other_segments.clear();
        policy.forwards = {{{Protocol::Tcp, 2223}, Ipv4{}, ip("192.168.100.11"), 22}};
        found.succeeded(live.update(policy, start), "update");
        found.expect(live.policy() == policy, "remembers something else");
        found.expect(finds("nft list ruleset", "witness"), "the table was reloaded");
        found.expect(finds("nft list set inet vmrouter_br-lab.1 vm_lan", "10.0.0.0/16, 198.51.100.128/25"), "lan");
        found.expect(finds("nft list set inet vmrouter_br-lab.1 vm_gateways", "\"wlan0\" . 192.168.1.1"), "gateways");
        found.expect(finds("nft list set bridge vmrouter_br-lab.1 vm_ports", "vnet2"), "ports");
        found.expect(finds("nft list map inet vmrouter_br-lab.1 vm_forward_any", "tcp . 2223 : 192.168.100.11 . 22"),
                     "forward");
        found.expect(!finds("nft list map inet vmrouter_br-lab.1 vm_forward_at", "5000"), "old forward");
        policy.segment->internet = false;
        found.succeeded(live.update(policy, start), "another shape");
        found.expect(!finds("nft list ruleset", "witness"), "the table was not reloaded");
    });
}

TEST_CASE("A lease binds an address in every table and frees it again") {
    with_nft([](Findings& found, Nft& nft) {
        auto policy = bridge_policy();
        policy.bindings.clear();
        Live live(nft);
        found.succeeded(live.apply(policy, start), "apply");
        const Binding binding{mac("52:54:00:00:00:0b"), ip("192.168.100.11"), "vnet1"};
        found.succeeded(live.bind(binding), "bind");
        found.succeeded(live.bind(binding), "bind again");
        for (const char* family : {"inet", "arp", "bridge"}) {
            const std::string list = std::string("nft list set ") + family + " vmrouter_virbr10 ";
            found.expect(finds(list + "vm_owned", "192.168.100.11"), family + std::string(": owned"));
            found.expect(finds(list + "vm_bound", "52:54:00:00:00:0b . 192.168.100.11"),
                         family + std::string(": bound"));
        }
        found.expect(finds("nft list set bridge vmrouter_virbr10 vm_pins", "52:54:00:00:00:0b . \"vnet1\""), "pin");
        found.succeeded(live.bind({binding.mac, binding.address, "vnet0"}), "move");
        found.expect(finds("nft list set bridge vmrouter_virbr10 vm_pins", "52:54:00:00:00:0b . \"vnet0\""),
                     "moved pin");
        found.expect(!finds("nft list set bridge vmrouter_virbr10 vm_pins", "vnet1"), "old pin");
        found.expect(finds("nft list set bridge vmrouter_virbr10 vm_pinned", "52:54:00:00:00:0b"), "pinned");

        // The same address reserved for a second MAC: it stays owned until both are gone.
        found.succeeded(live.bind({mac("52:54:00:00:00:0c"), binding.address, {}}), "second MAC");
        found.succeeded(live.unbind(binding.mac, binding.address), "unbind");
        found.succeeded(live.unbind(binding.mac, binding.address), "unbind again");
        found.expect(finds("nft list set inet vmrouter_virbr10 vm_owned", "192.168.100.11"), "still owned");
        found.expect(!finds("nft list set bridge vmrouter_virbr10 vm_pinned", "52:54"), "no longer pinned");
        found.succeeded(live.unbind(mac("52:54:00:00:00:0c"), binding.address), "unbind second");
        found.expect(!finds("nft list ruleset", "192.168.100.11"), "something of it is left");
    });
}

TEST_CASE("An allowed name is reachable for its time and over a repair") {
    with_nft([](Findings& found, Nft& nft) {
        auto policy = full_policy();
        Live live(nft);
        found.succeeded(live.apply(policy, start), "apply");
        const std::vector<Ipv4> addresses{ip("203.0.113.5"), ip("203.0.113.6")};
        found.succeeded(live.admit(addresses, Seconds(60), start), "admit");
        found.succeeded(live.admit(std::vector{addresses[0]}, Seconds(600), start), "longer");
        found.succeeded(live.admit(std::vector{addresses[0]}, Seconds(1), start), "shorter");
        const std::string list = "nft list set inet vmrouter_br-lab.1 vm_names";
        found.expect(finds(list, "203.0.113.5 timeout 10m"), "the longer time holds");
        found.expect(finds(list, "203.0.113.6 timeout 1m"), "the other one");
        found.succeeded(live.repair(start + std::chrono::seconds(100)), "repair");
        found.expect(finds(list, "203.0.113.5 timeout 8m20s"), "what is left of it");
        found.expect(!finds(list, "203.0.113.6"), "what ran out");
    });
}

TEST_CASE("Names that the kernel forgot early are admitted again") {
    with_nft([](Findings& found, Nft& nft) {
        Live live(nft);
        found.succeeded(live.apply(full_policy(), start), "apply");
        const std::vector<Ipv4> address{ip("203.0.113.5")};
        found.succeeded(live.admit(address, Seconds(60), start), "admit");
        shell("nft flush set inet vmrouter_br-lab.1 vm_names");
        found.succeeded(live.admit(address, Seconds(120), start), "admit again");
        found.expect(finds("nft list set inet vmrouter_br-lab.1 vm_names", "203.0.113.5 timeout 2m"), "there");
    });
}

TEST_CASE("Counters come back by name and added up over tables") {
    with_nft([](Findings& found, Nft& nft) {
        Live live(nft);
        found.succeeded(live.apply(bridge_policy(), start), "apply");
        const auto counters = live.counters();
        if (!found.succeeded(counters, "counters")) return;
        std::string names;
        for (const auto& counter : *counters) names += counter.name + " ";
        found.expect(names.find("lan ") != std::string::npos && names.find("arp ") != std::string::npos, names);
    });
}

TEST_CASE("What each guest sends and gets is counted for it alone") {
    with_nft([](Findings& found, Nft& nft) {
        auto policy = golden_policies().front().second;
        policy.ports = {"vnet1"};
        policy.bindings.clear();
        Live live(nft);
        if (!found.succeeded(live.apply(policy, start), "apply")) return;
        const auto before = live.traffic();
        found.expect(before && before->empty(), "somebody was heard before anything was sent");
        shell(
            "unshare --net sleep 20 & P=$!; "
            "until [ \"$(readlink /proc/$P/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.02; done; "
            "ip link add virbr10 type bridge forward_delay 0; ip addr add 192.168.100.1/24 dev virbr10; "
            "ip link add vnet1 type veth peer name eth0 netns $P; ip link set vnet1 master virbr10 up; "
            "ip link set virbr10 up; nsenter -t $P -n ip addr add 192.168.100.7/24 dev eth0; "
            "nsenter -t $P -n ip link set eth0 up; "
            "nsenter -t $P -n ping -q -c3 -i0.05 -W2 -s100 192.168.100.1 >/dev/null; kill $P");
        const auto after = live.traffic();
        if (!found.succeeded(after, "traffic")) return;
        const std::vector<Traffic> wanted{{Ipv4{192, 168, 100, 7}, 3, 384, 3, 384}};
        found.expect(*after == wanted, "counted " + std::to_string(after->size()) + " guests");
        for (const auto& one : *after)
            found.expect(one == wanted.front(), to_string(one.guest) + " sent " + std::to_string(one.sent_packets) +
                                                    ", got " + std::to_string(one.received_bytes) + " bytes");
        const auto stands = live.in_force();
        found.expect(stands && *stands, "counting changes what is read back");
    });
}

TEST_CASE("Instances that ask who they are at the same moment take themselves for nobody else") {
    with_nft([](Findings& found, Nft& nft) {
        const pid_t other = ::fork();
        if (other == 0) {
            auto own = Nft::open();
            while (own) static_cast<void>(own_process(*own));
            ::_exit(1);
        }
        const auto wanted = own_process(nft);
        std::size_t strangers = 0;
        for (int i = 0; i < 300; ++i) {
            const auto again = own_process(nft);
            strangers += again && *again == static_cast<std::uint32_t>(other) ? 1 : 0;
            found.expect(again.has_value(), "own process");
        }
        ::kill(other, SIGKILL);
        ::waitpid(other, nullptr, 0);
        found.expect(wanted && *wanted == static_cast<std::uint32_t>(::getpid()), "we are somebody else");
        found.expect(strangers == 0, std::to_string(strangers) + " times of 300 we are the other one");
    });
}

TEST_CASE("Who changes which rules is heard") {
    with_nft([](Findings& found, Nft& nft) {
        const auto us = own_process(nft);
        if (!found.succeeded(us, "own process")) return;
        auto socket = open_rules_monitor();
        if (!found.succeeded(socket, "monitor")) return;
        TransactionReader reader(table_name("virbr10"));
        const auto hear = [&] {
            std::vector<Transaction> all;
            std::vector<std::uint8_t> buffer(65536);
            for (ssize_t size = 0; (size = ::read(socket->get(), buffer.data(), buffer.size())) > 0;) {
                for (auto& t : reader.read(Bytes(buffer).first(static_cast<std::size_t>(size)))) all.push_back(t);
            }
            return all;
        };
        Live live(nft);
        found.succeeded(live.apply(bridge_policy(), start), "apply");
        auto heard = hear();
        found.expect(heard.size() == 1 && heard[0].touches_ours && !heard[0].touches_others && heard[0].process == *us,
                     "our own");
        found.succeeded(live.bind({mac("52:54:00:00:00:0b"), ip("192.168.100.11"), {}}), "bind");
        heard = hear();
        found.expect(heard.size() == 1 && heard[0].touches_ours && heard[0].process == *us, "our element");
        shell("nft add table ip somebody");
        heard = hear();
        found.expect(
            heard.size() == 1 && !heard[0].touches_ours && heard[0].touches_others && heard[0].process_name == "nft",
            "another table");
        shell("nft delete element inet vmrouter_virbr10 vm_lan { 10.0.0.0/24 }");
        heard = hear();
        found.expect(heard.size() == 1 && heard[0].touches_ours && heard[0].process != *us,
                     "our element deleted by nft");
        shell("nft flush ruleset");
        heard = hear();
        found.expect(heard.size() == 1 && heard[0].touches_ours && heard[0].touches_others, "flush");
    });
}

TEST_CASE("Chains of others that drop get one rule and lose it again exactly") {
    with_nft([](Findings& found, Nft& nft) {
        shell("iptables -P FORWARD DROP; iptables -P INPUT DROP");
        shell("iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER");
        shell(R"(nft 'table inet filter {
            chain forward { type filter hook forward priority 0; policy drop; tcp dport 80 accept; }
            chain early { type filter hook forward priority -100; policy drop; }
            chain input {
                type filter hook input priority 0; policy accept
                ct state established accept
                counter reject with icmpx admin-prohibited
            }
            chain open { type filter hook input priority 1; policy accept; tcp dport 22 drop; }
        }')");
        const std::string before = "/tmp/vmrouter_before." + std::to_string(::getpid());
        const std::string list = "nft list table inet filter | sed 's/packets.*bytes [0-9]*//'";
        shell(list + " > " + before);

        const auto open = [&nft]() -> Result<ForeignOutcome> {
            const auto rules = scan_foreign(nft, default_mark);
            if (!rules) return Failure{rules.error()};
            return open_foreign(nft, *rules, default_mark, "virbr10");
        };
        const auto outcome = open();
        if (!found.succeeded(outcome, "open")) return;
        found.expect(outcome->opened.size() == 4, "opened " + std::to_string(outcome->opened.size()));
        const std::string shown = "-m mark --mark 0x100000/0x100000";
        found.expect(finds("iptables -S DOCKER-USER", shown), "iptables cannot read it");
        found.expect(finds("iptables -S INPUT", shown), "INPUT");
        found.expect(!finds("iptables -S FORWARD", "mark"), "FORWARD although there is DOCKER-USER");
        found.expect(finds("nft list chain inet filter input | grep -A1 hook", "meta mark"), "not at the head");
        found.expect(!finds("nft list chain inet filter open", "meta mark"), "in a chain that does not need it");
        const auto again = open();
        found.expect(again && again->opened.empty(), "twice");

        shell("iptables-save | iptables-restore");  // other handles, and our comment is no longer one that nft reads
        const auto restored = open();
        found.expect(restored && restored->opened.empty(), "not found again after iptables-restore");
        const auto closed = close_foreign(nft, default_mark);
        found.expect(closed && *closed == 4, "closed " + std::to_string(closed ? *closed : 0));
        found.expect(!finds("nft list ruleset", "meta mark"), "something is left");
        found.expect(shell(list + " | cmp -s - " + before) == 0, "a table of others changed");
        shell("rm -f " + before);
    });
}

TEST_CASE("Checksums are filled in by a rule that iptables can show") {
    with_nft([](Findings& found, Nft&) {
        const auto made = fill_checksums("virbr10");
        if (!found.succeeded(made, "fill")) return;
        found.expect(made->created_table && made->created_chain, "made nothing");
        found.expect(finds("iptables -t mangle -S",
                           "-A POSTROUTING -o virbr10 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"),
                     "iptables shows something else");
        const auto again = fill_checksums("virbr10");
        found.expect(again && !again->created_table, "twice");
        found.expect(shell("test $(iptables -t mangle -S | grep -c CHECKSUM) = 1") == 0, "not one rule");
        found.succeeded(fill_checksums("virbr11"), "another instance");
        found.succeeded(stop_filling_checksums("virbr10", *made), "stop");
        found.expect(!finds("iptables -t mangle -S", "virbr10") && finds("iptables -t mangle -S", "virbr11"),
                     "wrong rule removed");
        found.succeeded(stop_filling_checksums("virbr11", *made), "stop the other");
        found.expect(!finds("nft list ruleset", "mangle"), "table left behind");

        // An administrator's save and restore makes every chain that iptables knows.
        const auto saved = fill_checksums("virbr10");
        if (!found.succeeded(saved, "fill anew")) return;
        shell("iptables-save | iptables-restore");
        found.expect(finds("nft list ruleset", "PREROUTING"), "iptables-restore made no chains");
        found.succeeded(stop_filling_checksums("virbr10", *saved), "stop after a restore");
        found.expect(!finds("nft list ruleset", "mangle"), "table left behind after a restore");

        const auto beside = fill_checksums("virbr10");
        if (!found.succeeded(beside, "fill once more")) return;
        shell("iptables -t mangle -A PREROUTING -p icmp -j ACCEPT");
        found.succeeded(stop_filling_checksums("virbr10", *beside), "stop beside others");
        found.expect(finds("iptables -t mangle -S", "-A PREROUTING -p icmp -j ACCEPT"), "a rule of others is gone");
    });
}
