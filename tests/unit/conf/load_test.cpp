#include "conf/load.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "text.hpp"

using namespace vmrouter;
using namespace vmrouter::conf;
using namespace vmrouter::conf::test;
using namespace std::chrono_literals;

namespace {

const std::string segment = "network.bridge = \"br0\"\n";

Loaded load_every_key() {
    return load_file(VMROUTER_TEST_DATA "/conf/every_key.toml");
}

}  // namespace

TEST_CASE("A file that names a segment and nothing else gives the defaults") {
    const auto loaded = load_text(segment, "vm.toml");
    CHECK(text_of(loaded.errors) == "");
    CHECK(text_of(loaded.warnings) == "");
    Config expected;
    expected.network.bridge = "br0";
    expected.control.sandbox = loaded.config.control.sandbox;  // off while it is not there: see availability_test
    CHECK(loaded.config == expected);
    CHECK(segment_name(loaded.config) == "br0");
    CHECK(instance_name(loaded.config) == "br0");
    CHECK(instance_name(Config{}) == "usermode");
}

TEST_CASE("Every key of network and firewall is read") {
    const auto loaded = load_every_key();
    REQUIRE(text_of(loaded.errors) == "");
    const Network& network = loaded.config.network;
    CHECK(network.bridge == "br-lab");
    CHECK(network.address == Cidr::parse("10.9.0.1/22"));
    CHECK(network.stp);
    CHECK(network.isolate_guests);
    CHECK(network.mtu == 1400);

    const Firewall& firewall = loaded.config.firewall;
    CHECK(firewall.uplink == std::vector<std::string>{"eth0", "wlan0"});
    CHECK(firewall.lan == Firewall::Lan::Allow);
    CHECK(firewall.block == std::vector{*Cidr::parse("203.0.113.0/24"), *Cidr::parse("198.51.100.7")});
    REQUIRE(firewall.allow.size() == 5);
    CHECK(firewall.allow[0] == Exception{*Cidr::parse("192.168.0.10"), {}, {}});
    CHECK(firewall.allow[1] == Exception{*Cidr::parse("192.168.0.10"), Protocol::Tcp, PortRange{445, 445}});
    CHECK(firewall.allow[2] == Exception{*Cidr::parse("10.1.0.0/16"), Protocol::Udp, PortRange{53, 53}});
    CHECK(firewall.allow[3] == Exception{*Cidr::parse("192.168.0.11"), Protocol::Tcp, {}});
    CHECK(firewall.allow[4] == Exception{*Cidr::parse("192.168.0.12"), Protocol::Tcp, PortRange{8000, 8080}});
    CHECK(firewall.open_host_ports == std::vector{PortSpec{Protocol::Tcp, 8080}, PortSpec{Protocol::Udp, 5353}});
    CHECK(firewall.source_guard == Firewall::SourceGuard::Lease);
    CHECK(firewall.allow_domains == std::vector{DomainPattern{"debian.org", true}, DomainPattern{"debian.org", false}});
    CHECK_FALSE(firewall.log_blocked);
    CHECK_FALSE(firewall.redirect_dns);
    CHECK(firewall.max_connections == 100);
    CHECK(firewall.mark == 0x80000000);

    REQUIRE(firewall.forward.size() == 3);
    CHECK(firewall.forward[0].listen == Forward::Listen{Protocol::Tcp, {}, 2222});
    CHECK(std::get<std::string>(firewall.forward[0].guest) == "web");
    CHECK(firewall.forward[0].port == 22);
    CHECK(firewall.forward[1].listen == Forward::Listen{Protocol::Udp, Ipv4{}, 5300});
    CHECK(std::get<MacAddress>(firewall.forward[1].guest) == MacAddress::parse("52:54:00:12:34:56"));
    CHECK(firewall.forward[2].listen == Forward::Listen{Protocol::Tcp, Ipv4{192, 168, 0, 5}, 8080});
    CHECK(std::get<Ipv4>(firewall.forward[2].guest) == Ipv4{10, 9, 0, 20});
}

TEST_CASE("Every key of dhcp is read") {
    const auto loaded = load_every_key();
    const Dhcp& dhcp = loaded.config.dhcp;
    CHECK(dhcp.range == Dhcp::Range{Ipv4{10, 9, 0, 2}, Ipv4{10, 9, 3, 254}});
    CHECK(dhcp.lease_time == 12h);
    CHECK(dhcp.renew_time == 1h);
    CHECK(dhcp.rebind_time == 2h);
    CHECK(dhcp.max_leases == 20U);
    CHECK(dhcp.max_leases_per_port == 100U);
    CHECK_FALSE(dhcp.authoritative);
    CHECK(dhcp.leases_file == "/tmp/leases");
    CHECK(dhcp.hosts_file == "/tmp/hostsfile");
    CHECK_FALSE(dhcp.checksum_fill);
    CHECK_FALSE(dhcp.no_override);
    CHECK(dhcp.identity == Dhcp::Identity::ClientId);
    CHECK_FALSE(dhcp.ping_check);
    CHECK(dhcp.rapid_commit);
    CHECK(dhcp.ntp_servers == std::vector{Ipv4{10, 9, 0, 5}});
    CHECK(dhcp.boot_server == "10.9.0.6");
    CHECK(dhcp.boot_file == "pxelinux.0");
    CHECK(dhcp.script == "/usr/local/bin/on-lease");
    REQUIRE(dhcp.options.size() == 4);
    CHECK(dhcp.options[2] == DhcpOption{224, {0x01, 0xff}});

    REQUIRE(dhcp.host.size() == 2);
    CHECK(dhcp.host[0].macs == std::vector{*MacAddress::parse("52:54:00:12:34:56")});
    CHECK(dhcp.host[0].address == Ipv4{10, 9, 0, 10});
    CHECK(dhcp.host[0].name == "web");
    CHECK(dhcp.host[0].lease_time == infinite_lease);
    CHECK_FALSE(dhcp.host[0].ignore);
    CHECK(dhcp.host[1].macs.size() == 2);
    CHECK(dhcp.host[1].client_id == std::vector<std::uint8_t>{1, 0x52, 0x54, 0, 0, 0, 1});
    CHECK(dhcp.host[1].ignore);
}

TEST_CASE("Every key of dns and of the small tables is read") {
    const auto loaded = load_every_key();
    const Dns& dns = loaded.config.dns;
    const Ipv6 quad9 = *Ipv6::parse("2620:fe::fe");
    CHECK(dns.upstreams == std::vector{Endpoint{Ipv4{192, 168, 0, 1}, 53}, Endpoint{Ipv4{9, 9, 9, 9}, 5353},
                                       Endpoint{quad9, 53}, Endpoint{*Ipv6::parse("2620:fe::9"), 53}});
    CHECK(dns.resolv_file == "/run/resolv.conf");
    CHECK(dns.hosts_file == "/etc/hosts.vm");
    CHECK_FALSE(dns.strict_order);
    CHECK(dns.domain == "lab.example");
    CHECK_FALSE(dns.host_lookup);
    CHECK(dns.cache_size == 5);
    CHECK_FALSE(dns.serve_stale);
    CHECK_FALSE(dns.rebind_protection);
    CHECK_FALSE(dns.hide_lan_names);
    CHECK(dns.log_queries);
    CHECK(dns.records == std::vector{DnsRecord{"nas.lab.example", Ipv4{10, 9, 0, 5}},
                                     DnsRecord{"dual.lab.example", Ipv4{10, 9, 0, 7}},
                                     DnsRecord{"dual.lab.example", *Ipv6::parse("2001:db8::7")}});
    CHECK(dns.block_domains == std::vector{DomainPattern{"ads.example", false}, DomainPattern{"track.example", true}});
    CHECK(dns.block_files == std::vector<std::string>{"/etc/blocklist"});
    REQUIRE(dns.route.size() == 1);
    CHECK(dns.route[0] == DnsRoute{"corp.example", {Endpoint{Ipv4{10, 20, 0, 53}, 53}}});
    CHECK(loaded.config.log.level == Log::Level::Debug);
    CHECK(loaded.config.control.socket == "/run/lab.sock");
}

TEST_CASE("All mistakes are reported at once and in file order") {
    CHECK(errors_of("[network]\n"
                    "address = \"192.168.100.1/24\"\n"
                    "adress  = \"auto\"\n"
                    "bridge  = \"br 0\"\n"
                    "mtu     = 100\n"
                    "\n"
                    "[dhcp]\n"
                    "enabled = 1\n"
                    "range   = [\"192.168.100.2\", \"192.168.101.254\"]\n"
                    "[firewall]\n"
                    "lan     = \"blok\"\n"
                    "block   = [\"10.0.0.0/8\", \"10.0.0.0/33\", \"10.1.2.3/8\"]\n") ==
          "vm.toml:3:1: unknown key 'network.adress'\n"
          "  hint: did you mean 'network.address'?\n"
          "vm.toml:4:11: network.bridge is \"br 0\"; it must be an interface name\n"
          "  hint: 1 to 15 letters, digits, '.', '_' or '-'\n"
          "vm.toml:5:11: network.mtu is 100; it must be a number from 576 to 9000, or \"auto\"\n"
          "vm.toml:8:11: dhcp.enabled is 1; it must be true or false\n"
          "vm.toml:9:11: dhcp.range ends at 192.168.101.254, outside network.address 192.168.100.1/24\n"
          "  hint: choose an address from 192.168.100.2 to 192.168.100.254\n"
          "vm.toml:11:11: firewall.lan is \"blok\"; it must be \"block\" or \"allow\"\n"
          "  hint: did you mean \"block\"?\n"
          "vm.toml:12:26: firewall.block has \"10.0.0.0/33\"; each must be a network such as \"10.0.0.0/8\"\n"
          "vm.toml:12:41: firewall.block has \"10.1.2.3/8\", an address with a prefix that cuts it short\n"
          "  hint: write \"10.0.0.0/8\" or \"10.1.2.3\"\n");
}

TEST_CASE("A syntax error is one message with its place") {
    const auto text = errors_of("[network]\nbridge = br0\n");
    CHECK(text.find("vm.toml:2:10: ") == 0);
    for (const auto* cut : {"[", "[\n", "[[", "[a", "a", "a =", "a = [", "a = {", "a = \"", "a.", "\"", "a = [1,",
                            "\xc3\xa9 = 1", "a = \xce\x9d"}) {
        CAPTURE(cut);
        CHECK(errors_of(cut).find("vm.toml:1:") == 0);
    }
    CHECK(errors_of("[network]\nbridge = \"a\"\nbridge = \"b\"\n").find("vm.toml:3:") == 0);
}

TEST_CASE("Unknown names are answered with the nearest known one or with where it belongs") {
    CHECK(errors_of(segment + "[dchp]\n") == "vm.toml:2:2: unknown table 'dchp'\n  hint: did you mean 'dhcp'?\n");
    CHECK(errors_of(segment + "[dns]\nlease_time = \"1h\"\n") ==
          "vm.toml:3:1: unknown key 'dns.lease_time'\n  hint: 'lease_time' belongs below [dhcp]\n");
    CHECK(errors_of(segment + "bridge = \"br1\"\n") ==
          "vm.toml:2:1: unknown key 'bridge'\n  hint: 'bridge' belongs below [network]\n");
    CHECK(errors_of(segment + "[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\nadress = \"1\"\nname = \"a\"\n") ==
          "vm.toml:4:1: unknown key 'dhcp.host.adress'\n  hint: did you mean 'dhcp.host.address'?\n");
    CHECK(errors_of(segment + "[foo]\n") == "vm.toml:2:2: unknown table 'foo'\n");
    CHECK(errors_of(segment + "\"\\u001b[31m\" = 1\n") == "vm.toml:2:1: unknown key '\\x1b[31m'\n");
}

TEST_CASE("A table of the wrong kind says how it is written") {
    CHECK(errors_of(segment + "[dhcp.host]\nmac = \"52:54:00:12:34:56\"\n") ==
          "vm.toml:2:7: dhcp.host is a table; it must be a list of tables\n  hint: write [[dhcp.host]]\n");
    CHECK(errors_of(segment + "dhcp = 5\n") ==
          "vm.toml:2:8: dhcp is 5; it must be a table\n  hint: write [dhcp] once\n");
    CHECK(errors_of("[[network]]\nbridge = \"br0\"\n").find("vm.toml:1:") == 0);
    CHECK(errors_of(segment + "[firewall]\nforward = [1]\n").find("vm.toml:3:1: firewall.forward is a list;") == 0);
}

TEST_CASE("What a repeated table must have is asked for at its head") {
    CHECK(errors_of(segment + "[[firewall.forward]]\nlisten = \"tcp/22\"\nguest = \"52:54:00:12:34:56\"\n") ==
          "vm.toml:2:1: [[firewall.forward]] has no 'port'\n  hint: add port = PORT\n");
    CHECK(errors_of(segment + "[[dns.route]]\n") ==
          "vm.toml:2:1: [[dns.route]] has no 'domain'\n  hint: add domain = DOMAIN\n"
          "vm.toml:2:1: [[dns.route]] has no 'upstreams'\n  hint: add upstreams = [\"ADDRESS[:PORT]\", ...]\n");
}

TEST_CASE("Values of a wrong type are never converted") {
    for (const auto* wrong :
         {"dhcp.enabled = 1", "dhcp.enabled = \"true\"", "network.mtu = \"1400\"", "network.mtu = 1e3",
          "network.mtu = true", "network.bridge = 5", "firewall.block = \"10.0.0.0/8\"", "firewall.allow = [ 5]",
          "dhcp.lease_time = 3600", "dns.cache_size = 1.0", "dns.cache_size = -1", "log.level = 1",
          "firewall.lan = false", "dns.domain = 2020-01-01", "firewall.max_connections = 4294967296",
          "dns.records = []", "dhcp.range = \"all\""}) {
        CAPTURE(wrong);
        const bool is_bridge = std::string_view(wrong).starts_with("network.bridge");
        const auto loaded = load_text((is_bridge ? "network.stp = false\n" : segment) + wrong, "vm.toml");
        REQUIRE(loaded.errors.size() == 1);
        CHECK(loaded.errors[0].line == 2);
        CHECK(std::string_view(wrong).at(loaded.errors[0].column - 2) == ' ');
    }
}

TEST_CASE("A file that cannot be read is an error that names it") {
    const auto loaded = load_file("/nonexistent/vm.toml");
    REQUIRE(loaded.errors.size() == 1);
    CHECK(to_string(loaded.errors[0]).find("/nonexistent/vm.toml: ") == 0);
}

TEST_CASE("Flags override keys and say so in messages") {
    const std::vector<Override> flags = {{"network.address", "10.0.0.1/24", "--address"},
                                         {"firewall.lan", "allow", "--lan"},
                                         {"dhcp.lease_time", "12h", "--lease-time"},
                                         {"dhcp.enabled", "no", "--dhcp-enabled"},
                                         {"firewall.mark", "0x10", "--mark"},
                                         {"dhcp.ntp_servers", "10.0.0.5, 10.0.0.6", "--ntp-servers"},
                                         {"dns.upstreams", "auto", "--upstreams"},
                                         {"network.mtu", "1400", "--mtu"}};
    const auto loaded = load_text(segment + "dns.upstreams = [\"9.9.9.9\"]\n", "vm.toml", flags);
    CHECK(text_of(loaded.errors) == "");
    CHECK(loaded.config.network.address == Cidr::parse("10.0.0.1/24"));
    CHECK(loaded.config.firewall.lan == Firewall::Lan::Allow);
    CHECK(loaded.config.dhcp.lease_time == 12h);
    CHECK_FALSE(loaded.config.dhcp.enabled);
    CHECK(loaded.config.firewall.mark == 0x10);
    CHECK(loaded.config.dhcp.ntp_servers.size() == 2);
    CHECK_FALSE(loaded.config.dns.upstreams);
    CHECK(loaded.config.network.mtu == 1400);

    const std::vector<Override> wrong = {{"network.address", "10.0.0.1", "--address"},
                                         {"dhcp.enabled", "maybe", "--dhcp-enabled"}};
    CHECK(errors_of(segment + "[firewall]\nlan = 1\n", wrong) ==
          "vm.toml:3:7: firewall.lan is 1; it must be \"block\" or \"allow\"\n"
          "--address: network.address is \"10.0.0.1\"; it must be our address with its prefix length, such as "
          "\"192.168.100.1/24\", or \"auto\"\n"
          "  hint: did you mean \"10.0.0.1/24\"?\n"
          "--dhcp-enabled: dhcp.enabled is \"maybe\"; it must be true or false\n");
}

TEST_CASE("A flag that names the segment replaces the other kind in the file") {
    const std::vector<Override> flags = {{"network.interface", "eth1", "--iface"}};
    const auto loaded = load_text(segment, "vm.toml", flags);
    CHECK(text_of(loaded.errors) == "");
    CHECK_FALSE(loaded.config.network.bridge);
    CHECK(loaded.config.network.interface == "eth1");
    CHECK(load_defaults(flags).errors.empty());
    CHECK(load_defaults(flags).config.network.interface == "eth1");

    const std::vector<Override> both = {{"network.interface", "eth1", "--iface"},
                                        {"network.bridge", "br1", "--bridge"}};
    CHECK(load_defaults(both).config.network.bridge == "br1");
    CHECK(to_string(load_defaults({}).errors.at(0)).find("no segment is named") == 0);
}

TEST_CASE("Places are those of values and fall back to the table around them") {
    const auto loaded = load_text(
        "[network]\nbridge = \"br0\"\n[[dhcp.host]]\nmac = \"52:54:00:12:34:56\"\nname=\"a\"\n"
        "[firewall]\nblock = [\"10.0.0.0/8\"]\n",
        "vm.toml");
    CHECK(to_string(loaded.places.of("network.bridge")) == "vm.toml:2:10");
    CHECK(to_string(loaded.places.of("network.mtu")) == "vm.toml:1:2");
    CHECK(to_string(loaded.places.of("dhcp.host[0].name")) == "vm.toml:5:6");
    CHECK(to_string(loaded.places.of("dhcp.host[0].address")) == "vm.toml:3:1");
    CHECK(to_string(loaded.places.of("firewall.block[0]")) == "vm.toml:7:10");
    CHECK(to_string(loaded.places.of("dns.domain")) == "vm.toml");
    CHECK(loaded.places.contains("network.bridge"));
    CHECK_FALSE(loaded.places.contains("network.mtu"));
}

TEST_CASE("The shipped examples load without an error or a warning") {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(VMROUTER_SOURCE_DIR "/conf")) {
        if (entry.path().extension() != ".toml") continue;
        CAPTURE(entry.path());
        const auto loaded = load_file(entry.path().string());
        CHECK(loaded.errors.empty());
        CHECK(text_of(loaded.errors) == "");
        CHECK(text_of(loaded.warnings) == "");
        ++count;
    }
    CHECK(count >= 2);
    CHECK(load_file(VMROUTER_SOURCE_DIR "/conf/vm.toml").config.network.bridge == "virbr10");
}

TEST_CASE("What the shipped examples show in comments can be switched on") {
    for (const auto* example : {"/conf/vm.toml", "/conf/pi.toml"}) {
        const auto text = read_file(std::string(VMROUTER_SOURCE_DIR) + example);
        REQUIRE(text);
        std::string all_on;
        for (auto line : split(*text, '\n')) {
            const bool is_code =
                line.starts_with("# ") && (line.find(" = ") != std::string_view::npos || line.starts_with("# [["));
            if (is_code) line.remove_prefix(2);
            // The automatic address gives way to the explicit one that reservations need.
            if (line.starts_with("address = \"auto\"")) continue;
            all_on += std::string(line) + '\n';
        }
        CAPTURE(all_on);
        CHECK(errors_of(all_on) == "");
        CHECK(warnings_of(all_on) == "");
    }
}

TEST_CASE("The TOML blocks of the documentation load") {
    for (const auto* page : {"/README.md", "/ARCHITECTURE.md"}) {
        const auto text = read_file(std::string(VMROUTER_SOURCE_DIR) + page);
        if (!text) continue;
        std::string block;
        bool inside = false;
        for (const auto line : split(*text, '\n')) {
            if (inside && line.starts_with("```")) {
                const bool has_segment =
                    block.find("bridge") != std::string::npos || block.find("interface") != std::string::npos;
                const std::vector<Override> flags = {{"network.bridge", "br0", "--bridge"}};
                CAPTURE(page, block);
                CHECK(text_of(load_text(block, page, has_segment ? std::span<const Override>{} : flags).errors) == "");
                block.clear();
            }
            if (line.starts_with("```"))
                inside = !inside && line == "```toml";
            else if (inside)
                block += std::string(line) + '\n';
        }
    }
}
