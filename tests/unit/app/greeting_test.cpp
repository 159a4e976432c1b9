#include "src/greeting.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;

TEST_CASE("The line about isolation says what this configuration refuses and opens") {
    conf::Config config;
    auto& firewall = config.firewall;
    CHECK(isolation_line(config, 1) ==
          "the LAN (1 network), this host and all IPv6; guests reach the internet and nothing else");
    CHECK(isolation_line(config, 3) ==
          "the LAN (3 networks), this host and all IPv6; guests reach the internet and nothing else");

    firewall.allow.resize(1);
    firewall.open_host_ports.resize(2);
    firewall.block.resize(1);
    CHECK(isolation_line(config, 2) ==
          "the LAN (2 networks), 1 network of firewall.block, this host and all IPv6; guests reach the internet, "
          "1 exception of firewall.allow and 2 services of firewall.open_host_ports and nothing else");

    config = {};
    firewall.lan = conf::Firewall::Lan::Allow;
    CHECK(isolation_line(config, 0) ==
          "this host and all IPv6; guests reach the internet and the LAN and nothing else");

    firewall.allow_domains.resize(1);
    CHECK(isolation_line(config, 0) ==
          "this host and all IPv6; guests reach 1 name of firewall.allow_domains and the LAN and nothing else");
}

TEST_CASE("A closed segment is said to reach nothing whatever else is configured") {
    conf::Config config;
    config.firewall.internet = false;
    config.firewall.lan = conf::Firewall::Lan::Allow;  // of no effect
    config.firewall.allow.resize(1);
    CHECK(isolation_line(config, 1) ==
          "the internet, the LAN (1 network), this host and all IPv6; guests reach nothing");
    config.firewall.open_host_ports.resize(1);
    CHECK(isolation_line(config, 1) ==
          "the internet, the LAN (1 network), this host and all IPv6; guests reach 1 service of "
          "firewall.open_host_ports and nothing else");
}
