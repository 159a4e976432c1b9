#include "dhcp/reply.hpp"

#include <algorithm>

#include "dhcp/frame.hpp"
#include "packets.hpp"
#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

std::vector<int> codes(const Message& message) {
    std::vector<int> result;
    for (std::size_t i = 0; i < message.options.size(); ++i) result.push_back(message.options[i].code);
    return result;
}

std::string hex(const Message& message, std::uint8_t code) {
    const auto value = message.options.find(code);
    return value ? to_hex(*value, "") : "absent";
}

Message answer(Scene& scene, const Message& message) {
    const Decision decision = scene.send(message);
    REQUIRE(decision.reply);
    return make_reply(scene.config, message, *decision.reply);
}

/// What dnsmasq answered to a captured packet, and what we answer to it.
struct Pair {
    Message theirs;
    Message ours;
};
Pair answers(Scene& scene, const std::string& name, const std::string& reply) {
    const Message message = parse(packet(name)).value();
    Pair pair{parse(packet(name + ".dnsmasq-" + reply)).value(), answer(scene, message)};
    // Ours echoes option 61 (RFC 6842), dnsmasq does not.
    if (!message.client_id().empty()) CHECK(std::ranges::equal(pair.ours.client_id(), message.client_id()));
    return pair;
}

}  // namespace

TEST_CASE("Our replies to real clients are those of dnsmasq but for option 61") {
    for (const std::string client : {"udhcpc", "udhcpc-broadcast", "dhclient", "dhcpcd"}) {
        INFO(client);
        Scene scene;  // as the dnsmasq that was captured: no DNS, no domain
        scene.config.dns_servers.clear();
        scene.config.domain.clear();
        for (const auto& [name, reply] :
             {std::pair{client + "-discover", "offer"}, std::pair{client + "-request", "ack"}}) {
            auto [theirs, ours] = answers(scene, name, reply);
            CHECK(ours.yiaddr == theirs.yiaddr);
            CHECK(ours.siaddr == theirs.siaddr);
            CHECK(ours.flags == theirs.flags);
            CHECK(ours.ciaddr == theirs.ciaddr);
            CHECK(ours.xid == theirs.xid);
            std::vector<int> without_61 = codes(ours);
            std::erase(without_61, 61);
            CHECK(without_61 == codes(theirs));
            for (const int code : codes(theirs))
                CHECK(hex(ours, static_cast<std::uint8_t>(code)) == hex(theirs, static_cast<std::uint8_t>(code)));
        }
    }
}

TEST_CASE("Without a parameter list everything is sent and with one only what it names") {
    Scene scene;
    scene.config.mtu = 1400;
    scene.config.ntp_servers = {ip("192.168.100.1")};
    CHECK(codes(answer(scene, discover(vm1))) == std::vector<int>{53, 54, 51, 58, 59, 1, 28, 3, 6, 15, 26, 42});
    CHECK(codes(answer(scene, discover(vm1).bytes(55, {6}))) == std::vector<int>{53, 54, 51, 58, 59, 1, 28, 6});
    CHECK(codes(answer(scene, discover(vm1).bytes(55, {}))) == std::vector<int>{53, 54, 51, 58, 59, 1, 28});
    CHECK(hex(answer(scene, discover(vm1)), 26) == "0578");
}

TEST_CASE("Configured options are sent when asked for and replace or suppress ours") {
    Scene scene;
    scene.config.options = {{121, from_hex("080a c0a86401")},
                            {6, from_hex("09090909")},
                            {3, {}},
                            {17, from_hex("2f737276")},
                            {108, from_hex("00000708")}};
    const Message message = answer(scene, discover(vm1).bytes(55, {121, 3, 6, 17}));
    CHECK(codes(message) == std::vector<int>{53, 54, 51, 58, 59, 1, 28, 121, 6, 17});
    CHECK(hex(message, 6) == "09090909");
    CHECK(hex(answer(scene, discover(vm1).bytes(55, {108})), 108) == "00000708");
    CHECK(hex(answer(scene, discover(vm1)), 108) == "absent");  // ... and only for who names it
    scene.config.options.clear();
    CHECK(hex(answer(scene, discover(vm1).bytes(55, {108})), 108) == "absent");  // RFC 8925: only when configured
}

TEST_CASE("A client that asks for routers and classless routes gets both, as dnsmasq has it") {
    Scene scene;
    scene.config.options = {{121, from_hex("00 c0a86401")}};
    CHECK(hex(answer(scene, discover(vm1).bytes(55, {121, 3})), 3) == "c0a86401");
    CHECK(hex(answer(scene, discover(vm1).bytes(55, {121, 3})), 121) == "00c0a86401");
}

TEST_CASE("A PXE client gets its machine identifier back") {
    Scene scene;
    CHECK(hex(answer(scene, discover(vm1).bytes(97, {0, 1, 2, 3}).bytes(55, {66})), 97) == "00010203");
    CHECK(hex(answer(scene, discover(vm1)), 97) == "absent");
}

TEST_CASE("A client that selects a subnet gets its option back in OFFER and ACK whatever it asks for") {
    Scene scene;
    const auto subnet = from_hex("c0a86400");
    const Message offer = answer(scene, discover(vm1).bytes(118, subnet).bytes(55, {1}));
    CHECK(hex(offer, 118) == "c0a86400");
    const Message request = selecting(vm1, to_string(offer.yiaddr)).bytes(118, subnet);
    CHECK(hex(answer(scene, request), 118) == "c0a86400");
    CHECK(hex(answer(scene, selecting(vm2, "10.0.0.9").bytes(118, subnet)), 118) == "absent");  // a NAK
    // Not what was not obeyed; and a configured value is not an identical copy.
    CHECK(hex(answer(scene, discover(vm2).bytes(118, from_hex("c0a8"))), 118) == "absent");
    scene.config.options = {{118, from_hex("01020304")}};
    CHECK(hex(answer(scene, discover(vm1).bytes(118, subnet).bytes(55, {118})), 118) == "c0a86400");
}

TEST_CASE("What must be returned fits whatever else there is, and what does not fit is named") {
    Scene scene;
    scene.config.domain.clear();
    scene.config.options = {{119, std::vector<std::uint8_t>(200, 'd')},
                            {121, std::vector<std::uint8_t>(90, 8)},
                            {43, std::vector<std::uint8_t>(60, 1)}};
    const Message message =
        discover(vm1).client_id({1, 2, 3}).bytes(97, std::vector<std::uint8_t>(17)).bytes(118, from_hex("c0a86400"));
    const Message reply = answer(scene, message);
    const auto serialized = serialize(reply, room(scene.config, message, 1500));
    const Message read = parse(serialized.bytes).value();
    const auto there = codes(read);
    CHECK(std::vector<int>(there.begin(), there.begin() + 6) == std::vector<int>{53, 54, 61, 97, 118, 51});
    CHECK(serialized.left_out == std::vector<std::uint8_t>{121, 43});
    const Warning warning = left_out(scene.config, message.chaddr, serialized.left_out, 548);
    CHECK(warning.kind == Warning::Kind::OptionsLeftOut);
    CHECK(warning.text ==
          "a reply to 52:54:00:00:00:01 holds 548 bytes, and options 121, 43 did not fit; shorten them, or set "
          "dhcp.no_override = false, which lets them into the fields of server and file");
}

TEST_CASE("A client that terminates its strings gets terminated strings") {
    Scene scene;
    scene.config.options = {{17, from_hex("2f737276")}, {43, from_hex("0102")}};
    const Message plain = answer(scene, discover(vm1).name("a"));
    CHECK(hex(plain, 15) == "766d2e696e7465726e616c");
    CHECK(hex(plain, 17) == "2f737276");
    const Message terminated = answer(scene, discover(vm1).name(std::string_view{"a\0", 2}));
    CHECK(hex(terminated, 15) == "766d2e696e7465726e616c00");
    CHECK(hex(terminated, 17) == "2f73727600");
    CHECK(hex(terminated, 43) == "0102");
}

TEST_CASE("The name and the domain name are in the ACK when asked for") {
    Scene scene;
    scene.join(vm1, "web");
    const auto address = scene.leases.by_name("web")->address;
    const Message ack = answer(
        scene, selecting(vm1, to_string(address)).name("web").bytes(55, {12, 15}).bytes(81, from_hex("000000 776562")));
    CHECK(hex(ack, 12) == "776562");
    CHECK(hex(ack, 81) ==
          "03ffff"
          "7765622e766d2e696e7465726e616c");
    CHECK(ack.ciaddr.is_unspecified());
}

TEST_CASE("A NAK holds its reason and nothing that could be used") {
    Scene scene;
    const Message message = selecting(vm1, "10.0.0.9").client_id({1, 2, 3}).bytes(82, from_hex("0102aabb"));
    const Message nak = answer(scene, message);
    CHECK(codes(nak) == std::vector<int>{53, 54, 61, 56, 82});
    CHECK(nak.yiaddr.is_unspecified());
    CHECK(nak.siaddr.is_unspecified());
    CHECK(nak.wants_broadcast());
    CHECK(nak.options.text(56) == "wrong network");
}

TEST_CASE("A renewal keeps ciaddr in its ACK and an offer has none") {
    Scene scene;
    const auto address = scene.join(vm1);
    CHECK(answer(scene, renewal(vm1, to_string(address))).ciaddr == address);
    CHECK(answer(scene, discover(vm1).ciaddr("192.168.100.9")).ciaddr.is_unspecified());
    CHECK(answer(scene, init_reboot(vm1, to_string(address)).ciaddr("192.168.100.9")).ciaddr.is_unspecified());
}

TEST_CASE("An ACK to INFORM has no address and no times") {
    Scene scene;
    const Message message = answer(scene, Builder{MessageType::Inform, vm1}.ciaddr("192.168.100.77"));
    CHECK(codes(message) == std::vector<int>{53, 54, 1, 28, 3, 6, 15});
    CHECK(message.yiaddr.is_unspecified());
    CHECK(message.ciaddr == ip("192.168.100.77"));
}

TEST_CASE("A rapid commit ACK says that it is one") {
    Scene scene;
    scene.config.rapid_commit = true;
    CHECK(codes(answer(scene, discover(vm1).bytes(80, {}).bytes(55, {}))) ==
          std::vector<int>{53, 54, 51, 80, 58, 59, 1, 28});
}

TEST_CASE("A BOOTP reply has no DHCP options and fits 300 bytes") {
    Scene scene;
    scene.hosts("52:54:00:00:00:01,192.168.100.10,rom\n");
    const Message message = Builder{MessageType::Bootp, vm1};
    const Message reply = answer(scene, message);
    CHECK(codes(reply) == std::vector<int>{1, 28, 3, 6, 15, 12});
    CHECK(reply.yiaddr == ip("192.168.100.10"));
    CHECK(serialize(reply, room(scene.config, message)).bytes.size() == 300);
    Message plain = message;
    plain.cookie = false;
    const Message bare = answer(scene, plain);
    CHECK(bare.options.empty());
    CHECK(serialize(bare, room(scene.config, plain)).bytes.size() == 300);
}

TEST_CASE("Where to boot from is in the fixed fields and in the options when asked for") {
    Scene scene;
    scene.config.boot_server = "192.168.100.5";
    scene.config.boot_file = "pxelinux.0";
    Message message = answer(scene, discover(vm1).bytes(55, {1, 66, 67}));
    CHECK(message.siaddr == ip("192.168.100.5"));
    CHECK(message.file == "pxelinux.0");
    CHECK(message.options.text(66) == "192.168.100.5");
    CHECK(message.options.text(67) == "pxelinux.0");
    message = answer(scene, discover(vm1).bytes(55, {1}));
    CHECK(message.file == "pxelinux.0");
    CHECK_FALSE(message.options.has(67));
    scene.config.boot_server = "boot.example";
    message = answer(scene, discover(vm1).bytes(55, {1}));
    CHECK(message.siaddr == ip("192.168.100.1"));
    CHECK(message.sname == "boot.example");
}

TEST_CASE("A relay is the router of its clients and gets option 82 back as it came") {
    Scene scene;
    const std::vector<std::uint8_t> relay = from_hex("0102aabb 0b04 c0a86407");
    const Message message = discover(vm1).giaddr("192.168.100.7").bytes(82, relay);
    const Message reply = answer(scene, message);
    CHECK(reply.giaddr == ip("192.168.100.7"));
    CHECK(hex(reply, 3) == "c0a86407");
    CHECK(hex(reply, 54) == "c0a86407");  // RFC 5107
    CHECK(hex(reply, 82) == to_hex(relay, ""));
    CHECK(codes(reply).back() == 82);
}

TEST_CASE("An option 82 of any size costs the client behind the relay nothing") {
    Scene scene;
    const auto options_of = [&](const Message& message) {
        const auto serialized = serialize(answer(scene, message), room(scene.config, message, 1500));
        CHECK(serialized.left_out.empty());
        CHECK(serialized.bytes.size() <= 1472);
        return codes(parse(serialized.bytes).value());
    };
    const std::vector<std::uint8_t> id(32, 1);
    const auto expected = options_of(discover(vm1).client_id(id).giaddr("192.168.100.7"));
    for (const std::size_t size : {20U, 253U, 400U, 800U}) {
        std::vector<std::uint8_t> relay(size, 9);
        relay[0] = 200;
        auto with_relay = options_of(discover(vm1).client_id(id).giaddr("192.168.100.7").bytes(82, relay));
        CHECK(with_relay.back() == 82);
        with_relay.pop_back();
        CHECK(with_relay == expected);
    }
}

TEST_CASE("A client-id in several pieces is given back whole") {
    Scene scene;
    const std::vector<std::uint8_t> id(300, 7);
    CHECK(hex(answer(scene, discover(vm1).client_id(id)), 61) == to_hex(id, ""));
}

TEST_CASE("The room of a reply is what the client takes and at least what every client takes") {
    const ServerConfig config = Scene{}.config;
    const auto size = [&](std::uint16_t asked) {
        return room(config,
                    discover(vm1).bytes(57, {static_cast<std::uint8_t>(asked >> 8), static_cast<std::uint8_t>(asked)}))
            .max_size;
    };
    CHECK(room(config, discover(vm1)).max_size == 548);
    CHECK(size(0) == 548);
    CHECK(size(576) == 548);
    CHECK(size(1000) == 972);
    CHECK(size(1500) == 1472);
    CHECK(size(65535) == 1472);
    CHECK(room(config, Builder{MessageType::Bootp, vm1}).max_size == 300);
    ServerConfig overload = config;
    overload.no_override = false;
    CHECK_FALSE(room(config, discover(vm1).bytes(55, {1})).overload);
    CHECK(room(overload, discover(vm1).bytes(55, {1})).overload);
    CHECK_FALSE(room(overload, discover(vm1)).overload);
}

TEST_CASE("Replies go down the ladder of RFC 2131 section 4.1") {
    Reply offer;
    offer.type = MessageType::Offer;
    offer.address = ip("192.168.100.9");
    Reply ack = offer;
    ack.type = MessageType::Ack;
    const Reply nak;
    const Context context = Scene::broadcast(discover(vm1));
    const Destination everybody{ip("255.255.255.255"), client_port, MacAddress::broadcast()};

    // a relay
    Context relayed;
    relayed.ethernet_source = mac(vm3);
    CHECK(destination(discover(vm1).giaddr("192.168.100.7").broadcast(), relayed, offer) ==
          Destination{ip("192.168.100.7"), server_port, mac(vm3)});
    CHECK(destination(discover(vm1).giaddr("192.168.100.7"), relayed, nak) ==
          Destination{ip("192.168.100.7"), server_port, mac(vm3)});
    // a NAK, to everybody
    CHECK(destination(renewal(vm1, "192.168.100.9"), context, nak) == everybody);
    // ciaddr, whatever the broadcast flag says
    Context unicast = context;
    unicast.source = ip("192.168.100.9");
    unicast.source_port = 1068;
    CHECK(destination(renewal(vm1, "192.168.100.9").broadcast(), unicast, ack) ==
          Destination{ip("192.168.100.9"), 1068, mac(vm1)});
    CHECK(destination(renewal(vm1, "192.168.100.9"), context, ack) ==
          Destination{ip("192.168.100.9"), client_port, mac(vm1)});
    // but not in an OFFER, nor while the client asks for an address
    CHECK(destination(discover(vm1).ciaddr("192.168.100.8"), context, offer) ==
          Destination{ip("192.168.100.9"), client_port, mac(vm1)});
    CHECK(destination(init_reboot(vm1, "192.168.100.9").ciaddr("192.168.100.8"), context, ack) ==
          Destination{ip("192.168.100.9"), client_port, mac(vm1)});
    // INFORM: back to where it came from
    Reply inform = ack;
    inform.inform = true;
    CHECK(destination(Builder{MessageType::Inform, vm1}.ciaddr("192.168.100.77"), unicast, inform) ==
          Destination{ip("192.168.100.9"), 1068, mac(vm1)});
    CHECK(destination(Builder{MessageType::Inform, vm1}.ciaddr("192.168.100.77"), context, inform) ==
          Destination{ip("192.168.100.77"), client_port, mac(vm1)});
    // the broadcast flag, or no Ethernet address
    CHECK(destination(discover(vm1).broadcast(), context, offer) == everybody);
    CHECK(destination(discover("20-"), Context{}, offer) == everybody);
    CHECK(destination(discover("06-52:54:00:00:00:01"), Context{}, offer) == everybody);
    // and else to the client itself
    CHECK(destination(discover(vm1), context, offer) == Destination{ip("192.168.100.9"), client_port, mac(vm1)});
}
