// DHCPDECLINE, DHCPRELEASE, DHCPINFORM and BOOTP.

#include "dhcp/server.hpp"

#include "dhcp/journal.hpp"
#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

TEST_CASE("A declined address is quarantined and said to be by whom") {
    Scene scene;
    const auto address = scene.join(vm1, "web");
    scene.leases.take_changes();
    const Decision decision = scene.send(decline(vm1, to_string(address)));
    CHECK(is_silent(decision, Silence::Done));
    REQUIRE(warns(decision, Warning::Kind::Declined));
    CHECK(decision.warnings[0].text ==
          to_string(address) +
              " declined by 52:54:00:00:00:01 (web): somebody else uses it; it stays out of the pool for 10m");
    CHECK(scene.leases.find(address)->state == LeaseState::Declined);
    CHECK(scene.leases.bound() == 0);
    CHECK(scene.leases.by_name("web") == nullptr);
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].cause == Cause::Decline);
    CHECK(scene.join(vm1) != address);
    CHECK(is_nak(scene.send(init_reboot(vm2, to_string(address))), "address in use"));
    scene.pass(Seconds{599});
    CHECK(scene.leases.find(address) != nullptr);
    scene.pass(Seconds{1});
    CHECK(scene.leases.find(address) == nullptr);
}

TEST_CASE("A declined reservation is replaced until its quarantine is over") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,192.168.100.10\n");
    scene.join(vm1);
    scene.send(decline(vm1, "192.168.100.10"));
    const auto other = scene.join(vm1);
    CHECK(other != ip("192.168.100.10"));
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(other))), MessageType::Ack));
    scene.pass(Seconds{600});
    CHECK(is_nak(scene.send_unicast(renewal(vm1, to_string(other))), "static lease available"));
    CHECK(scene.join(vm1) == ip("192.168.100.10"));
}

TEST_CASE("Only its holder can decline an address and only to us") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(is_silent(scene.send(decline(vm2, to_string(address))), Silence::NotTheHolder));
    CHECK(is_silent(scene.send(decline(vm2, "192.168.100.200")), Silence::NotTheHolder));
    CHECK(is_silent(
        scene.send(Builder{MessageType::Decline, vm1}.requested(to_string(address)).server("192.168.100.250")),
        Silence::OtherServer));
    CHECK(
        is_silent(scene.send(Builder{MessageType::Decline, vm1}.requested(to_string(address))), Silence::OtherServer));
    CHECK(is_silent(scene.send(Builder{MessageType::Decline, vm1}.server("192.168.100.1")), Silence::Malformed));
    const Message message = decline(vm1, to_string(address));
    Context context = Scene::broadcast(message);
    context.ethernet_source = mac(vm2);
    CHECK(is_silent(scene.send(message, context), Silence::ForgedSource));
    CHECK(scene.leases.find(address)->state == LeaseState::Bound);
}

TEST_CASE("Somebody who declines everything cannot quarantine more than a quarter of the pool") {
    Scene scene("192.168.100.10", "192.168.100.29");
    scene.config.max_leases_per_sender = 0;
    for (int i = 0; i < 40; ++i) {
        const auto address = scene.join(vm1);
        REQUIRE_FALSE(address.is_unspecified());
        scene.send(decline(vm1, to_string(address)));
    }
    CHECK(scene.leases.quarantined() == 5);
    CHECK(scene.join(vm2) != Ipv4{});
}

TEST_CASE("What a guest declined counts against its limit") {
    Scene scene;
    scene.config.max_leases_per_sender = 3;
    for (int i = 0; i < 3; ++i) scene.send(decline(vm1, to_string(scene.join(vm1))));
    CHECK(is_silent(scene.send(discover(vm1)), Silence::SenderLimit));
    CHECK(scene.join(vm2) != Ipv4{});
    scene.pass(Seconds{600});
    CHECK(scene.join(vm1) != Ipv4{});
}

TEST_CASE("A release frees the lease and its client gets the address back later") {
    Scene scene;
    const auto address = scene.join(vm1, "web");
    scene.leases.take_changes();
    const Decision decision = scene.send_unicast(release(vm1, to_string(address)));
    CHECK(is_silent(decision, Silence::Done));
    CHECK(decision.note.line() == "RELEASE " + to_string(address) + " from 52:54:00:00:00:01 (web)");
    CHECK(scene.leases.find(address) == nullptr);
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].cause == Cause::Release);
    CHECK(scene.join(vm1) == address);
}

TEST_CASE("A release without option 54 counts when the holder sends it to our address") {
    Scene scene;
    const auto address = scene.join(vm1);
    const Message message = Builder{MessageType::Release, vm1}.ciaddr(to_string(address));
    CHECK(is_silent(scene.send(message), Silence::OtherServer));  // broadcast
    Context context = scene.unicast(message);
    context.source = ip("192.168.100.200");
    CHECK(is_silent(scene.send(message, context), Silence::OtherServer));
    context = scene.unicast(message);
    context.destination = ip("192.168.100.250");
    CHECK(is_silent(scene.send(message, context), Silence::OtherServer));
    CHECK(scene.leases.find(address) != nullptr);
    CHECK(is_silent(scene.send_unicast(message), Silence::Done));
    CHECK(scene.leases.find(address) == nullptr);
    REQUIRE(scene.join(vm1) == address);
    context = scene.unicast(message);
    context.source = {};  // a client that took the address off its interface first
    CHECK(is_silent(scene.send(message, context), Silence::Done));
    CHECK(scene.leases.find(address) == nullptr);
}

TEST_CASE("A guest that plays relay ends and takes nobody's lease, before and after a restart") {
    Scene scene;
    const auto address = scene.join(vm1);
    const auto attack = [&](Message message, Silence expected) {
        message.giaddr = ip("192.168.100.66");
        Context context = scene.unicast(message);
        context.ethernet_source = mac(vm2);
        CHECK(is_silent(scene.send(message, context), expected));
        REQUIRE(scene.leases.find(address) != nullptr);
        CHECK(scene.leases.find(address)->state == LeaseState::Bound);
    };
    for (const bool restarted : {false, true}) {
        attack(release(vm1, to_string(address)), Silence::NotTheHolder);
        attack(decline(vm1, to_string(address)), Silence::NotTheHolder);
        attack(selecting(vm1, to_string(address)), Silence::LocalClient);
        attack(discover(vm1), Silence::LocalClient);
        if (restarted) break;
        const auto journal = parse_journal(journal_header() + journal_line(*scene.leases.find(address)));
        scene.leases = LeaseTable{scene.config.range, 4096, 42};
        REQUIRE(scene.leases.restore(journal.records.at(0).lease.value()));
    }
}

TEST_CASE("A client behind a relay can end its lease through that relay after a restart as well") {
    Scene scene;
    const auto through = [&](Message message, std::string_view relay) {
        message.giaddr = ip(relay);
        Context context = scene.unicast(message);
        context.ethernet_source = mac(vm3);
        return scene.send(message, context);
    };
    const auto address = through(discover(vm1), "192.168.100.66").reply->address;
    REQUIRE(is(through(selecting(vm1, to_string(address)), "192.168.100.66"), MessageType::Ack));
    const auto journal = parse_journal(journal_header() + journal_line(*scene.leases.find(address)));
    CHECK(journal.bad.empty());
    scene.leases = LeaseTable{scene.config.range, 4096, 42};
    REQUIRE(scene.leases.restore(journal.records.at(0).lease.value()));
    CHECK(is_silent(through(release(vm1, to_string(address)), "192.168.100.67"), Silence::NotTheHolder));
    CHECK(is_silent(through(release(vm1, to_string(address)), "192.168.100.66"), Silence::Done));
}

TEST_CASE("Nobody can release the lease of another") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(is_silent(scene.send_unicast(release(vm2, to_string(address))), Silence::NotTheHolder));
    CHECK(is_silent(scene.send_unicast(release(vm2, "192.168.100.222")), Silence::NotTheHolder));
    CHECK(
        is_silent(scene.send_unicast(Builder{MessageType::Release, vm1}.server("192.168.100.1")), Silence::Malformed));
    CHECK(
        is_silent(scene.send_unicast(Builder{MessageType::Release, vm1}.ciaddr(to_string(address)).server("10.0.0.1")),
                  Silence::OtherServer));
    const Message message = release(vm1, to_string(address));
    Context context = scene.unicast(message);
    context.ethernet_source = mac(vm2);
    CHECK(is_silent(scene.send(message, context), Silence::ForgedSource));
    // Another hardware type with the same bytes is another client.
    CHECK(is_silent(scene.send_unicast(release("06-52:54:00:00:00:01", to_string(address))), Silence::NotTheHolder));
    CHECK(scene.leases.find(address)->state == LeaseState::Bound);
}

TEST_CASE("A lease of another hardware type can be ended only from the Ethernet source that got it") {
    Scene scene;
    const std::string_view odd = "20-";
    const std::vector<std::uint8_t> id{0, 1, 2, 3};
    Context context;
    context.ethernet_source = mac(vm1);
    const auto address = scene.send(discover(odd).client_id(id), context).reply->address;
    REQUIRE(is(scene.send(selecting(odd, to_string(address)).client_id(id), context), MessageType::Ack));
    const Message message = release(odd, to_string(address)).client_id(id);
    context.ethernet_source = mac(vm2);
    CHECK(is_silent(scene.send(message, context), Silence::NotTheHolder));
    context.ethernet_source = mac(vm1);
    CHECK(is_silent(scene.send(message, context), Silence::Done));
}

TEST_CASE("With identity client-id the same client-id from another MAC releases nothing") {
    Scene scene;
    scene.config.identity = Identity::ClientId;
    const std::vector<std::uint8_t> id{0xff, 1, 2, 3};
    const auto address = scene.join(vm1, {}, id);
    CHECK(is_silent(scene.send_unicast(release(vm2, to_string(address)).client_id(id)), Silence::NotTheHolder));
    CHECK(is_silent(scene.send_unicast(release(vm1, to_string(address)).client_id(id)), Silence::Done));
}

TEST_CASE("INFORM is answered with parameters alone and remembered by nobody") {
    Scene scene;
    const Decision decision = scene.send_unicast(Builder{MessageType::Inform, vm1}.ciaddr("192.168.100.77"));
    REQUIRE(is(decision, MessageType::Ack));
    CHECK(decision.reply->inform);
    CHECK(decision.reply->address.is_unspecified());
    CHECK(decision.reply->lease_time == Seconds{0});
    CHECK(decision.reply->renew_time == Seconds{0});
    CHECK(scene.leases.size() == 0);
    CHECK(is_silent(scene.send(Builder{MessageType::Inform, vm1}), Silence::Malformed));
    CHECK(is_silent(scene.send(Builder{MessageType::Inform, vm1}.ciaddr("10.0.0.7")), Silence::OtherNetwork));
}

TEST_CASE("INFORM of a client with a lease tells its name and what is left of the lease when asked") {
    Scene scene;
    const auto address = scene.join(vm1, "web");
    scene.pass(Seconds{600});
    const auto inform = [&] { return Builder{MessageType::Inform, vm1}.ciaddr(to_string(address)); };
    CHECK(scene.send_unicast(inform()).reply->name == "web");
    CHECK(scene.send_unicast(inform()).reply->lease_time == Seconds{0});
    CHECK(scene.send_unicast(inform().bytes(55, {1, 51})).reply->lease_time == Seconds{3000});
    CHECK(scene.send_unicast(Builder{MessageType::Inform, vm2}.ciaddr(to_string(address)).bytes(55, {51}))
              .reply->lease_time == Seconds{0});
    CHECK(scene.leases.find(address)->expires == scene.now + Seconds{3000});
}

TEST_CASE("BOOTP is answered for reserved hosts for ever and for nobody else") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,192.168.100.10,rom\n52:54:00:00:00:02,192.168.100.11,1h\n52:54:00:00:00:04,named\n");
    const Decision decision = scene.send(Builder{MessageType::Bootp, vm1});
    REQUIRE(is(decision, MessageType::Bootp));
    CHECK(decision.reply->address == ip("192.168.100.10"));
    CHECK(decision.reply->lease_time == infinite);
    CHECK_FALSE(scene.leases.find(ip("192.168.100.10"))->expires);
    CHECK(decision.note.line() == "BOOTP 192.168.100.10 from 52:54:00:00:00:01 (rom): for ever");
    scene.send(Builder{MessageType::Bootp, vm2});
    CHECK(scene.leases.find(ip("192.168.100.11"))->expires == scene.now + Seconds{3600});
    CHECK(is_silent(scene.send(Builder{MessageType::Bootp, vm3}), Silence::NotReserved));
    CHECK(is_silent(scene.send(Builder{MessageType::Bootp, "52:54:00:00:00:04"}), Silence::NotReserved));
    CHECK(is_silent(scene.send(Builder{MessageType::Bootp, "01-"}), Silence::NoIdentity));
}

TEST_CASE("BOOTP is silent and says so when somebody else uses the reserved address") {
    Scene scene;
    const auto address = scene.join(vm2);
    scene.hosts("52:54:00:00:00:01," + to_string(address) + "\n");
    const Decision decision = scene.send(Builder{MessageType::Bootp, vm1});
    CHECK(is_silent(decision, Silence::NoAddress));
    CHECK(warns(decision, Warning::Kind::ReservationUnusable));
}

TEST_CASE("Guest-controlled text is escaped in what is logged") {
    Scene scene;
    const auto address = scene.send(discover(vm1)).reply->address;
    const Decision ack = scene.send(selecting(vm1, to_string(address)).name("wpad.\x1b[31m"));
    REQUIRE(warns(ack, Warning::Kind::NameRefused));
    CHECK(ack.warnings[0].text.find('\x1b') == std::string::npos);
    CHECK(ack.warnings[0].text.find("\\x1b") != std::string::npos);
}
