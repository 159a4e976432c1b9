#include "conf/validate.hpp"

#include <catch2/catch.hpp>

#include "text.hpp"

using namespace vmrouter;
using namespace vmrouter::conf;
using namespace vmrouter::conf::test;

namespace {

const std::string segment = "network.bridge = \"br0\"\nnetwork.address = \"192.168.100.1/24\"\n";

/// The messages about a file whose first two lines name a segment and its address; the text begins on line 3.
std::string wrong(const std::string& text) {
    return errors_of(segment + text);
}

std::string doubtful(const std::string& text) {
    CHECK(errors_of(segment + text) == "");
    return warnings_of(segment + text);
}

}  // namespace

TEST_CASE("Exactly one of bridge and interface names the segment") {
    CHECK(errors_of("[network]\nbridge = \"br0\"\ninterface = \"eth1\"\n") ==
          "vm.toml:3:13: network.bridge and network.interface are both given\n  hint: remove one of them\n");
    CHECK(errors_of("[network]\ninterface = \"eth1\"\nbridge = \"br0\"\n").find("vm.toml:3:10: ") == 0);
    CHECK(errors_of("[network]\nmtu = 1400\n") ==
          "vm.toml:1:2: no segment is named: neither network.bridge nor network.interface is given\n"
          "  hint: add bridge = \"virbr10\" below [network]\n");
    CHECK(errors_of("").find("vm.toml: no segment is named") == 0);
    CHECK(errors_of("[[usermode]]\nuser = \"qemu\"\n") == "");
    CHECK(errors_of("[network]\ninterface = \"eth1\"\nstp = true\n") ==
          "vm.toml:3:7: network.stp is true, but a spanning tree needs network.bridge\n");
}

TEST_CASE("Interface names are those the kernel and rule sets take") {
    for (const auto* good : {"virbr10", "enx001122334455", "br-lan.7"})
        CHECK(errors_of(std::string("network.bridge = \"") + good + '"') == "");
    for (const auto* bad : {"", "sixteen-letters-", "a b", "a/b", "..", "-x", "lo", "all", "default", "br:0"})
        CHECK(errors_of(std::string("network.bridge = \"") + bad + '"').find("vm.toml:1:18: network.bridge is") == 0);
}

TEST_CASE("Our address is a host's address in a network that guests can use") {
    const auto address = [](const std::string& text) {
        return errors_of("[network]\nbridge = \"br0\"\naddress = \"" + text + "\"\n");
    };
    for (const auto* good : {"10.0.0.1/8", "192.168.7.9/29", "172.16.0.6/30", "auto"}) CHECK(address(good) == "");
    CHECK(address("192.168.100.0/24") ==
          "vm.toml:3:11: network.address is \"192.168.100.0/24\", the network itself\n"
          "  hint: did you mean \"192.168.100.1/24\"?\n");
    CHECK(address("192.168.100.255/24").find("the broadcast address") != std::string::npos);
    CHECK(address("192.168.100.1/31").find("must be from 8 to 30") != std::string::npos);
    CHECK(address("192.168.100.1/32").find("must be from 8 to 30") != std::string::npos);
    CHECK(address("10.0.0.1/7").find("must be from 8 to 30") != std::string::npos);
    for (const auto* bad : {"127.0.0.1/8", "224.0.0.1/24", "169.254.1.1/16", "0.0.0.1/8", "250.0.0.1/24"})
        CHECK(address(bad).find("which guests cannot use") != std::string::npos);
    CHECK(warnings_of("network.bridge = \"b\"\nnetwork.address = \"8.8.8.1/24\"\n")
              .find("vm.toml:2:19: network.address 8.8.8.1/24 is public") == 0);
}

TEST_CASE("The range lies inside the subnet and may contain our address") {
    CHECK(wrong("dhcp.range = [\"192.168.100.1\", \"192.168.100.254\"]") == "");
    CHECK(wrong("dhcp.range = [\"192.168.99.1\", \"192.168.100.254\"]") ==
          "vm.toml:3:14: dhcp.range begins at 192.168.99.1, outside network.address 192.168.100.1/24\n"
          "  hint: choose an address from 192.168.100.2 to 192.168.100.254\n");
    CHECK(wrong("dhcp.range = [\"192.168.100.0\", \"192.168.100.9\"]").find("the network itself") != std::string::npos);
    CHECK(wrong("dhcp.range = [\"192.168.100.2\", \"192.168.100.255\"]").find("the broadcast") != std::string::npos);
    CHECK(wrong("dhcp.range = [\"192.168.100.9\", \"192.168.100.2\"]") ==
          "vm.toml:3:14: dhcp.range begins at 192.168.100.9, after its end at 192.168.100.2\n");
    CHECK(wrong("dhcp.range = [\"192.168.100.1\", \"192.168.100.1\"]").find("nothing but our own") !=
          std::string::npos);
    CHECK(wrong("dhcp.range = [\"192.168.100.2\"]").find("vm.toml:3:14: dhcp.range is a list; it must be") == 0);
    CHECK(wrong("dhcp.range = [\"192.168.100.2\", \"x\"]").find("vm.toml:3:32: dhcp.range has \"x\"") == 0);
}

TEST_CASE("Reservations lie inside the subnet and are not ours") {
    const auto host = [](const std::string& address) {
        return wrong("[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\naddress = \"" + address + "\"\n");
    };
    CHECK(host("192.168.100.10") == "");
    CHECK(host("192.168.101.10").find("vm.toml:5:11: dhcp.host.address is 192.168.101.10, outside network.address") ==
          0);
    CHECK(host("192.168.100.1").find("our own address") != std::string::npos);
    CHECK(host("192.168.100.255").find("the network or broadcast address of 192.168.100.0/24") != std::string::npos);
    CHECK(host("224.0.0.1").find("it must be the IPv4 address of a host") != std::string::npos);
}

TEST_CASE("With an automatic address explicit guest addresses are doubtful and are checked once it is chosen") {
    const std::string text =
        "[network]\nbridge = \"br0\"\n[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\naddress = \"192.168.100.10\"\n";
    CHECK(warnings_of(text) ==
          "vm.toml:5:11: dhcp.host.address counts on a network that network.address = \"auto\" may not choose\n"
          "  hint: set network.address, so that it cannot move away\n");
    const auto loaded = load_text(text, "vm.toml");
    CHECK(check_addresses(loaded.config, *Cidr::parse("192.168.100.1/24"), loaded.places).empty());
    CHECK(text_of(check_addresses(loaded.config, *Cidr::parse("192.168.101.1/24"), loaded.places))
              .find("vm.toml:5:11: dhcp.host.address is 192.168.100.10, outside network.address 192.168.101.1/24") ==
          0);
}

TEST_CASE("Two reservations share neither MAC nor client-id nor address nor name") {
    CHECK(wrong("[[dhcp.host]]\n"
                "mac = \"52:54:00:12:34:56\"\n"
                "address = \"192.168.100.10\"\n"
                "name = \"web\"\n"
                "client_id = \"01:02\"\n"
                "[[dhcp.host]]\n"
                "mac = [\"52:54:00:12:34:57\", \"52:54:00:12:34:56\"]\n"
                "address = \"192.168.100.10\"\n"
                "name = \"WEB\"\n"
                "client_id = \"0102:\"\n")
              .find("vm.toml:12:13: dhcp.host.client_id is \"0102:\"; it must be") == 0);
    CHECK(wrong("[[dhcp.host]]\n"
                "mac = \"52:54:00:12:34:56\"\n"
                "address = \"192.168.100.10\"\n"
                "name = \"web\"\n"
                "client_id = \"01:02\"\n"
                "[[dhcp.host]]\n"
                "mac = [\"52:54:00:12:34:57\", \"52:54:00:12:34:56\"]\n"
                "address = \"192.168.100.10\"\n"
                "name = \"WEB\"\n"
                "client_id = \"01:02\"\n") ==
          "vm.toml:9:7: dhcp.host.mac is 52:54:00:12:34:56, which is reserved already\n"
          "  hint: it is also at vm.toml:4:7\n"
          "vm.toml:10:11: dhcp.host.address is 192.168.100.10, which is reserved already\n"
          "  hint: it is also at vm.toml:5:11\n"
          "vm.toml:11:8: dhcp.host.name is \"web\", which is reserved already\n"
          "  hint: it is also at vm.toml:6:8\n"
          "vm.toml:12:13: dhcp.host.client_id is 01:02, which is reserved already\n"
          "  hint: it is also at vm.toml:7:13\n");
    CHECK(wrong("[[dhcp.host]]\nmac = [\"52:54:00:12:34:56\", \"52:54:00:12:34:56\"]\nname = \"a\"\n") ==
          "vm.toml:4:7: dhcp.host.mac has 52:54:00:12:34:56 twice\n");
}

TEST_CASE("A reservation says whom it is for and what it does") {
    CHECK(wrong("[[dhcp.host]]\nname = \"web\"\n").find("vm.toml:3:1: dhcp.host says nothing about whom") == 0);
    CHECK(doubtful("[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\n").find("vm.toml:3:1: dhcp.host has no effect") == 0);
    CHECK(doubtful("[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\nignore = true\n") == "");
    for (const auto* bad :
         {"52-54-00-12-34-56", "525400123456", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "01:00:5e:00:00:01"})
        CHECK(wrong(std::string("[[dhcp.host]]\nname = \"a\"\nmac = \"") + bad + "\"\n")
                  .find("vm.toml:5:7: dhcp.host.mac") == 0);
}

TEST_CASE("Host names follow RFC 1123") {
    const auto name = [](const std::string& text) {
        return wrong("[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\nname = \"" + text + "\"\n");
    };
    for (const auto* good : {"web", "3com", "a-b", "X"}) CHECK(name(good) == "");
    for (const auto* bad : {"", "-a", "a-", "a_b", "a b", "*", "localhost"})
        CHECK(name(bad).find("vm.toml:5:8: dhcp.host.name is") == 0);
    CHECK(name(std::string(64, 'a')) != "");
    CHECK(name("web.vm.internal").find("hint: write \"web\"") != std::string::npos);
}

TEST_CASE("Renewal comes before rebinding and rebinding before the end of the lease") {
    CHECK(wrong("dhcp.lease_time = \"2m\"") == "");
    CHECK(wrong("dhcp.lease_time = \"infinite\"") == "");
    CHECK(wrong("dhcp.lease_time = \"119s\"") ==
          "vm.toml:3:19: dhcp.lease_time is \"119s\"; a lease lasts at least 2m\n");
    CHECK(wrong("dhcp.lease_time = \"60000d\"").find("hint: write \"infinite\"") != std::string::npos);
    CHECK(wrong("dhcp.renew_time = \"20m\"\ndhcp.rebind_time = \"40m\"") == "");
    CHECK(wrong("dhcp.renew_time = \"55m\"") ==
          "vm.toml:3:19: dhcp.renew_time is 55m, not before seven eighths of the lease after 3150s\n");
    CHECK(
        wrong("dhcp.rebind_time = \"20m\"") ==
        "vm.toml:3:20: dhcp.rebind_time is 20m, not after half of the lease, 30m\n  hint: give dhcp.renew_time too\n");
    CHECK(wrong("dhcp.rebind_time = \"1h\"") ==
          "vm.toml:3:20: dhcp.rebind_time is 1h, not before the lease ends after 1h (dhcp.lease_time)\n");
    CHECK(
        wrong("dhcp.renew_time = \"40m\"\ndhcp.rebind_time = \"40m\"").find("not before dhcp.rebind_time after 40m") !=
        std::string::npos);
    CHECK(wrong("dhcp.lease_time = \"infinite\"\ndhcp.renew_time = \"1h\"")
              .find("vm.toml:4:19: dhcp.renew_time is given") == 0);
    CHECK(wrong("dhcp.renew_time = \"0s\"").find("outside what the protocol can say") != std::string::npos);
}

TEST_CASE("A forward goes to a reserved name or a MAC or an address of the segment") {
    const auto forward = [](const std::string& guest, const std::string& more = {}) {
        return wrong("[[firewall.forward]]\nlisten = \"tcp/2222\"\nport = 22\nguest = \"" + guest + "\"\n" + more);
    };
    const std::string host = "[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\nname = \"web\"\n";
    CHECK(forward("52:54:00:12:34:56") == "");
    CHECK(forward("192.168.100.7") == "");
    CHECK(forward("Web", host) == "");
    CHECK(forward("wbe", host) ==
          "vm.toml:6:9: firewall.forward.guest is \"wbe\", which no [[dhcp.host]] is called\n  hint: did you mean "
          "\"web\"?\n");
    CHECK(forward("web").find("add a [[dhcp.host]] with that name") != std::string::npos);
    CHECK(forward("web", "[dhcp]\nhosts_file = \"/etc/hostsfile\"\n") == "");
    CHECK(forward("192.168.101.7").find("vm.toml:6:9: firewall.forward.guest is 192.168.101.7, outside") == 0);
    CHECK(forward("192.168.100.1").find("our own address") != std::string::npos);
    CHECK(forward("a_b").find("it must be a reserved name, a MAC or an address") != std::string::npos);
}

TEST_CASE("Two forwards do not listen at one place") {
    const auto forwards = [](const std::string& first, const std::string& second) {
        const std::string rest = "\"\nguest = \"52:54:00:12:34:56\"\nport = 22\n";
        return wrong("[[firewall.forward]]\nlisten = \"" + first + rest + "[[firewall.forward]]\nlisten = \"" + second +
                     rest);
    };
    CHECK(forwards("tcp/2222", "udp/2222") == "");
    CHECK(forwards("tcp/2222", "tcp/192.168.0.5:2222") == "");
    CHECK(forwards("tcp/2222", "tcp/127.0.0.1:2222") ==
          "vm.toml:8:10: firewall.forward.listen is \"tcp/127.0.0.1:2222\", which another forward takes\n"
          "  hint: it is also at vm.toml:4:10\n");
    CHECK(forwards("tcp/0.0.0.0:2222", "tcp/2222") != "");
    CHECK(forwards("tcp/2222", "tcp/224.0.0.1:22").find("no host can have that address") != std::string::npos);
    for (const auto* bad : {"2222", "tcp", "tcp/0", "tcp/65536", "icmp/1", "tcp/x:1", "tcp/1.2.3.4", "tcp/[::]:22"})
        CHECK(forwards("tcp/2222", bad).find("vm.toml:8:10: firewall.forward.listen is") == 0);
}

TEST_CASE("Uplinks are other interfaces than the segment") {
    CHECK(wrong("firewall.uplink = \"wg0\"") == "");
    CHECK(wrong("firewall.uplink = [\"vpn+1\", \"a;b\"]") == "");
    CHECK(wrong("firewall.uplink = \"eth0:1\"").find("without a slash, a colon") != std::string::npos);
    CHECK(wrong("firewall.uplink = [\"eth0\", \"br0\"]") ==
          "vm.toml:3:19: firewall.uplink names \"br0\", the segment itself\n");
    CHECK(wrong("firewall.uplink = [\"eth0\", \"eth0\"]").find("twice") != std::string::npos);
    CHECK(wrong("firewall.uplink = []").find("it must be a list of at least one, or \"auto\"") != std::string::npos);
    CHECK(doubtful("firewall.uplink = \"wg0\"\nfirewall.internet = false").find("has no effect") != std::string::npos);
}

TEST_CASE("Firewall values are exact") {
    for (const auto* bad :
         {"firewall.mark = 0", "firewall.mark = 3", "firewall.mark = 0x100000000", "firewall.mark = -1"})
        CHECK(wrong(bad).find("vm.toml:3:17: firewall.mark is") == 0);
    CHECK(wrong("firewall.mark = 1") == "");
    CHECK(wrong("firewall.mark = 0x80000000") == "");
    CHECK(wrong("firewall.max_connections = 0").find("from 1 to 4294967295") != std::string::npos);
    for (const auto* bad :
         {"1.2.3.4:445", "1.2.3.4:tcp/", "1.2.3.4:tcp/0", "1.2.3.4:tcp/9-8", "::1", "1.2.3", "1.2.3.4/40"})
        CHECK(wrong(std::string("firewall.allow = [\"") + bad + "\"]").find("vm.toml:3:19: firewall.allow has") == 0);
    CHECK(wrong("firewall.open_host_ports = [\"tcp/70000\", \"8080\"]").find("vm.toml:3:29: ") == 0);
    CHECK(wrong("firewall.block = [\"0.0.0.0/0\"]").find("everything there is") != std::string::npos);
    CHECK(wrong("firewall.allow = [\"0.0.0.0/0\"]").find("everything there is") != std::string::npos);
    CHECK(wrong("firewall.allow = [\"10.0.0.0/8\"]\nfirewall.block = [\"10.0.0.0/8\"]") ==
          "vm.toml:3:19: 10.0.0.0/8 is both in firewall.allow and in firewall.block\n");
    CHECK(wrong("firewall.allow = [\"10.0.0.1\"]\nfirewall.block = [\"10.0.0.0/8\"]") == "");
    CHECK(wrong("firewall.source_guard = \"lease\"\ndhcp.enabled = false").find("nothing gives out leases") !=
          std::string::npos);
    CHECK(wrong("firewall.allow_domains = [\"a.b\"]\ndns.enabled = false").find("needs dns.enabled") !=
          std::string::npos);
}

TEST_CASE("DNS names and servers are legal") {
    for (const auto* bad :
         {"", ".", "a..b", "-a.b", "exa mple", "localhost", "vm.local", "x.onion", "100.168.192.in-addr.arpa"})
        CHECK(wrong(std::string("dns.domain = \"") + bad + '"').find("vm.toml:3:14: dns.domain is") == 0);
    for (const auto* good : {"vm.internal", "home.arpa", "lab.home.arpa", "lab", "_x.example."})
        CHECK(wrong(std::string("dns.domain = \"") + good + '"') == "");
    for (const auto* bad : {"dns.google", "0.0.0.0", "224.0.0.1", "255.255.255.255", "9.9.9.9:0", "::", "ff02::fb",
                            "fe80::1", "fe80::1%eth0", "[::1", "[::1]x", "[::1]:"})
        CHECK(wrong(std::string("dns.upstreams = [\"") + bad + "\"]").find("vm.toml:3:18: dns.upstreams has") == 0);
    CHECK(wrong("dns.upstreams = \"127.0.0.53\"") == "");
    CHECK(wrong("dns.upstreams = [\"192.168.100.1\"]").find("queries would go round in a circle") != std::string::npos);
    CHECK(wrong("dns.upstreams = [\"192.168.100.1:5353\"]") == "");
    CHECK(wrong("dns.block_domains = [\"a.b\", \"file:rel\"]").find("vm.toml:3:29: dns.block_domains has \"rel\"") ==
          0);
    CHECK(wrong("dns.records = { \"a b\" = \"1.2.3.4\" }").find("vm.toml:3:17: dns.records has \"a b\"") == 0);
    CHECK(wrong("dns.records = { \"a.b\" = \"1.2.3\" }").find("vm.toml:3:25: dns.records has \"1.2.3\"") == 0);
    CHECK(wrong("dns.records = { a.b = \"1.2.3.4\", \"A.b\" = \"1.2.3.4\" }").find("\"a.b\" twice") !=
          std::string::npos);
    CHECK(wrong("dns.cache_size = 0") == "");
}

TEST_CASE("Routes are for domains that are not ours and are given once") {
    CHECK(wrong("[[dns.route]]\ndomain = \"vm.internal\"\nupstreams = [\"1.1.1.1\"]\n").find("vm.toml:4:10: ") == 0);
    CHECK(wrong("[[dns.route]]\ndomain = \"a.b\"\nupstreams = [\"1.1.1.1\"]\n"
                "[[dns.route]]\ndomain = \"A.B.\"\nupstreams = [\"1.1.1.1\"]\n") ==
          "vm.toml:7:10: dns.route.domain is \"a.b\", which has a route already\n  hint: it is also at vm.toml:4:10\n");
    CHECK(wrong("[[dns.route]]\ndomain = \"a.b\"\nupstreams = []\n")
              .find("vm.toml:5:13: dns.route.upstreams is an empty") == 0);
    CHECK(wrong("[[dns.route]]\ndomain = \"a.b\"\nupstreams = [\"192.168.100.1\"]\n").find("circle") !=
          std::string::npos);
}

TEST_CASE("User-mode networking is never for root") {
    const auto user = [](const std::string& value) { return wrong("[[usermode]]\nuser = " + value + "\n"); };
    CHECK(user("\"qemu\"") == "");
    CHECK(user("1000") == "");
    CHECK(user("\"1000\"") == "");
    for (const auto* bad : {"0", "\"0\"", "\"root\"", "\"\"", "-1", "4294967295", "\"a b\"", "\"a:b\"", "true"})
        CHECK(user(bad).find("vm.toml:4:8: usermode.user is") == 0);
    CHECK(wrong("[[usermode]]\nuser = 7\n[[usermode]]\nuser = \"7\"\n").find("vm.toml:6:8: ") == 0);
    CHECK(errors_of("[[usermode]]\nuser = 7\n[[firewall.forward]]\nlisten=\"tcp/1\"\nguest=\"1.2.3.4\"\nport=1\n") ==
          "vm.toml:3:1: firewall.forward needs a segment\n"
          "  hint: user-mode QEMU publishes ports itself, with hostfwd\n");
    CHECK(warnings_of("[[usermode]]\nuser = 7\n[dhcp]\nrapid_commit = true\n")
              .find("vm.toml:3:2: [dhcp] has no effect") == 0);
}

TEST_CASE("Paths are absolute and sockets fit their address") {
    for (const auto* key : {"dhcp.leases_file", "dhcp.hosts_file", "dhcp.script", "dns.hosts_file", "control.socket"}) {
        CHECK(wrong(std::string(key) + " = \"\"") == "");
        CHECK(wrong(std::string(key) + " = \"/run/x\"") == "");
        CHECK(
            wrong(std::string(key) + " = \"run/x\"").find(std::string(key) + " is \"run/x\"; it must be an absolute") !=
            std::string::npos);
    }
    CHECK(wrong("dns.resolv_file = \"\"") != "");
    CHECK(wrong("control.socket = \"/" + std::string(107, 'a') + "\"").find("has 108 characters") != std::string::npos);
    CHECK(wrong("control.metrics = \"127.0.0.1\"").find("an address and a port") != std::string::npos);
    CHECK(warnings_of(segment + "control.metrics = \"0.0.0.0:9473\"").find("can be read by other machines") !=
          std::string::npos);
}

TEST_CASE("Keys of a service that is off are pointed out") {
    CHECK(doubtful("dns.enabled = false\ndns.domain = \"a.b\"") ==
          "vm.toml:4:14: dns.domain has no effect while dns.enabled is false\n");
    CHECK(doubtful("dhcp.enabled = false") == "");
    CHECK(doubtful("dhcp.enabled = false\ndhcp.checksum_fill = true") == "");  // for other servers on this host
}

TEST_CASE("Boot values fit the fields of the message") {
    CHECK(wrong("dhcp.boot_server = \"tftp.example\"\ndhcp.boot_file = \"a\"") == "");
    CHECK(wrong("dhcp.boot_server = \"" + std::string(64, 'a') + "\"") != "");
    CHECK(wrong("dhcp.boot_file = \"" + std::string(127, 'a') + "\"") == "");
    CHECK(wrong("dhcp.boot_file = \"" + std::string(128, 'a') + "\"").find("at most 127") != std::string::npos);
    CHECK(doubtful("dhcp.boot_server = \"10.0.0.1\"") == "");  // it is siaddr and option 66 by itself
}
