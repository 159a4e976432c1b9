#include "dhcp/pool.hpp"

#include <catch2/catch.hpp>

#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::optional<Ipv4> choose(const Scene& scene, std::string_view hardware, std::optional<Ipv4> requested = {}) {
    return choose_free(scene.leases, scene.config, scene.reservations, hw(hardware), {}, requested);
}

void take(Scene& scene, Ipv4 address, std::string_view hardware = vm3) {
    Lease lease;
    lease.address = address;
    lease.hardware = hw(hardware);
    lease.expires = scene.now + Seconds{3600};
    REQUIRE(scene.leases.apply({Cause::Bind, address, lease}));
}

}  // namespace

TEST_CASE("A new client gets the address that dnsmasq would give it") {
    // Both measured with dnsmasq 2.90 and this range.
    const Scene scene;
    CHECK(choose(scene, "52:54:00:cc:00:01") == ip("192.168.100.197"));
    CHECK(choose(scene, "52:54:00:12:34:56") == ip("192.168.100.76"));
}

TEST_CASE("The address hash is never 0") {
    CHECK(address_hash({}) == 1);
    const std::vector<std::uint8_t> zeros(6);
    CHECK(address_hash(zeros) == 1);
}

TEST_CASE("A taken address leads to the next one and the last to the first") {
    Scene scene;
    take(scene, ip("192.168.100.197"));
    CHECK(choose(scene, "52:54:00:cc:00:01") == ip("192.168.100.198"));
    for (int i = 198; i <= 254; ++i) take(scene, ip("192.168.100." + std::to_string(i)));
    CHECK(choose(scene, "52:54:00:cc:00:01") == ip("192.168.100.2"));
}

TEST_CASE("Ours and reserved addresses and the edges of class C networks are never chosen") {
    Scene scene("192.168.100.0", "192.168.101.255");
    scene.config.address = Cidr::parse("192.168.100.1/23").value();
    scene.hosts("52:54:00:00:00:09,192.168.100.2\n");
    for (const auto* address :
         {"192.168.100.0", "192.168.100.1", "192.168.100.2", "192.168.100.255", "192.168.101.0", "192.168.101.255"})
        CHECK_FALSE(usable(scene.config, scene.reservations, ip(address)));
    CHECK(usable(scene.config, scene.reservations, ip("192.168.100.254")));
    std::size_t given = 0;
    while (const auto address = choose(scene, vm1)) {
        REQUIRE(usable(scene.config, scene.reservations, *address));
        take(scene, *address);
        ++given;
    }
    CHECK(given == 512 - 6);
}

TEST_CASE("Outside class C space only the edges of the network itself are left out") {
    Scene scene("10.0.0.0", "10.0.3.255");
    scene.config.address = Cidr::parse("10.0.0.1/22").value();
    CHECK(usable(scene.config, scene.reservations, ip("10.0.1.0")));
    CHECK(usable(scene.config, scene.reservations, ip("10.0.1.255")));
    CHECK_FALSE(usable(scene.config, scene.reservations, ip("10.0.0.0")));
    CHECK_FALSE(usable(scene.config, scene.reservations, ip("10.0.3.255")));
}

TEST_CASE("The address a client asks for is its own when it is free") {
    Scene scene;
    CHECK(choose(scene, vm1, ip("192.168.100.50")) == ip("192.168.100.50"));
    take(scene, ip("192.168.100.50"));
    CHECK(choose(scene, vm1, ip("192.168.100.50")) != ip("192.168.100.50"));
    CHECK(scene.config.range.contains(*choose(scene, vm1, ip("10.0.0.1"))));
    CHECK(choose(scene, vm1, ip("192.168.100.1")) != ip("192.168.100.1"));
}

TEST_CASE("The address that a client had comes before the one it asks for") {
    Scene scene;
    take(scene, ip("192.168.100.60"), vm1);
    scene.leases.apply({Cause::Release, ip("192.168.100.60"), std::nullopt});
    CHECK(choose(scene, vm1, ip("192.168.100.50")) == ip("192.168.100.60"));
}

TEST_CASE("Addresses that others had are given only when nothing else is left and the oldest first") {
    Scene scene("192.168.100.10", "192.168.100.13");
    for (const int last : {10, 11, 12, 13})
        take(scene, ip("192.168.100." + std::to_string(last)), "52:54:00:00:01:" + std::to_string(last));
    scene.leases.apply({Cause::Release, ip("192.168.100.12"), std::nullopt});
    scene.leases.apply({Cause::Release, ip("192.168.100.10"), std::nullopt});
    CHECK(choose(scene, vm1) == ip("192.168.100.12"));
    take(scene, ip("192.168.100.12"), vm1);
    CHECK(choose(scene, vm2) == ip("192.168.100.10"));
    CHECK(choose(scene, "52:54:00:00:01:10") == ip("192.168.100.10"));
    take(scene, ip("192.168.100.10"), vm2);
    CHECK_FALSE(choose(scene, vm3));
}

TEST_CASE("Reserved addresses that many had before keep no newcomer from those that are free") {
    Scene scene("192.168.96.2", "192.168.98.1");
    scene.config.address = Cidr::parse("192.168.96.1/20").value();
    scene.leases.set_range(scene.config.range, 4096);
    std::string lines;
    std::uint32_t number = 0;
    for (Ipv4 address = scene.config.range.first; address <= scene.config.range.last; ++address.value, ++number) {
        const std::string hardware =
            "02:00:00:00:" + std::to_string(number / 90 + 10) + ":" + std::to_string(number % 90 + 10);
        take(scene, address, hardware);
        if (number < 400) lines += hardware + "," + to_string(address) + "\n";
    }
    for (Ipv4 address = scene.config.range.first; address <= scene.config.range.last; ++address.value)
        scene.leases.apply({Cause::Release, address, std::nullopt});
    CHECK(choose(scene, vm1) == scene.config.range.first);
    scene.hosts(lines);
    CHECK(choose(scene, vm1) == Ipv4{scene.config.range.first.value + 400});
}
