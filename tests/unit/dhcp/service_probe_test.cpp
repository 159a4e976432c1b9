// Guests that come all at once, and addresses that somebody else has.

#include "dhcp/service.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <set>

#include "tests/unit/dhcp/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

TEST_CASE("Ten guests that boot at once have their offers within 300 ms") {
    in_namespace([] {
        Segment segment;
        for (std::uint16_t i = 0; i < 10; ++i) segment.guests->discover(guest_mac(i));
        const auto offers =
            segment.run(Milliseconds{1000}, [](const std::vector<Heard>& all) { return all.size() >= 10; });
        REQUIRE(offers.size() == 10);
        std::set<Ipv4> addresses;
        for (const auto& offer : offers) {
            CHECK(offer.message.type() == MessageType::Offer);
            CHECK(offer.at < Milliseconds{300});
            addresses.insert(offer.message.yiaddr);
        }
        CHECK(addresses.size() == 10);
    });
}

TEST_CASE("Forty guests at ten a second all get their lease") {
    in_namespace([] {
        Segment segment;
        std::set<Ipv4> addresses;
        std::size_t acknowledged = 0;
        const auto converse = [&](const std::vector<Heard>& heard) {
            for (const auto& reply : heard) {
                if (reply.message.type() == MessageType::Offer)
                    segment.guests->request(*reply.message.chaddr.mac(), reply.message.yiaddr);
                if (reply.message.type() != MessageType::Ack) continue;
                ++acknowledged;
                addresses.insert(reply.message.yiaddr);
            }
        };
        for (std::uint16_t i = 0; i < 40; ++i) {
            segment.guests->discover(guest_mac(i));
            for (int step = 0; step < 10; ++step) converse(segment.run(Milliseconds{10}));
        }
        for (int step = 0; step < 50 && acknowledged < 40; ++step) converse(segment.run(Milliseconds{10}));
        CHECK(acknowledged == 40);
        CHECK(addresses.size() == 40);
    });
}

TEST_CASE("A guest that makes up thousands of others does not keep a known one from renewing") {
    in_namespace([] {
        ServerConfig config = server_config();
        config.offer_time = Seconds{1};
        Segment segment(config);
        const Ipv4 known = segment.lease(guest);
        std::size_t largest = 0;
        for (std::uint16_t i = 0; i < 3000; ++i) {
            segment.guests->discover(guest_mac(static_cast<std::uint16_t>(1000 + i)));
            if (i % 100 != 0) continue;
            segment.run(Milliseconds{2});
            largest = std::max(largest, segment.service->table().size());
        }
        segment.guests->renew(guest, known);
        const Heard ack = segment.next(guest);
        CHECK(ack.message.type() == MessageType::Ack);
        CHECK(ack.message.yiaddr == known);
        CHECK(largest <= 253 + 1);
        // Offers that nobody takes are over in seconds, and then a new guest is welcome.
        segment.run(Milliseconds{1500});
        CHECK(segment.service->table().size() == 1);
        segment.lease(guest_mac(2));
    });
}

TEST_CASE("A squatter that answers after 80 ms makes the guest get another address") {
    bool in_time = false;  // the probe lasts 100 ms, which a busy machine may let pass before it claims
    for (int attempt = 0; attempt < 20 && !in_time; ++attempt) {
        in_namespace([&] {
            Segment segment;
            const auto began = std::chrono::steady_clock::now();
            segment.guests->discover(guest);
            segment.run(Milliseconds{80});
            const auto asked = segment.guests->asked();
            if (asked.empty()) return;
            segment.guests->claim(squatter, asked[0]);
            in_time = std::chrono::steady_clock::now() - began < Milliseconds{95};
            if (!in_time) return;
            const Heard offer = segment.next(guest);
            CHECK(offer.message.type() == MessageType::Offer);
            CHECK(offer.message.yiaddr != asked[0]);
            const Lease* quarantined = segment.service->table().find(asked[0]);
            REQUIRE(quarantined != nullptr);
            CHECK(quarantined->state == LeaseState::Abandoned);
            CHECK(segment.service->counters().conflicts == 1);
        });
    }
    CHECK(in_time);
}

TEST_CASE("A squatter that answers after the offer makes the request fail and the next one succeed") {
    in_namespace([] {
        Segment segment;
        segment.guests->discover(guest);
        const Ipv4 taken = segment.next(guest).message.yiaddr;
        segment.guests->claim(squatter, taken);
        segment.run(Milliseconds{20});
        segment.guests->request(guest, taken);
        CHECK(segment.next(guest).message.type() == MessageType::Nak);
        CHECK(segment.lease(guest) != taken);
    });
}

TEST_CASE("A guest that answers every probe at once keeps no newcomer without an address") {
    in_namespace([] {
        Segment segment;
        for (std::uint16_t number = 1; number <= 3; ++number) {
            segment.guests->discover(guest_mac(number));
            const auto replies = segment.run(Milliseconds{5000}, [&](const auto& all) {
                for (const Ipv4 asked : segment.guests->asked()) segment.guests->claim(squatter, asked);
                return !all.empty();
            });
            REQUIRE(replies.size() == 1);
            CHECK(replies[0].message.type() == MessageType::Offer);
        }
        CHECK(segment.service->counters().probes == 9);
    });
}

TEST_CASE("The guest's own answer to the probe is no conflict") {
    in_namespace([] {
        Segment segment;
        segment.guests->discover(guest);
        segment.run(Milliseconds{20});
        const auto asked = segment.guests->asked();
        REQUIRE(asked.size() == 1);
        segment.guests->claim(guest, asked[0]);
        CHECK(segment.next(guest).message.yiaddr == asked[0]);
    });
}

TEST_CASE("A port that no socket has told is looked up once for each message") {
    in_namespace([] {
        std::vector<MacAddress> asked;
        Segment segment(server_config(), {}, [&](const MacAddress& mac) {
            asked.push_back(mac);
            return 7U;
        });
        const Ipv4 address = segment.lease(guest);
        CHECK(segment.service->table().find(address)->port == 7);
        CHECK(asked == std::vector<MacAddress>{guest, guest});
    });
}

TEST_CASE("An address behind a relay is probed by ICMP and a host that answers keeps it") {
    in_namespace([] {
        Segment segment;
        const MacAddress relay = guest_mac(0xaaaa);
        Message discover = segment.guests->message(MessageType::Discover, guest);
        discover.giaddr = Ipv4(192, 168, 100, 250);
        discover.hops = 1;
        const auto payload = serialize(discover, Room{}).bytes;
        const auto socket = open_packet_socket(if_nametoindex("far"));
        REQUIRE(socket);
        const auto all = FileDescriptor(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0x0008));
        REQUIRE(send_frame(socket->get(), build_frame(relay, MacAddress::broadcast(), discover.giaddr, server_port,
                                                      server_address, server_port, payload)) == 0);
        segment.run(Milliseconds{30});
        // The echo request goes to the relay's hardware address; answer it.
        std::optional<Ipv4> asked;
        std::array<std::uint8_t, 2048> buffer{};
        for (;;) {
            const auto got = recv(all.get(), buffer.data(), buffer.size(), 0);
            if (got < 0) break;
            if (buffer[23] != 1 || buffer[34] != 8 || buffer[5] != 0xaa) continue;
            asked = Ipv4(buffer[30], buffer[31], buffer[32], buffer[33]);
        }
        REQUIRE(asked);
        CHECK(segment.guests->asked().empty());
        const auto replies = segment.run(Milliseconds{300}, [](const auto& heard) { return !heard.empty(); });
        REQUIRE(replies.size() == 1);
        CHECK(replies[0].datagram.destination == discover.giaddr);
        CHECK(replies[0].datagram.destination_port == server_port);
        CHECK(replies[0].datagram.ethernet_destination == relay);
        CHECK(replies[0].message.yiaddr == *asked);
    });
}
