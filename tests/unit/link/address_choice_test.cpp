#include "src/address_choice.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/link/facts_builder.hpp"

namespace {

using namespace vmrouter;
using test::home;
using test::Host;

std::string chosen(const Host& host, std::optional<Cidr> remembered = std::nullopt, std::vector<Cidr> taken = {}) {
    const auto choice = choose_address(host.facts, "virbr10", remembered, taken);
    return choice ? to_string(choice->address) : "none";
}

}  // namespace

TEST_CASE("auto takes 192.168.100.1 on a machine where it is free") {
    CHECK(chosen(home()) == "192.168.100.1/24");
}

TEST_CASE("auto passes over networks of addresses and of routes in any table and of other instances") {
    Host host = home();
    host.link("eth1").address("eth1", "192.168.100.77/24");
    CHECK(chosen(host) == "192.168.101.1/24");
    host.route("192.168.101.128/25", "eth1", "192.168.100.1", 52);
    CHECK(chosen(host) == "192.168.102.1/24");
    CHECK(chosen(host, std::nullopt, {*Cidr::parse("192.168.102.1/24")}) == "192.168.103.1/24");
}

TEST_CASE("auto moves on to 172.16 and then to 10 and then gives up with a hint") {
    Host host = home();
    host.route("192.168.0.0/16", "eth0", "192.168.0.1");
    CHECK(chosen(host) == "172.16.0.1/24");
    host.route("172.16.0.0/12", "eth0", "192.168.0.1");
    CHECK(chosen(host) == "10.0.0.1/24");
    host.route("10.0.0.0/9", "eth0", "192.168.0.1");
    CHECK(chosen(host) == "10.128.0.1/24");
    host.route("10.0.0.0/8", "eth0", "192.168.0.1");
    const auto none = choose_address(host.facts, "virbr10", std::nullopt);
    REQUIRE_FALSE(none);
    CHECK_FALSE(none.error().hint.empty());
}

TEST_CASE("auto counts a network that the host refuses to route") {
    Host host = home();
    link::Route blackhole;
    blackhole.destination = *Cidr::parse("192.168.100.0/22");
    blackhole.type = link::RouteType::Refusing;
    host.facts.routes.push_back(blackhole);
    CHECK(chosen(host) == "192.168.104.1/24");
}

TEST_CASE("default routes and halves of them overlap nothing") {
    Host host = home();
    host.link("tun0").route("128.0.0.0/1", "tun0").route("default", "tun0", "", 51820);
    CHECK(chosen(host) == "192.168.100.1/24");
}

TEST_CASE("the remembered address is kept while it is free and a move is told") {
    Host host = home();
    const auto remembered = Cidr::parse("192.168.142.1/24");
    CHECK(chosen(host, remembered) == "192.168.142.1/24");
    host.link("wlan0").address("wlan0", "192.168.142.33/24");
    const auto moved = choose_address(host.facts, "virbr10", remembered);
    REQUIRE(moved);
    CHECK(to_string(moved->address) == "192.168.100.1/24");
    REQUIRE(moved->warnings.size() == 1);
    CHECK(moved->warnings[0].find("192.168.142.1/24") != std::string::npos);
}

TEST_CASE("what a killed instance left on the segment does not stand in its way") {
    Host host = home();
    host.link("virbr10", "bridge").address("virbr10", "192.168.100.1/24");
    CHECK(chosen(host) == "192.168.100.1/24");
    CHECK(chosen(host, Cidr::parse("192.168.100.1/24")) == "192.168.100.1/24");
    // ... but a network of somebody else's on the segment does, and so does the same one elsewhere
    host.address("virbr10", "192.168.101.9/24").link("eth1").address("eth1", "192.168.100.50/24");
    CHECK(chosen(host) == "192.168.102.1/24");
}

TEST_CASE("an explicit address is refused when the network is the host's already") {
    Host host = home();
    host.link("eth1").route("10.50.0.0/24", "eth1", "192.168.0.9");
    const auto same = check_address(host.facts, "virbr10", *Cidr::parse("10.50.0.1/24"));
    REQUIRE_FALSE(same);
    CHECK(same.error().what ==
          "10.50.0.1/24 is the route \"10.50.0.0/24 via 192.168.0.9 dev eth1\" of this machine already");
    CHECK(same.error().where == "network.address");
}

TEST_CASE("an explicit address is refused when it covers an address or a gateway of the host") {
    Host host = home();
    const auto own = check_address(host.facts, "virbr10", *Cidr::parse("192.168.0.1/29"));
    REQUIRE_FALSE(own);
    CHECK(own.error().what.find("this machine's address 192.168.0.7 on eth0") != std::string::npos);
    const auto gateway = check_address(host.facts, "virbr10", *Cidr::parse("192.168.0.2/30"));
    REQUIRE_FALSE(gateway);
    CHECK(gateway.error().what.find("the gateway 192.168.0.1 on eth0") != std::string::npos);
    CHECK_FALSE(check_address(host.facts, "virbr10", *Cidr::parse("192.0.0.1/8")));
}

TEST_CASE("an explicit address inside a wider network or around a narrower one is warned about") {
    Host host = home();
    const auto inside = check_address(host.facts, "virbr10", *Cidr::parse("192.168.0.129/26"));
    REQUIRE(inside);
    CHECK(to_string(inside->address) == "192.168.0.129/26");
    REQUIRE(inside->warnings.size() == 1);
    CHECK(
        inside->warnings[0] ==
        "192.168.0.128/26 is a part of the network of eth0 (192.168.0.0/24): this machine no longer reaches that part "
        "of it");
    host.route("10.9.3.0/24", "eth0", "192.168.0.1");
    const auto around = check_address(host.facts, "virbr10", *Cidr::parse("10.9.0.1/16"));
    REQUIRE(around);
    REQUIRE(around->warnings.size() == 1);
    CHECK(around->warnings[0].starts_with("10.9.3.0/24, the route"));
}

TEST_CASE("an explicit address that is free or on the segment already is taken without a word") {
    Host host = home();
    host.link("virbr10", "bridge").address("virbr10", "192.168.100.1/24");
    const auto choice = check_address(host.facts, "virbr10", *Cidr::parse("192.168.100.1/24"));
    REQUIRE(choice);
    CHECK(choice->warnings.empty());
    CHECK(check_address(host.facts, "virbr10", *Cidr::parse("10.1.2.3/30"))->warnings.empty());
}
