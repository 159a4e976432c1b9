// DHCPREQUEST in every state of RFC 2131 table 4, with and without authoritative.

#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

Scene modest() {
    Scene scene;
    scene.config.authoritative = false;
    return scene;
}

}  // namespace

TEST_CASE("SELECTING binds what was offered and tells the journal once") {
    Scene scene;
    const auto address = scene.send(discover(vm1)).reply->address;
    const Decision ack = scene.send(selecting(vm1, to_string(address)).name("web"));
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(ack.reply->address == address);
    CHECK(ack.reply->name == "web");
    CHECK(ack.note.line() == "ACK " + to_string(address) + " to 52:54:00:00:00:01 (web) for 1h");
    CHECK(ack.note.level == Level::Info);
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].cause == Cause::Bind);
    CHECK(changes[0].after->expires == scene.now + Seconds{3600});
    CHECK(changes[0].after->sender == mac(vm1));
}

TEST_CASE("SELECTING a free address that was never offered is granted") {
    Scene scene;
    CHECK(is(scene.send(selecting(vm1, "192.168.100.99")), MessageType::Ack));
}

TEST_CASE("SELECTING another server is silence and frees what we offered") {
    for (const bool authoritative : {true, false}) {
        Scene scene;
        scene.config.authoritative = authoritative;
        scene.send(discover(vm1));
        CHECK(scene.leases.size() == 1);
        CHECK(is_silent(scene.send(request(vm1).requested("192.168.100.50").server("192.168.100.250")),
                        Silence::OtherServer));
        CHECK(scene.leases.size() == 0);
    }
}

TEST_CASE("SELECTING another server leaves a lease that the client holds") {
    Scene scene;
    const auto address = scene.join(vm1);
    scene.send(request(vm1).requested("192.168.100.50").server("192.168.100.250"));
    CHECK(scene.leases.find(address) != nullptr);
}

TEST_CASE("SELECTING an address that cannot be given is refused in both modes") {
    for (const bool authoritative : {true, false}) {
        Scene scene;
        scene.config.authoritative = authoritative;
        scene.hosts("52:54:00:00:00:09,192.168.100.9\n");
        const auto taken = scene.join(vm2);
        CHECK(is_nak(scene.send(selecting(vm1, "10.0.0.5")), "wrong network"));
        CHECK(is_nak(scene.send(selecting(vm1, "192.168.100.1")), "address not available"));
        CHECK(is_nak(scene.send(selecting(vm1, "192.168.100.255")), "address not available"));
        CHECK(is_nak(scene.send(selecting(vm1, "192.168.100.9")), "address reserved"));
        CHECK(is_nak(scene.send(selecting(vm1, to_string(taken))), "address in use"));
        const auto promised = scene.send(discover(vm3)).reply->address;
        CHECK(is_nak(scene.send(selecting(vm1, to_string(promised))), "address in use"));
        CHECK(scene.leases.find(taken)->hardware == hw(vm2));
    }
}

TEST_CASE("A NAK says why and frees what was offered") {
    Scene scene;
    scene.send(discover(vm1));
    const Decision nak = scene.send(selecting(vm1, "10.0.0.5"));
    CHECK(nak.note.line() == "NAK 10.0.0.5 to 52:54:00:00:00:01: wrong network");
    CHECK(nak.note.level == Level::Info);
    CHECK(nak.reply->address.is_unspecified());
    CHECK(scene.leases.size() == 0);
}

TEST_CASE("SELECTING another address than the one it holds moves the lease") {
    Scene scene;
    const auto old = scene.join(vm1, "web");
    scene.leases.take_changes();
    REQUIRE(is(scene.send(selecting(vm1, "192.168.100.99").name("web")), MessageType::Ack));
    CHECK(scene.leases.find(old) == nullptr);
    CHECK(scene.leases.by_name("web")->address == ip("192.168.100.99"));
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 2);
    CHECK(changes[0].cause == Cause::Move);
    CHECK(changes[1].cause == Cause::Bind);
}

TEST_CASE("INIT-REBOOT of a lease that we hold is acknowledged") {
    for (const bool authoritative : {true, false}) {
        Scene scene;
        const auto address = scene.join(vm1);
        scene.config.authoritative = authoritative;
        scene.pass(Seconds{100});
        const Decision ack = scene.send(init_reboot(vm1, to_string(address)));
        REQUIRE(is(ack, MessageType::Ack));
        CHECK(scene.leases.find(address)->expires == scene.now + Seconds{3600});
    }
}

TEST_CASE("INIT-REBOOT of another address than its lease is refused in both modes") {
    for (const bool authoritative : {true, false}) {
        Scene scene;
        const auto address = scene.join(vm1);
        scene.config.authoritative = authoritative;
        CHECK(is_nak(scene.send(init_reboot(vm1, "192.168.100.99")), "wrong address"));
        CHECK(is_nak(scene.send(init_reboot(vm1, "10.0.0.9")), "wrong network"));
        CHECK(scene.leases.find(address) != nullptr);
    }
}

TEST_CASE("INIT-REBOOT of an unknown client is acknowledged when authoritative and the address fits") {
    Scene scene;
    const auto taken = scene.join(vm2);
    CHECK(is(scene.send(init_reboot(vm1, "192.168.100.99")), MessageType::Ack));
    CHECK(is_nak(scene.send(init_reboot(vm3, to_string(taken))), "address in use"));
    CHECK(is_nak(scene.send(init_reboot(vm3, "10.0.0.9")), "wrong network"));
    CHECK(is_nak(scene.send(init_reboot(vm3, "192.168.100.255")), "address not available"));
}

TEST_CASE("INIT-REBOOT of an unknown client is silence when another server may know it") {
    Scene scene = modest();
    CHECK(is_silent(scene.send(init_reboot(vm1, "192.168.100.99")), Silence::UnknownLease));
    CHECK(is_silent(scene.send(init_reboot(vm1, "10.0.0.9")), Silence::UnknownLease));
    CHECK(scene.leases.size() == 0);
}

TEST_CASE("RENEWING extends the lease and spreads T1 and T2 by at most an eighth") {
    Scene scene;
    const auto address = scene.join(vm1);
    scene.leases.take_changes();
    scene.pass(Seconds{1800});
    const Decision ack = scene.send_unicast(renewal(vm1, to_string(address)));
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(ack.reply->lease_time == Seconds{3600});
    CHECK(ack.reply->renew_time <= Seconds{1800});
    CHECK(ack.reply->renew_time >= Seconds{1575});
    CHECK(ack.reply->rebind_time - ack.reply->renew_time == Seconds{1350});
    CHECK(scene.leases.find(address)->expires == scene.now + Seconds{3600});
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 1);
    CHECK(changes[0].cause == Cause::Renew);
    const Decision again = scene.send_unicast(renewal(vm1, to_string(address)));
    CHECK(again.reply == ack.reply);  // a retransmission hears the same
}

TEST_CASE("A lease that was renewed less than a second ago is told again without a record") {
    Scene scene;
    const auto address = scene.join(vm1, "web");
    scene.pass(Seconds{1800});
    scene.leases.take_changes();
    const Message message = renewal(vm1, to_string(address)).name("web");
    const Decision first = scene.send_unicast(message);
    const Time promised = *scene.leases.find(address)->expires;
    CHECK(scene.leases.take_changes().size() == 1);
    for (int i = 0; i < 9; ++i) {
        scene.now += Milliseconds{100};
        const Decision again = scene.send_unicast(message);
        REQUIRE(is(again, MessageType::Ack));
        CHECK(again.changes.empty());
        CHECK(scene.now + again.reply->lease_time <= promised);
        CHECK(again.reply->lease_time == Seconds{3599});
        CHECK(again.reply->rebind_time == first.reply->rebind_time - Seconds{1});
        CHECK(again.reply->renew_time == first.reply->renew_time - Seconds{1});
        CHECK(again.reply->name == "web");
    }
    CHECK(scene.leases.take_changes().empty());
    // What is news is written: another name, other terms, and anything after a second.
    const auto written = [&](const Message& news) {
        CHECK(is(scene.send_unicast(news), MessageType::Ack));
        return scene.leases.take_changes().size();
    };
    CHECK(written(renewal(vm1, to_string(address)).name("mail")) == 1);
    CHECK(written(renewal(vm1, to_string(address)).name("mail")) == 0);
    scene.config.lease_time = Seconds{600};
    CHECK(written(renewal(vm1, to_string(address)).name("mail")) == 1);
    CHECK(scene.leases.find(address)->expires == scene.now + Seconds{600});
    scene.now += Seconds{1};
    CHECK(written(renewal(vm1, to_string(address)).name("mail")) == 1);
}

TEST_CASE("RENEWING with option 54 is a renewal as well") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(address)).server("192.168.100.1")), MessageType::Ack));
}

TEST_CASE("RENEWING without a lease is re-created when authoritative and else refused") {
    Scene scene;
    CHECK(is(scene.send_unicast(renewal(vm1, "192.168.100.99")), MessageType::Ack));
    CHECK(is_nak(scene.send_unicast(renewal(vm2, "192.168.100.99")), "address in use"));
    CHECK(is_nak(scene.send_unicast(renewal(vm2, "10.0.0.9")), "wrong network"));
    Scene other = modest();
    CHECK(is_nak(other.send_unicast(renewal(vm1, "192.168.100.99")), "lease not found"));
}

TEST_CASE("REBINDING without a lease is re-created when authoritative and else silence") {
    Scene scene;
    CHECK(is(scene.send(renewal(vm1, "192.168.100.99")), MessageType::Ack));
    Scene other = modest();
    CHECK(is_silent(other.send(renewal(vm1, "192.168.100.99")), Silence::UnknownLease));
    CHECK(is_silent(other.send(renewal(vm1, "10.0.0.9")), Silence::UnknownLease));
}

TEST_CASE("What a relay passes on is REBINDING, which another server may have the lease of") {
    Scene scene = modest();
    const auto through_relay = [&](const Message& message) {
        Context context = scene.unicast(message);  // that is how a relay speaks to its servers
        context.ethernet_source = mac(vm3);
        context.source = ip("192.168.100.7");
        return scene.send(message, context);
    };
    CHECK(is_silent(through_relay(renewal(vm1, "192.168.100.50").giaddr("192.168.100.7")), Silence::UnknownLease));
    CHECK(is_nak(scene.send_unicast(renewal(vm1, "192.168.100.50")), "lease not found"));
    scene.config.authoritative = true;
    CHECK(is(through_relay(renewal(vm1, "192.168.100.50").giaddr("192.168.100.7")), MessageType::Ack));
}

TEST_CASE("Renewing another address than the lease is refused and rebinding it only when authoritative") {
    Scene scene;
    scene.join(vm1);
    CHECK(is_nak(scene.send_unicast(renewal(vm1, "192.168.100.99")), "lease not found"));
    CHECK(is_nak(scene.send(renewal(vm1, "192.168.100.99")), "lease not found"));
    scene.config.authoritative = false;
    CHECK(is_nak(scene.send_unicast(renewal(vm1, "192.168.100.99")), "lease not found"));
    CHECK(is_silent(scene.send(renewal(vm1, "192.168.100.99")), Silence::UnknownLease));
}

TEST_CASE("A REQUEST without any address is dropped") {
    Scene scene;
    CHECK(is_silent(scene.send(request(vm1)), Silence::Malformed));
    CHECK(is_silent(scene.send(request(vm1).server("192.168.100.1")), Silence::Malformed));
}

TEST_CASE("A new reservation takes effect at the next renewal") {
    Scene scene;
    const auto address = scene.join(vm1);
    scene.hosts("52:54:00:00:00:01,192.168.100.10,web\n");
    CHECK(is_nak(scene.send_unicast(renewal(vm1, to_string(address))), "static lease available"));
    CHECK(is_nak(scene.send(init_reboot(vm1, to_string(address))), "static lease available"));
    CHECK(scene.join(vm1) == ip("192.168.100.10"));
    CHECK(scene.leases.find(address) == nullptr);
    CHECK(is(scene.send_unicast(renewal(vm1, "192.168.100.10")), MessageType::Ack));
}

TEST_CASE("What was offered before a reservation came is granted once more and then moved") {
    Scene scene;
    const auto address = scene.send(discover(vm1)).reply->address;
    scene.hosts("52:54:00:00:00:01,192.168.100.10,web\n");
    CHECK(is(scene.send(selecting(vm1, to_string(address))), MessageType::Ack));
    CHECK(is_nak(scene.send_unicast(renewal(vm1, to_string(address))), "static lease available"));
}

TEST_CASE("A client keeps its address while its reservation is held by somebody else") {
    Scene scene;
    const auto address = scene.join(vm1);
    const auto other = scene.join(vm2);
    scene.hosts("52:54:00:00:00:01," + to_string(other) + "\n");
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(address))), MessageType::Ack));
}

TEST_CASE("A lease outside the range after a change of the configuration ends at the next renewal") {
    Scene scene;
    const auto address = scene.join(vm1);
    scene.config.range = {ip("192.168.100.2"), ip("192.168.100.3")};
    REQUIRE_FALSE(scene.config.range.contains(address));
    scene.leases.set_range(scene.config.range, 65536);
    CHECK(is_nak(scene.send_unicast(renewal(vm1, to_string(address))), "address not available"));
    CHECK(scene.config.range.contains(scene.join(vm1)));
}

TEST_CASE("A dropped lease is refused at the next renewal and then given anew") {
    Scene scene;
    const auto address = scene.join(vm1);
    const Decision drop = scene.applied(drop_lease(scene.leases, address));
    CHECK(drop.note.client == hw(vm1));
    CHECK(is_nak(scene.send_unicast(renewal(vm1, to_string(address))), "lease was dropped"));
    CHECK(is_nak(scene.send(renewal(vm1, to_string(address))), "lease was dropped"));
    CHECK(is_nak(scene.send(init_reboot(vm1, to_string(address))), "lease was dropped"));
    CHECK(scene.join(vm1) == address);
    CHECK(is(scene.send_unicast(renewal(vm1, to_string(address))), MessageType::Ack));
    CHECK(drop_lease(scene.leases, ip("192.168.100.200")).changes.empty());
}

TEST_CASE("The name follows the client and stays when it says none") {
    Scene scene;
    const auto address = scene.join(vm1, "old");
    scene.send_unicast(renewal(vm1, to_string(address)).name("new"));
    CHECK(scene.leases.by_name("old") == nullptr);
    CHECK(scene.leases.by_name("new")->address == address);
    const Decision ack = scene.send_unicast(renewal(vm1, to_string(address)));
    CHECK(ack.reply->name == "new");
    CHECK(scene.leases.by_name("new") != nullptr);
}

TEST_CASE("A name that is refused costs the guest its name and not its address") {
    Scene scene;
    scene.join(vm1, "web");
    const auto address = scene.send(discover(vm2)).reply->address;
    const Decision ack = scene.send(selecting(vm2, to_string(address)).name("WEB"));
    REQUIRE(is(ack, MessageType::Ack));
    CHECK(ack.reply->name.empty());
    REQUIRE(warns(ack, Warning::Kind::NameRefused));
    CHECK(
        ack.warnings[0].text ==
        "52:54:00:00:00:02 calls itself \"WEB\", which belongs to another guest; it gets its address without the name");
    CHECK(scene.leases.by_name("web")->hardware == hw(vm1));
    // When the first one is gone, the name is taken at the next renewal.
    scene.pass(Seconds{3000});
    scene.send_unicast(renewal(vm2, to_string(address)).name("web"));
    scene.pass(Seconds{1000});
    const Decision later = scene.send_unicast(renewal(vm2, to_string(address)).name("web"));
    CHECK(later.reply->name == "web");
}

TEST_CASE("A reserved name is taken from a guest that had it before") {
    Scene scene;
    const auto first = scene.join(vm2, "web");
    scene.hosts("52:54:00:00:00:01,192.168.100.10,web\n");
    scene.leases.take_changes();
    CHECK(scene.join(vm1) == ip("192.168.100.10"));
    CHECK(scene.leases.by_name("web")->address == ip("192.168.100.10"));
    CHECK(scene.leases.find(first)->name.empty());
    const auto changes = scene.leases.take_changes();
    REQUIRE(changes.size() == 2);
    CHECK(changes[0].cause == Cause::Rename);
    CHECK(changes[0].before->name == "web");
}

TEST_CASE("What a client tells about itself is kept for the script and bounded") {
    Scene scene;
    Builder message = selecting(vm1, "192.168.100.99").name("Fq.example.com");
    message.bytes(60, std::vector<std::uint8_t>(300, 'v'));
    message.bytes(77, {3, 'a', 'b', 'c', 1, 'd'});
    message.bytes(55, {1, 3, 6});
    REQUIRE(is(scene.send(message), MessageType::Ack));
    const Supplied& supplied = scene.leases.find(ip("192.168.100.99"))->supplied;
    CHECK(supplied.hostname == "Fq.example.com");
    CHECK(supplied.vendor_class == std::string(255, 'v'));
    CHECK(supplied.user_classes == std::vector<std::string>{"abc", "d"});
    CHECK(supplied.requested_options == std::vector<std::uint8_t>{1, 3, 6});
    Builder ipxe = selecting(vm2, "192.168.100.98");
    ipxe.bytes(77, {'i', 'P', 'X', 'E'});
    scene.send(ipxe);
    CHECK(scene.leases.find(ip("192.168.100.98"))->supplied.user_classes == std::vector<std::string>{"iPXE"});
}

TEST_CASE("A relayed client renews with the server identifier that its relay put in place of ours") {
    Scene scene;
    const std::vector<std::uint8_t> relay{1, 2, 0xaa, 0xbb, 11, 4, 192, 168, 100, 7};
    Context context;
    context.ethernet_source = mac(vm3);
    const auto address = scene.send(discover(vm1).giaddr("192.168.100.7").bytes(82, relay), context).reply->address;
    const Builder chosen =
        request(vm1).requested(to_string(address)).server("192.168.100.7").giaddr("192.168.100.7").bytes(82, relay);
    REQUIRE(is(scene.send(chosen, context), MessageType::Ack));
    const Lease& lease = *scene.leases.find(address);
    CHECK(lease.supplied.relay == ip("192.168.100.7"));
    CHECK(lease.supplied.circuit_id == std::vector<std::uint8_t>{0xaa, 0xbb});
    CHECK_FALSE(lease.sender);
    // The relay that the lease came through may end it.
    CHECK(is_silent(scene.send(release(vm1, to_string(address)).giaddr("192.168.100.7"), context), Silence::Done));
    CHECK(scene.leases.find(address) == nullptr);
}
