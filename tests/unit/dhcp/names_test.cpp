#include "dhcp/names.hpp"

#include <catch2/catch.hpp>

#include "packets.hpp"
#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

NameChoice choose(const Scene& scene, const Message& message, std::string_view address = "192.168.100.50") {
    return choose_name(scene.leases, scene.config, scene.reservations,
                       scene.reservations.match(message.chaddr, message.client_id()), message, ip(address));
}

std::string fqdn(std::string_view request, std::string_view name = "vm1", std::string_view domain = "vm.internal") {
    return to_hex(encode_client_fqdn(from_hex(request), name, domain), "");
}

}  // namespace

TEST_CASE("A legal name is letters and digits and inner hyphens and underscores up to the first dot") {
    CHECK(legal_name("vm1") == "vm1");
    CHECK(legal_name("Fq.example.com") == "Fq");
    CHECK(legal_name("a_b-c") == "a_b-c");
    CHECK(legal_name(std::string_view{"vm1\0\0", 5}) == "vm1");
    CHECK(legal_name(std::string(63, 'a')) == std::string(63, 'a'));
    for (const auto* bad : {"", ".", "-a", "_a", "*", "a b", "a\n", "a\x1b[31m", "a-", "\xc3\xa4", "a/../b"})
        CHECK_FALSE(legal_name(bad));
    CHECK_FALSE(legal_name(std::string_view{"a\0b", 3}));
    CHECK_FALSE(legal_name(std::string(64, 'a')));
}

TEST_CASE("A client claims its name by option 81 in both encodings and else by option 12") {
    CHECK(claimed_name(discover(vm1).name("one")) == "one");
    CHECK(claimed_name(discover(vm1).name("one").bytes(81, from_hex("010000 74776f2e78"))) == "two.x");
    CHECK(claimed_name(discover(vm1).name("one").bytes(81, from_hex("050000 0374776f 0178 00"))) == "two");
    CHECK(claimed_name(discover(vm1).name("one").bytes(81, from_hex("050000"))) == "one");
    CHECK(claimed_name(discover(vm1).name("one").bytes(81, from_hex("050000 c00c"))) == "one");
    CHECK(claimed_name(discover(vm1).name("one").bytes(81, from_hex("0500"))) == "one");
    CHECK(claimed_name(discover(vm1)).empty());
}

TEST_CASE("A reserved name wins over what the client claims") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,web\n");
    const auto choice = choose(scene, discover(vm1).name("other"));
    CHECK(choice.name == "web");
    CHECK(choice.reserved);
}

TEST_CASE("A guest cannot take a name that others trust or that is not its own") {
    Scene scene;
    scene.config.refused_names = {"hypervisor"};
    scene.hosts("52:54:00:00:00:01,web\n");
    REQUIRE(scene.join(vm3, "db") != Ipv4{});
    const auto refusal = [&](std::string_view name) { return choose(scene, discover(vm2).name(name)).refusal; };
    CHECK(refusal("WPAD") == NameRefusal::Forbidden);
    CHECK(refusal("localhost.localdomain") == NameRefusal::Forbidden);
    CHECK(refusal("isatap") == NameRefusal::Forbidden);
    CHECK(refusal("Hypervisor") == NameRefusal::OurHost);
    CHECK(refusal("Web") == NameRefusal::Reserved);
    CHECK(refusal("DB") == NameRefusal::TakenByGuest);
    CHECK(refusal("bad name") == NameRefusal::Illegal);
    CHECK(refusal("fine") == NameRefusal::None);
    for (const auto* name : {"wpad", "web", "db", "bad name"})
        CHECK(choose(scene, discover(vm2).name(name)).name.empty());
    CHECK(choose(scene, discover(vm3).name("db")).name == "db");
}

TEST_CASE("The answer to option 81 says that the server does it all") {
    CHECK(fqdn("010000") ==
          "01ffff"
          "766d312e766d2e696e7465726e616c");
    CHECK(fqdn("000000") ==
          "03ffff"
          "766d312e766d2e696e7465726e616c");
    CHECK(fqdn("080000") ==
          "03ffff"
          "766d312e766d2e696e7465726e616c");
    CHECK(fqdn("090000") ==
          "03ffff"
          "766d312e766d2e696e7465726e616c");
    CHECK(fqdn("050000", "vm1", "vm.internal") ==
          "05ffff"
          "03766d31"
          "02766d"
          "08696e7465726e616c"
          "00");
    CHECK(fqdn("040000", "vm1", "") ==
          "07ffff"
          "03766d31"
          "00");
}
