// DHCPDISCOVER as conversations: RFC 2131 section 4.3.1.

#include <set>

#include "packets.hpp"
#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

TEST_CASE("A DISCOVER is offered an address that is kept for it for seconds only") {
    Scene scene;
    const Decision offer = scene.send(discover(vm1));
    REQUIRE(is(offer, MessageType::Offer));
    CHECK(offer.reply->lease_time == Seconds{3600});
    CHECK(offer.reply->renew_time == Seconds{1800});
    CHECK(offer.reply->rebind_time == Seconds{3150});
    CHECK(offer.note.line() == "OFFER " + to_string(offer.reply->address) + " to 52:54:00:00:00:01 for 1h");
    CHECK(scene.leases.find(offer.reply->address)->state == LeaseState::Offered);
    CHECK(scene.leases.take_changes().empty());
    CHECK(scene.leases.next_expiry() == scene.now + Seconds{15});
    scene.pass(Seconds{15});
    CHECK(scene.leases.size() == 0);
}

TEST_CASE("A client that asks again is offered the same address and one entry") {
    Scene scene;
    const auto first = scene.send(discover(vm1)).reply->address;
    scene.pass(Seconds{4});
    CHECK(scene.send(discover(vm1).requested("192.168.100.200")).reply->address == first);
    CHECK(scene.leases.size() == 1);
    scene.pass(Seconds{12});
    CHECK(scene.leases.size() == 1);  // the second DISCOVER keeps it longer
}

TEST_CASE("Two clients whose hash is the same are offered two addresses at once") {
    Scene scene("192.168.100.10", "192.168.100.11");
    const auto first = scene.send(discover(vm1)).reply->address;
    const auto second = scene.send(discover(vm2)).reply->address;
    CHECK(first != second);
    const Decision third = scene.send(discover(vm3));
    CHECK(is_silent(third, Silence::NoAddress));
    CHECK(warns(third, Warning::Kind::PoolEmpty));
    scene.pass(Seconds{15});
    CHECK(is(scene.send(discover(vm3)), MessageType::Offer));
}

TEST_CASE("A client that holds a lease is offered that address whatever it asks for") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(scene.send(discover(vm1).requested("192.168.100.99")).reply->address == address);
    CHECK(scene.leases.find(address)->state == LeaseState::Bound);
    CHECK(scene.leases.size() == 1);
}

TEST_CASE("A client whose lease ended is offered its old address although another asks for it") {
    Scene scene;
    const auto address = scene.join(vm1);
    scene.pass(Seconds{3600});
    CHECK(scene.leases.bound() == 0);
    CHECK(scene.join(vm2) != address);
    CHECK(scene.send(discover(vm1)).reply->address == address);
}

TEST_CASE("The choice for a client is the same after a restart without any memory") {
    std::set<Ipv4> given;
    for (int round = 0; round < 3; ++round) {
        Scene scene;
        scene.leases = LeaseTable{scene.config.range, 4096, static_cast<std::uint64_t>(round)};
        given.insert(scene.join(vm1));
    }
    CHECK(given.size() == 1);
}

TEST_CASE("A reservation decides the address inside and outside the range") {
    Scene scene("192.168.100.100", "192.168.100.200");
    scene.hosts("52:54:00:00:00:01,192.168.100.10,web,2h\n52:54:00:00:00:02,192.168.100.150\n");
    const Decision offer = scene.send(discover(vm1));
    CHECK(offer.reply->address == ip("192.168.100.10"));
    CHECK(offer.reply->lease_time == Seconds{7200});
    CHECK(offer.reply->name == "web");
    CHECK(scene.join(vm1) == ip("192.168.100.10"));
    CHECK(scene.leases.by_name("web")->name_reserved);
    CHECK(scene.join(vm2) == ip("192.168.100.150"));
    for (int i = 0; i < 99; ++i)
        CHECK(scene.join("52:54:00:00:01:" + to_hex(std::vector{static_cast<std::uint8_t>(i)})) !=
              ip("192.168.100.150"));
}

TEST_CASE("A host line with several MACs gives its address to the machine that is there now") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,52:54:00:00:00:02,192.168.100.10,laptop\n");
    CHECK(scene.join(vm1) == ip("192.168.100.10"));
    scene.leases.take_changes();
    CHECK(scene.join(vm2) == ip("192.168.100.10"));
    CHECK(scene.leases.find(ip("192.168.100.10"))->hardware == hw(vm2));
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 2);
    CHECK(changes[0].cause == Cause::Move);
    CHECK(changes[1].cause == Cause::Bind);
    CHECK(is_nak(scene.send_unicast(renewal(vm3, "192.168.100.10")), "address reserved"));
}

TEST_CASE("A reserved address that somebody else uses is replaced and said so") {
    Scene scene;
    const auto squatted = scene.join(vm2);
    scene.hosts("52:54:00:00:00:01," + to_string(squatted) + "\n");
    const Decision offer = scene.send(discover(vm1));
    REQUIRE(is(offer, MessageType::Offer));
    CHECK(offer.reply->address != squatted);
    CHECK(warns(offer, Warning::Kind::ReservationUnusable));
    // The squatter is moved on at its next renewal, and then the address is free.
    CHECK(is_nak(scene.send_unicast(renewal(vm2, to_string(squatted))), "address reserved"));
}

TEST_CASE("A client that is to be ignored gets no answer to anything") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,ignore\n");
    CHECK(is_silent(scene.send(discover(vm1)), Silence::Ignored));
    CHECK(is_silent(scene.send(init_reboot(vm1, "192.168.100.9")), Silence::Ignored));
    CHECK(scene.leases.size() == 0);
}

TEST_CASE("A lease time that the client wishes shortens the lease to no less than two minutes") {
    Scene scene;
    const auto lease_time = [&](std::uint32_t asked) {
        return scene.send(discover(vm1).u32(51, asked)).reply->lease_time;
    };
    CHECK(lease_time(10) == Seconds{120});
    CHECK(lease_time(600) == Seconds{600});
    CHECK(lease_time(864000) == Seconds{3600});
    CHECK(lease_time(0xffffffff) == Seconds{3600});
    scene.config.lease_time = infinite;
    CHECK(lease_time(600) == Seconds{600});
    const Decision forever = scene.send(discover(vm1));
    CHECK(forever.reply->lease_time == infinite);
    CHECK(forever.reply->renew_time == Seconds{0});
    CHECK(forever.reply->rebind_time == Seconds{0});
}

TEST_CASE("T1 and T2 of the configuration hold unless the lease is too short for them") {
    Scene scene;
    scene.config.renew_time = Seconds{600};
    scene.config.rebind_time = Seconds{1200};
    CHECK(scene.send(discover(vm1)).reply->renew_time == Seconds{600});
    CHECK(scene.send(discover(vm1)).reply->rebind_time == Seconds{1200});
    const Decision offer = scene.send(discover(vm1).u32(51, 800));
    CHECK(offer.reply->renew_time == Seconds{400});
    CHECK(offer.reply->rebind_time == Seconds{700});
}

TEST_CASE("An infinite lease is bound without an expiry") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,192.168.100.10,infinite\n");
    scene.join(vm1);
    CHECK_FALSE(scene.leases.find(ip("192.168.100.10"))->expires);
    CHECK_FALSE(scene.leases.next_expiry());
}

TEST_CASE("A never-seen address is probed before its first offer and then not for half a minute") {
    Scene scene;
    scene.config.ping_check = true;
    const Message message = discover(vm1);
    const Decision asked = scene.send(message);
    REQUIRE(asked.probe);
    CHECK_FALSE(asked.reply);
    const Ipv4 address = asked.probe->address;
    CHECK(scene.leases.find(address)->state == LeaseState::Offered);
    CHECK(scene.send(discover(vm2)).probe->address != address);
    CHECK(scene.send(message).probe->address == address);  // a retransmission asks for the same probe
    const Decision offer = scene.probed(message, {address, false, {}});
    REQUIRE(is(offer, MessageType::Offer));
    CHECK(offer.reply->address == address);
    scene.pass(Seconds{10});
    CHECK(is(scene.send(message), MessageType::Offer));
    scene.pass(Seconds{14});
    CHECK(is(scene.send(message), MessageType::Offer));
    scene.pass(Seconds{7});
    CHECK(scene.send(message).probe);
}

TEST_CASE("A client that held the address lately is not kept waiting by a probe") {
    Scene scene;
    scene.config.ping_check = true;
    const Message message = discover(vm1);
    const auto address = scene.send(message).probe->address;
    REQUIRE(is(scene.probed(message, {address, false, {}}), MessageType::Offer));
    REQUIRE(is(scene.send(selecting(vm1, to_string(address))), MessageType::Ack));
    CHECK(is(scene.send(message), MessageType::Offer));
    scene.send(release(vm1, to_string(address)), scene.unicast(release(vm1, to_string(address))));
    CHECK(is(scene.send(message), MessageType::Offer));
    scene.pass(Seconds{100000});
    CHECK(is(scene.send(message), MessageType::Offer));
}

TEST_CASE("An address that answers its probe is quarantined and another one is probed") {
    Scene scene;
    scene.config.ping_check = true;
    const Message message = discover(vm1);
    const auto first = scene.send(message).probe->address;
    const Decision next = scene.probed(message, {first, true, mac(vm3)});
    REQUIRE(next.probe);
    CHECK(next.probe->address != first);
    CHECK(scene.leases.find(first)->state == LeaseState::Abandoned);
    CHECK(scene.leases.find(first)->hardware == hw(vm3));
    REQUIRE(warns(next, Warning::Kind::Conflict));
    CHECK(next.warnings[0].text ==
          to_string(first) +
              " is in use by 52:54:00:00:00:03, to whom it was not given; it stays out of the pool for 10m");
    CHECK(scene.probed(message, {next.probe->address, false, {}}).reply->address == next.probe->address);
    CHECK(scene.leases.take_changes().size() == 1);
    scene.pass(Seconds{600});
    CHECK(scene.leases.find(first) == nullptr);
}

TEST_CASE("A client that itself answers the probe of its address is no conflict") {
    Scene scene;
    scene.config.ping_check = true;
    const Message message = discover(vm1);
    const auto address = scene.send(message).probe->address;
    CHECK(scene.probed(message, {address, true, mac(vm1)}).reply->address == address);
}

TEST_CASE("An answer that comes after the OFFER takes the offer back and the REQUEST is refused") {
    Scene scene;
    const auto address = scene.send(discover(vm1)).reply->address;
    const Decision late = scene.applied(late_answer(scene.leases, scene.config, address, mac(vm3), scene.now));
    CHECK(warns(late, Warning::Kind::Conflict));
    CHECK(scene.leases.find(address)->state == LeaseState::Abandoned);
    CHECK(is_nak(scene.send(selecting(vm1, to_string(address))), "address in use"));
    CHECK(scene.send(discover(vm1)).reply->address != address);
}

TEST_CASE("A late answer of the client itself changes nothing and one for a lease only warns") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(late_answer(scene.leases, scene.config, address, mac(vm1), scene.now).warnings.empty());
    const Decision late = late_answer(scene.leases, scene.config, address, mac(vm3), scene.now);
    CHECK(late.changes.empty());
    CHECK(warns(late, Warning::Kind::Conflict));
}

TEST_CASE("A probe through a relay is said to be one") {
    Scene scene;
    scene.config.ping_check = true;
    CHECK(scene.send(discover(vm1).giaddr("192.168.100.7")).probe->through_relay);
}

TEST_CASE("Rapid commit answers a DISCOVER with an ACK only where it is enabled and asked for") {
    Scene scene;
    CHECK(is(scene.send(discover(vm1).bytes(80, {})), MessageType::Offer));
    scene.config.rapid_commit = true;
    CHECK(is(scene.send(discover(vm1)), MessageType::Offer));
    const Decision ack = scene.send(discover(vm1).bytes(80, {}).name("fast"));
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(ack.reply->rapid_commit);
    CHECK(scene.leases.find(ack.reply->address)->state == LeaseState::Bound);
    CHECK(scene.leases.by_name("fast") != nullptr);
}

TEST_CASE("A rapid commit ACK goes to the new address whatever ciaddr the DISCOVER has") {
    Scene scene;
    scene.config.rapid_commit = true;
    const Builder message = discover(vm1).bytes(80, {}).ciaddr("192.168.100.77");
    const Decision ack = scene.send(message);
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(destination(message, Scene::broadcast(message), *ack.reply).address == ack.reply->address);
    CHECK(make_reply(scene.config, message, *ack.reply).ciaddr.is_unspecified());
}

TEST_CASE("Rapid commit waits for the probe as an offer does") {
    Scene scene;
    scene.config.rapid_commit = true;
    scene.config.ping_check = true;
    const Builder message = discover(vm1).bytes(80, {});
    const auto address = scene.send(message).probe->address;
    const Decision ack = scene.probed(message, {address, false, {}});
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(ack.reply->rapid_commit);
}

TEST_CASE("A name in the OFFER is sure or asked for by option 81") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,192.168.100.10,web\n");
    CHECK(scene.send(discover(vm2).name("db")).reply->name.empty());
    CHECK(scene.send(discover(vm2).name("db").bytes(81, from_hex("010000 6462"))).reply->name == "db");
    CHECK(scene.send(discover(vm1)).reply->name == "web");
    CHECK(scene.send(discover(vm1).name("WEB")).reply->name == "web");
    CHECK(scene.send(discover(vm1).name("other")).reply->name.empty());
}

TEST_CASE("A client without any identity gets no answer") {
    Scene scene;
    CHECK(is_silent(scene.send(discover("01-")), Silence::NoIdentity));
    CHECK(is_silent(scene.send(discover("00:00:00:00:00:00")), Silence::NoIdentity));
    CHECK(is_silent(scene.send(discover("ff:ff:ff:ff:ff:ff")), Silence::NoIdentity));
    CHECK(is_silent(scene.send(discover("01:00:5e:00:00:01")), Silence::NoIdentity));
}

TEST_CASE("Clients of every hardware type and length get a lease and keep it") {
    Scene scene;
    std::set<Ipv4> given;
    // Ethernet with 6 bytes; IEEE 802; ARCNET; InfiniBand and IEEE 1394 without an address but a client-id (RFC 4390,
    // 2855).
    for (const auto* hardware : {"52:54:00:00:00:01", "06-52:54:00:00:00:01", "07-01", "20-", "18-",
                                 "01-00:01:02:03:04:05:06:07", "ff-00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f"}) {
        INFO(hardware);
        const HardwareAddress parsed = hw(hardware);
        std::vector<std::uint8_t> id;
        if (parsed.empty()) id = {0, parsed.type, 7};
        const Ipv4 address = scene.join(hardware, {}, id);
        CHECK_FALSE(address.is_unspecified());
        CHECK(given.insert(address).second);
        Builder again = discover(hardware);
        if (!id.empty()) again.client_id(id);
        CHECK(scene.send(again).reply->address == address);
    }
}

TEST_CASE("Two clones with one client-id get two addresses and a warning that names both") {
    Scene scene;
    const std::vector<std::uint8_t> id{0xff, 1, 2, 3, 4};
    const auto first = scene.join(vm1, "clone", id);
    const Message asked = discover(vm2).client_id(id);
    const auto second = scene.send(asked).reply->address;
    CHECK(first != second);
    const Decision ack = scene.send(selecting(vm2, to_string(second)).client_id(id));
    REQUIRE(warns(ack, Warning::Kind::DuplicateClientId));
    CHECK(ack.warnings[0].text.find(std::string(vm1)) != std::string::npos);
    CHECK(ack.warnings[0].text.find(std::string(vm2)) != std::string::npos);
    CHECK(scene.leases.find(first)->hardware == hw(vm1));
    CHECK(scene.leases.bound() == 2);
    CHECK(scene.send(discover(vm1).client_id(id)).reply->address == first);
}

TEST_CASE("A client-id that a guest overheard leads to nothing that another guest holds or held") {
    Scene scene;
    scene.hosts("52:54:00:00:00:03,id:ff:03,192.168.100.30\n");
    const std::vector<std::uint8_t> id{1, 0x52, 0x54, 0, 0, 0, 1};
    const auto address = scene.join(vm1, "web", id);
    REQUIRE(scene.join(vm3, {}, {0xff, 3}) == ip("192.168.100.30"));
    Context attacker;
    attacker.ethernet_source = mac(vm2);
    const auto untouched = [&] {
        const Lease* lease = scene.leases.find(address);
        return lease != nullptr && lease->hardware == hw(vm1) && lease->name == "web" && scene.leases.bound() == 2;
    };
    const auto text = to_string(address);
    // Without a hardware address there is nothing that its Ethernet source could be compared with.
    CHECK(is_nak(scene.send(init_reboot("01-", text).client_id(id), attacker), "address in use"));
    CHECK(untouched());
    CHECK(is_nak(scene.send(selecting("01-", text).client_id(id), attacker), "address in use"));
    CHECK(is_nak(scene.send(renewal("01-", text).client_id(id), attacker), "address in use"));
    CHECK(untouched());
    const Decision offer = scene.send(discover("01-").client_id(id).requested(text), attacker);
    REQUIRE(is(offer, MessageType::Offer));
    CHECK(offer.reply->address != address);
    CHECK(is_silent(scene.send(decline("01-", text).client_id(id), attacker), Silence::NotTheHolder));
    CHECK(is_silent(scene.send(release("01-", text).client_id(id), attacker), Silence::NotTheHolder));
    CHECK(untouched());
    // Nor is the client-id beside a hardware address in a reservation a way to its live lease.
    for (const auto* hardware : {"01-", "52:54:00:00:00:02"}) {
        CHECK(is_nak(scene.send(init_reboot(hardware, "192.168.100.30").client_id({0xff, 3}), attacker),
                     "address in use"));
        CHECK(scene.leases.find(ip("192.168.100.30"))->hardware == hw(vm3));
    }

    // A former address is nobody's: the probe comes before the offer, whatever the client-id says.
    scene.config.ping_check = true;
    scene.pass(Seconds{4000});
    REQUIRE(scene.leases.find(address) == nullptr);
    CHECK(scene.send(discover("01-").client_id(id).requested(text), attacker).probe);
}

TEST_CASE("One machine whose firmware and system have different client-ids keeps its address") {
    Scene scene;
    const auto rom = scene.join(vm1, {}, {0, 1, 2, 3});
    CHECK(scene.join(vm1, {}, {1, 0x52, 0x54, 0, 0, 0, 1}) == rom);
    CHECK(scene.leases.bound() == 1);
}

TEST_CASE("With identity client-id it names the client and a changed MAC keeps the address") {
    Scene scene;
    scene.config.identity = Identity::ClientId;
    const std::vector<std::uint8_t> id{0xff, 1, 2, 3, 4};
    const auto address = scene.join(vm1, {}, id);
    CHECK(scene.join(vm2, {}, id) == address);
    CHECK(scene.leases.find(address)->hardware == hw(vm2));
    CHECK(scene.leases.bound() == 1);
    CHECK(scene.join(vm2, {}, {7, 7}) != address);
    CHECK(scene.leases.bound() == 2);
}

TEST_CASE("With identity client-id the MAC decides where one side has none") {
    Scene scene;
    scene.config.identity = Identity::ClientId;
    const auto address = scene.join(vm1);
    CHECK(scene.join(vm1, {}, {7, 7}) == address);
    CHECK(scene.join(vm1) == address);
    scene.pass(Seconds{4000});
    CHECK(scene.join(vm1, {}, {7, 7}) == address);
}

TEST_CASE("A forged Ethernet source is not answered") {
    Scene scene;
    const Message message = discover(vm1);
    Context context = Scene::broadcast(message);
    context.ethernet_source = mac(vm2);
    const Decision decision = scene.send(message, context);
    CHECK(is_silent(decision, Silence::ForgedSource));
    CHECK(decision.note.line() == "DISCOVER from 52:54:00:00:00:01: its Ethernet source is another, 52:54:00:00:00:02");
}

TEST_CASE("A relay of our network is served and one of another is not") {
    Scene scene;
    Message message = discover(vm1).giaddr("192.168.100.7");
    Context context;
    context.ethernet_source = mac(vm3);
    CHECK(is(scene.send(message, context), MessageType::Offer));
    message = discover(vm1).giaddr("10.9.9.9");
    CHECK(is_silent(scene.send(message, context), Silence::OtherNetwork));
    message = discover(vm1).giaddr("10.9.9.9").bytes(82, from_hex("0504 c0a86407"));  // RFC 3527
    CHECK(is(scene.send(message, context), MessageType::Offer));
    message = discover(vm1).giaddr("192.168.100.7").bytes(82, from_hex("0504 0a090909"));
    CHECK(is_silent(scene.send(message, context), Silence::OtherNetwork));
    message = discover(vm1).giaddr("192.168.100.1");
    CHECK(is_silent(scene.send(message, context), Silence::OtherNetwork));
    message = discover(vm1).add_ip(118, "10.0.0.0");  // RFC 3011
    CHECK(is_silent(scene.send(message), Silence::OtherNetwork));
    message = discover(vm1).add_ip(118, "192.168.100.0");
    CHECK(is(scene.send(message), MessageType::Offer));
}

TEST_CASE("A relay cannot take what a guest holds on the segment itself") {
    Scene scene;
    const auto address = scene.join(vm1);
    Context context;
    context.ethernet_source = mac(vm3);
    CHECK(is_silent(scene.send(discover(vm1).giaddr("192.168.100.7"), context), Silence::LocalClient));
    CHECK(
        is_silent(scene.send(selecting(vm1, "192.168.100.99").giaddr("192.168.100.7"), context), Silence::LocalClient));
    CHECK(is_silent(scene.send(release(vm1, to_string(address)).giaddr("192.168.100.7"), context),
                    Silence::NotTheHolder));
    CHECK(is_silent(scene.send(decline(vm1, to_string(address)).giaddr("192.168.100.7"), context),
                    Silence::NotTheHolder));
    CHECK(scene.leases.find(address)->state == LeaseState::Bound);
}

TEST_CASE("A message that went through too many relays is dropped") {
    Scene scene;
    Builder message = discover(vm1);
    message.message.hops = 16;
    CHECK(is(scene.send(message), MessageType::Offer));
    message.message.hops = 17;
    CHECK(is_silent(scene.send(message), Silence::TooManyHops));
}

TEST_CASE("Replies and types that servers do not take are dropped") {
    Scene scene;
    Builder message = discover(vm1);
    message.message.op = Message::reply;
    CHECK(is_silent(scene.send(message), Silence::NotARequest));
    for (const auto type : {MessageType::Offer, MessageType::Ack, MessageType::Nak, MessageType::Unknown})
        CHECK(is_silent(scene.send(Builder{type, vm1}), Silence::UnsupportedType));
}
