// Exhaustion: a full pool, limits, an attacker with made-up hardware addresses, a disk that refuses.

#include "dhcp/lease_file.hpp"
#include "scene.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::string made_up(int number) {
    const std::vector<std::uint8_t> bytes{2,
                                          0xbb,
                                          0,
                                          static_cast<std::uint8_t>(number >> 16),
                                          static_cast<std::uint8_t>(number >> 8),
                                          static_cast<std::uint8_t>(number)};
    return to_hex(bytes);
}

Context through(const Message& message, int port) {
    Context context = Scene::broadcast(message);
    context.port = port;
    return context;
}

}  // namespace

TEST_CASE("max_leases refuses new clients and keeps the known ones") {
    Scene scene;
    scene.config.max_leases = 2;
    const auto first = scene.join(vm1);
    const auto offered = scene.send(discover(vm3)).reply->address;
    scene.join(vm2);
    const Decision decision = scene.send(discover("52:54:00:00:00:04"));
    CHECK(is_silent(decision, Silence::LeaseLimit));
    CHECK(warns(decision, Warning::Kind::LeaseLimit));
    CHECK(is_nak(scene.send(selecting(vm3, to_string(offered))), "no leases left"));
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(first))), MessageType::Ack));
    scene.send_unicast(release(vm1, to_string(first)));
    CHECK(scene.join(vm3) != Ipv4{});
}

TEST_CASE("That max_leases comes near is said once, before it is reached") {
    Scene scene;
    scene.config.max_leases = 10;
    for (int i = 1; i <= 10; ++i) {
        const auto address = scene.send(discover(made_up(i))).reply->address;
        const Decision ack = scene.send(selecting(made_up(i), to_string(address)));
        CHECK(warns(ack, Warning::Kind::LeaseLimit) == (i == 8));
        if (i == 8) CHECK(ack.warnings[0].text == "8 of 10 leases are given; raise dhcp.max_leases");
    }
}

TEST_CASE("A bridge port gets no more leases than its limit while other ports and renewals go on") {
    Scene scene;
    scene.config.max_leases_per_port = 4;
    const auto join_through = [&](std::string_view hardware, int port) {
        const Message first = discover(hardware);
        const Decision offer = scene.send(first, through(first, port));
        if (!offer.reply) return offer;
        const Message second = selecting(hardware, to_string(offer.reply->address));
        return scene.send(second, through(second, port));
    };
    const auto known = join_through(made_up(0), 7).reply->address;
    for (int i = 1; i < 4; ++i) REQUIRE(is(join_through(made_up(i), 7), MessageType::Ack));
    const Decision refused = join_through(made_up(4), 7);
    CHECK(is_silent(refused, Silence::PortLimit));
    REQUIRE(warns(refused, Warning::Kind::PortLimit));
    CHECK(refused.warnings[0].text.find("interface index 7") != std::string::npos);
    CHECK(is(join_through(vm1, 8), MessageType::Ack));
    const Message message = renewal(made_up(0), to_string(known));
    CHECK(is(scene.send(message, through(message, 7)), MessageType::Ack));
    // An address that is reserved is nobody else's loss.
    scene.hosts("52:54:00:00:00:02,192.168.100.10\n");
    CHECK(is(join_through(vm2, 7), MessageType::Ack));
}

TEST_CASE("Offers count against the limit of a port and are free again after seconds") {
    Scene scene;
    scene.config.max_leases_per_port = 4;
    int offers = 0;
    for (int i = 0; i < 1000; ++i) {
        const Message message = discover(made_up(i));
        if (scene.send(message, through(message, 7)).reply) ++offers;
    }
    CHECK(offers == 4);
    CHECK(scene.leases.size() == 4);
    const Message guest = discover(vm1);
    CHECK(is(scene.send(guest, through(guest, 8)), MessageType::Offer));
    scene.pass(Seconds{15});
    CHECK(scene.leases.size() == 0);
    CHECK(is(scene.send(guest, through(guest, 7)), MessageType::Offer));
}

TEST_CASE("All whose bridge port is not known share what one port has") {
    Scene scene;
    scene.config.ports_told = true;
    scene.config.max_leases_per_port = 4;
    int offers = 0;
    Decision refused;
    for (int i = 0; i < 1000; ++i) {
        const Message message = discover(made_up(i));
        const Decision decision = scene.send(message, through(message, 0));
        if (decision.reply) ++offers;
        if (!decision.reply) refused = decision;
    }
    CHECK(offers == 4);
    CHECK(scene.leases.size() == 4);
    CHECK(is_silent(refused, Silence::PortLimit));
    REQUIRE(warns(refused, Warning::Kind::PortLimit));
    CHECK(refused.warnings[0].text.find("its bridge port is not known") != std::string::npos);
    // Nobody else pays for it: not a known port, not a reservation, and after seconds not even an unknown port.
    const Message guest = discover(vm1);
    CHECK(is(scene.send(guest, through(guest, 8)), MessageType::Offer));
    scene.hosts("52:54:00:00:00:02,192.168.100.10\n");
    CHECK(is(scene.send(discover(vm2)), MessageType::Offer));
    scene.pass(Seconds{15});
    CHECK(scene.leases.size() == 0);
    CHECK(is(scene.send(discover(vm3)), MessageType::Offer));
}

TEST_CASE("An offer from before the port was known counts for the port that takes it up") {
    Scene scene;
    scene.config.ports_told = true;
    scene.config.max_leases_per_port = 4;
    std::vector<std::string> early;
    for (int i = 0; i < 4; ++i) {
        const Message message = discover(made_up(i));
        early.push_back(to_string(scene.send(message, through(message, 0)).reply->address));
    }
    for (int i = 10; i < 12; ++i) {
        const Message message = discover(made_up(i));
        CHECK(is(scene.send(message, through(message, 7)), MessageType::Offer));
    }
    int granted = 0;
    for (int i = 0; i < 4; ++i) {
        const Message message = selecting(made_up(i), early[static_cast<std::size_t>(i)]);
        if (is(scene.send(message, through(message, 7)), MessageType::Ack)) ++granted;
    }
    CHECK(granted == 2);
    CHECK(scene.leases.held_by_port(7) == 4);
}

TEST_CASE("A lease through a port that is not known yet is short until its renewal and a restart burdens nobody") {
    Scene scene;
    scene.config.ports_told = true;
    scene.config.max_leases_per_port = 1;
    const auto address = scene.join(vm1);
    CHECK(scene.leases.find(address)->expires == scene.now + Seconds{120});
    const Message renew = renewal(vm1, to_string(address));
    Context known = scene.unicast(renew);
    known.port = 7;
    CHECK(scene.send(renew, known).reply->lease_time == Seconds{3600});
    CHECK(scene.leases.held_by_port(0) == 0);
    CHECK(scene.leases.held_by_port(7) == 1);

    Lease from_disk = *scene.leases.find(address);
    from_disk.port = 0;
    from_disk.supplied_missing = true;
    scene.leases = LeaseTable{scene.config.range, 4096, 42};
    REQUIRE(scene.leases.restore(from_disk));
    CHECK(scene.leases.held_by_port(0) == 0);
    CHECK(is(scene.send(discover(vm3)), MessageType::Offer));
}

TEST_CASE("INIT-REBOOT with made-up addresses is held by the limit as well") {
    Scene scene;
    scene.config.max_leases_per_port = 4;
    int granted = 0;
    for (int i = 0; i < 200; ++i) {
        const Message message = init_reboot(made_up(i), "192.168.100." + std::to_string(2 + i));
        if (is(scene.send(message, through(message, 7)), MessageType::Ack)) ++granted;
    }
    CHECK(granted == 4);
}

TEST_CASE("One Ethernet address with many client-ids gets no more than its limit") {
    Scene scene;
    scene.config.identity = Identity::ClientId;
    scene.config.max_leases_per_sender = 3;
    int granted = 0;
    for (std::uint8_t i = 0; i < 50; ++i)
        if (!scene.join(vm1, {}, {0xff, i}).is_unspecified()) ++granted;
    CHECK(granted == 3);
    CHECK(is_silent(scene.send(discover(vm1).client_id({9, 9})), Silence::SenderLimit));
    CHECK(scene.join(vm2) != Ipv4{});
}

TEST_CASE("A relay is not held to the limit of one guest") {
    Scene scene;
    scene.config.max_leases_per_sender = 3;
    Context context;
    context.ethernet_source = mac(vm3);
    for (int i = 0; i < 20; ++i)
        CHECK(is(scene.send(init_reboot(made_up(i), "192.168.100." + std::to_string(50 + i)).giaddr("192.168.100.7"),
                            context),
                 MessageType::Ack));
}

TEST_CASE("An attacker that cannot be told apart gets short leases and known guests stay") {
    Scene scene;
    const auto known = scene.join(vm1, "web");
    int number = 0;
    const auto attack = [&] { return scene.join(made_up(number++)); };
    while (!attack().is_unspecified()) {
    }
    CHECK(scene.leases.used_in_range() == 253);
    CHECK(scene.leases.size() <= 4096);
    // The guest renews all the while, a new one waits until made-up leases end.
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(known))), MessageType::Ack));
    const Decision refused = scene.send(discover(vm2));
    CHECK(is_silent(refused, Silence::NoAddress));
    CHECK(warns(refused, Warning::Kind::PoolEmpty));
    scene.pass(Seconds{120});
    const auto late = scene.join(vm2);
    CHECK_FALSE(late.is_unspecified());
    CHECK(scene.leases.find(known) != nullptr);
    // It is new, so its lease is short at first; once it renews it is known.
    CHECK(scene.leases.find(late)->expires == scene.now + Seconds{120});
    CHECK(scene.send_unicast(renewal(vm2, to_string(late))).reply->lease_time == Seconds{3600});
    CHECK(scene.leases.find(late)->expires == scene.now + Seconds{3600});
}

TEST_CASE("A new guest whose port is known gets its full lease in a pool that runs low") {
    Scene scene("192.168.100.10", "192.168.100.19");
    for (int i = 0; i < 9; ++i) scene.join(made_up(i));
    const Message message = discover(vm1);
    CHECK(scene.send(message, through(message, 7)).reply->lease_time == Seconds{3600});
    CHECK(scene.send(discover(vm2)).silence == Silence::NoAddress);
}

TEST_CASE("The warning that the pool runs low comes once, when the mark is crossed") {
    Scene scene("192.168.100.10", "192.168.100.29");
    scene.hosts("52:54:00:00:00:09,192.168.100.10\n52:54:00:00:00:08,192.168.100.11\n");
    scene.join("52:54:00:00:00:09");  // reserved addresses are not of the pool
    const auto level = usage(scene.leases, scene.config, scene.reservations);
    CHECK(level.usable == 18);
    CHECK(level.used == 0);
    CHECK(level.leases == 1);
    std::vector<int> warned;
    for (int i = 1; i <= 18; ++i) {
        if (warns(scene.send(discover(made_up(i))), Warning::Kind::PoolLow)) warned.push_back(i);
        scene.send(discover(made_up(i)));
    }
    CHECK(warned == std::vector<int>{15});  // 80 % of 18 is 14.4
}

TEST_CASE(
    "What is used of the pool is counted by the reservations that there are, after a restart and a reload as well") {
    const auto level = [](const Scene& scene) {
        const PoolUsage usage = vmrouter::dhcp::usage(scene.leases, scene.config, scene.reservations);
        return std::pair{usage.used, usage.usable};
    };
    Scene scene("192.168.100.10", "192.168.100.19");
    scene.hosts(std::string(vm1) + ",192.168.100.10\n" + std::string(vm2) + ",192.168.100.11\n");
    scene.join(vm1);
    scene.join(vm2);
    scene.join(vm3);
    CHECK(level(scene) == std::pair<std::size_t, std::size_t>{1, 8});
    Scene restarted("192.168.100.10", "192.168.100.19");
    restarted.reservations = scene.reservations;
    scene.leases.for_each(
        [&](const Lease& lease) { restarted.leases.restore(parse_lease_file(lease_line(lease)).leases.at(0)); });
    CHECK(level(restarted) == std::pair<std::size_t, std::size_t>{1, 8});
    restarted.hosts("");
    CHECK(level(restarted) == std::pair<std::size_t, std::size_t>{3, 10});
    restarted.hosts("52:54:00:00:00:09," + to_string(scene.leases.by_hardware(hw(vm3)).at(0)->address) + "\n");
    CHECK(level(restarted) == std::pair<std::size_t, std::size_t>{2, 9});
}

TEST_CASE("While the disk refuses known leases are renewed and nothing new is granted") {
    Scene scene;
    const auto address = scene.join(vm1);
    const auto promised = scene.send(discover(vm3)).reply->address;
    const auto broken = [&](const Message& message, Context context) {
        context.storage_ok = false;
        return scene.send(message, context);
    };
    const Message renew = renewal(vm1, to_string(address));
    CHECK(is(broken(renew, scene.unicast(renew)), MessageType::Ack));
    const Decision refused = broken(discover(vm2), Scene::broadcast(discover(vm2)));
    CHECK(is_silent(refused, Silence::StorageBroken));
    CHECK(warns(refused, Warning::Kind::StorageBroken));
    const Message chosen = selecting(vm3, to_string(promised));
    CHECK(is_silent(broken(chosen, Scene::broadcast(chosen)), Silence::StorageBroken));
    CHECK(is(scene.send(chosen), MessageType::Ack));
}

TEST_CASE("A full table is an exhausted pool and not an accident") {
    Scene scene;
    scene.leases = LeaseTable{scene.config.range, 3, 1};
    for (int i = 0; i < 3; ++i) REQUIRE_FALSE(scene.join(made_up(i)).is_unspecified());
    CHECK(is_silent(scene.send(discover(vm1)), Silence::NoAddress));
    CHECK(is_nak(scene.send(selecting(vm1, "192.168.100.99")), "address not available"));
}

TEST_CASE("A guest that answers late for every address it is offered quarantines no more than a quarter of the pool") {
    Scene scene("192.168.100.10", "192.168.100.49");
    int warned = 0;
    for (int i = 0; i < 40; ++i) {
        const Decision offer = scene.send(discover(made_up(i)));
        REQUIRE(is(offer, MessageType::Offer));
        const Decision late = scene.applied(
            late_answer(scene.leases, scene.config, offer.reply->address, mac(made_up(i + 1)), scene.now));
        CHECK(warns(late, Warning::Kind::Conflict));
        if (warns(late, Warning::Kind::ProbesDistrusted)) ++warned;
        if (i >= 10) CHECK(late.changes.empty());  // the offer stands, and nobody else is given the address meanwhile
        if (i >= 20) scene.pass(Seconds{15});
    }
    CHECK(scene.leases.quarantined() == 10);
    CHECK(warned == 1);
    CHECK(scene.join(vm1) != Ipv4{});
    scene.pass(Seconds{600});
    CHECK(scene.leases.quarantined() == 0);
}

TEST_CASE("A guest that answers every probe keeps no newcomer out") {
    Scene scene("192.168.100.10", "192.168.100.49");
    scene.config.ping_check = true;
    std::size_t most_probes = 0;
    int warned = 0;
    for (int i = 0; i < 12; ++i) {
        const Message message = discover(made_up(i));
        Decision decision = scene.send(message);
        unsigned probes = 0;
        while (decision.probe && probes < 50) {
            ++probes;
            decision = scene.probed(message, {decision.probe->address, true, mac(vm3), probes});
            if (warns(decision, Warning::Kind::ProbesDistrusted)) ++warned;
        }
        most_probes = std::max<std::size_t>(most_probes, probes);
        INFO("newcomer " << i << " after " << probes << " probes");
        REQUIRE(is(decision, MessageType::Offer));
        CHECK(is(scene.send(selecting(made_up(i), to_string(decision.reply->address))), MessageType::Ack));
        if (i > 4) CHECK(probes == 0);
    }
    CHECK(most_probes == 3);
    CHECK(warned > 0);
    CHECK(scene.leases.quarantined() == 10);
    // Once quarantines end, answers count again.
    scene.pass(Seconds{600});
    CHECK(scene.send(discover(vm1)).probe);
}
