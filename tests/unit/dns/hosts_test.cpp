#include "dns/hosts.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

TEST_CASE("A hosts file becomes records and its bad lines are counted") {
    std::size_t bad = 0;
    const auto records = parse_hosts(
        "127.0.0.1\tlocalhost # us\n"
        "192.168.100.5  nas.example nas\r\n"
        "\n# nothing\n"
        "fd00::5 nas6\n"
        "fe80::1%eth0 zone\n"
        "192.168.100.6\n"
        "nonsense name\n"
        "1.2.3.4 good bad..name\n",
        &bad);
    REQUIRE(records.size() == 5);
    CHECK(records[1].name == name("nas.example"));
    CHECK(std::get<Ipv4>(records[2].address) == Ipv4(192, 168, 100, 5));
    CHECK(std::get<Ipv6>(records[3].address) == *Ipv6::parse("fd00::5"));
    CHECK(records[4].name == name("good"));
    CHECK(bad == 4);
}
