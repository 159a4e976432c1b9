#include <linux/netfilter/nfnetlink_log.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <catch2/catch.hpp>

#include "firewall/blocked.hpp"
#include "firewall/live.hpp"
#include "src/base/text.hpp"
#include "tests/unit/firewall/namespace.hpp"
#include "tests/unit/firewall/policies.hpp"

using namespace vmrouter;
using namespace vmrouter::firewall;
using namespace vmrouter::firewall::test;

namespace {

// One message of the log, as the kernel sent it: a SYN from 52:54:00:00:00:01, 192.168.100.11 to 192.168.1.50 port 445.
const char* const syn_to_lan =
    "80000000 00040000 00000000 00000000 02000400"           // nlmsghdr, nfgenmsg
    "08000100 08000200"                                      // packet header: IPv4, forward
    "11000a00 766d726f 75746572 3a6c616e 00000000"           // prefix "vmrouter:lan"
    "10000800 0006 0000 525400000001 0000"                   // hardware address
    "40000900 4500003c 1c464000 3f060000 c0a8640b c0a80132"  // payload: IPv4
    "9c4001bd 00000001 00000000 a002faf0 00000000"           // TCP
    "020405b4 0402080a 00000000 00000000 01030307";

// A SYN of a user-mode guest from 2001:db8:1::2 to 2001:db8:1::50 port 80, of which 64 bytes were kept.
const char* const syn_to_lan6 =
    "78000000 00040000 00000000 00000000 02000400"                    // nlmsghdr, nfgenmsg
    "08000100 86dd0300"                                               // packet header: IPv6, output
    "16000a00 766d726f 75746572 3a757365 726d6f64 6500 0000"          // prefix "vmrouter:usermode"
    "44000900 60000000 00280640 20010db8 00010000 00000000 00000002"  // payload: IPv6
    "20010db8 00010000 00000000 00000050"                             //
    "9c400050 00000001 00000000 a002faf0 00000000 020405a0";          // TCP

std::vector<std::uint8_t> bytes(const char* hex) {
    return parse_hex(hex).value();
}

Attempt attempt(const char* guest, const char* destination, std::uint16_t port) {
    Attempt a;
    a.reason = "lan";
    a.guest = mac(guest);
    a.source = ip("192.168.100.11");
    a.destination = ip(destination);
    a.protocol = 6;
    a.port = port;
    return a;
}

}  // namespace

TEST_CASE("A logged packet says who wanted what and why not") {
    const auto attempts = parse_attempts(bytes(syn_to_lan));
    REQUIRE(attempts.size() == 1);
    CHECK(attempts[0] == attempt("52:54:00:00:00:01", "192.168.1.50", 445));
}

TEST_CASE("A user-mode guest's IPv6 is told as well") {
    const auto attempts = parse_attempts(bytes(syn_to_lan6));
    REQUIRE(attempts.size() == 1);
    CHECK(attempts[0].reason == "usermode");
    CHECK(to_string(attempts[0].source) == "2001:db8:1::2");
    CHECK(to_string(attempts[0].destination) == "2001:db8:1::50");
    CHECK(attempts[0].protocol == 6);
    CHECK(attempts[0].port == 80);
}

TEST_CASE("Every truncation of a logged packet is survived") {
    const auto whole = bytes(GENERATE(syn_to_lan, syn_to_lan6));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const std::vector<std::uint8_t> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        CHECK(parse_attempts(part).empty());
        auto lying = part;  // a message that claims to be complete
        if (size >= 20) {
            lying[0] = static_cast<std::uint8_t>(size);
            static_cast<void>(parse_attempts(lying));
        }
    }
}

TEST_CASE("Attempts are counted by guest and destination") {
    Tallies tallies;
    const Time now{std::chrono::seconds(100)};
    const auto first = attempt("52:54:00:00:00:01", "192.168.1.50", 445);
    CHECK(tallies.add(first, now));
    CHECK_FALSE(tallies.add(first, now + Seconds(5)));
    CHECK(tallies.add(attempt("52:54:00:00:00:01", "192.168.1.50", 22), now + Seconds(6)));
    CHECK(tallies.add(attempt("52:54:00:00:00:02", "192.168.1.50", 445), now + Seconds(7)));
    const auto list = tallies.list();
    REQUIRE(list.size() == 3);
    CHECK(list[0].attempt.guest == mac("52:54:00:00:00:02"));
    CHECK(list[2].count == 2);
    CHECK(list[2].first == now);
    CHECK(list[2].last == now + Seconds(5));
    CHECK(tallies.total() == 4);
}

TEST_CASE("However many destinations a guest tries the list is bounded") {
    Tallies tallies(100, 100);
    for (std::uint16_t port = 1; port <= 1000; ++port)
        tallies.add(attempt("52:54:00:00:00:01", "192.168.1.50", port), Time{Seconds(port)});
    const auto list = tallies.list();
    REQUIRE(list.size() == 100);
    CHECK(list.front().attempt.port == 1000);
    CHECK(list.back().attempt.port == 901);
    CHECK(tallies.total() == 1000);
}

TEST_CASE("A guest that scans does not push the attempts of others out") {
    Tallies tallies(100, 10);
    tallies.add(attempt("52:54:00:00:00:02", "192.168.1.50", 22), Time{Seconds(1)});
    for (std::uint16_t port = 1; port <= 1000; ++port)
        tallies.add(attempt("52:54:00:00:00:01", "192.168.1.50", port), Time{Seconds(1 + port)});
    const auto list = tallies.list();
    REQUIRE(list.size() == 11);
    CHECK(list.front().attempt.port == 1000);
    CHECK(list.back().attempt.guest == mac("52:54:00:00:00:02"));
}

TEST_CASE("Made-up MAC addresses do not make the list longer than its limit") {
    Tallies tallies(100, 10);
    for (std::uint8_t i = 1; i <= 250; ++i) {
        auto one = attempt("52:54:00:00:00:00", "192.168.1.50", 22);
        one.guest.bytes[5] = i;
        tallies.add(one, Time{Seconds(i)});
    }
    const auto list = tallies.list();
    REQUIRE(list.size() == 100);
    CHECK(list.front().attempt.guest == mac("52:54:00:00:00:fa"));
    CHECK(list.back().attempt.guest == mac("52:54:00:00:00:97"));
}

TEST_CASE("The kernel's log of a refused packet arrives") {
    in_namespace([](Findings& found) {
        struct Collect final : AttemptObserver {
            void blocked(const Attempt& a) override { all.push_back(a); }
            void overrun() override {}
            std::vector<Attempt> all;
        } collect;
        auto nft = Nft::open();
        if (!found.succeeded(nft, "nft")) return;
        auto policy = interface_policy();
        policy.segment->interface = "veth0";
        shell("ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip link set veth1 up");
        shell("ip addr add 192.168.100.1/24 dev veth0; sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
        Live live(*nft);
        if (!found.succeeded(live.apply(policy, Monotonic{}), "apply")) return;
        auto socket = open_blocked_log(policy.log_group);
        if (!found.succeeded(socket, "log")) return;
        found.expect(!open_blocked_log(policy.log_group), "a second reader of the same group");

        asio::io_context io;
        BlockedLog log(io, std::move(*socket), collect);
        asio::co_spawn(io, log.run(), asio::detached);
        // An ARP claim of our address, by hand.
        shell(
            "python3 -c \"import socket,struct; s=socket.socket(17,3); s.bind(('veth1',0)); m=s.getsockname()[4]; "
            "s.send(b'\\xff'*6+m+struct.pack('!HHHBBH',0x806,1,0x800,6,4,1)+m+bytes([192,168,100,1])+b'\\0'*6+bytes(["
            "192,168,100,1]))\"");
        io.run_for(std::chrono::milliseconds(500));
        found.expect(collect.all.size() == 1, "heard " + std::to_string(collect.all.size()));
        if (collect.all.empty()) return;
        found.expect(collect.all[0].reason == "arp" && !collect.all[0].guest.is_zero(),
                     "reason " + collect.all[0].reason);
        found.expect(collect.all[0].source == IpAddress{ip("192.168.100.1")},
                     "source " + to_string(collect.all[0].source));
        log.close();
        io.run_for(std::chrono::milliseconds(50));
    });
}
