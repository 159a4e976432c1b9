// The service at work on one segment: a guest, its lease, who hears of it.

#include "dhcp/service.hpp"

#include <fstream>

#include "tests/unit/dhcp/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

TEST_CASE("A new guest gets its lease after the probe and it is on disk when the ACK arrives") {
    in_namespace([] {
        Segment segment;
        segment.guests->discover(guest);
        const Heard offer = segment.next(guest);
        CHECK(offer.message.type() == MessageType::Offer);
        CHECK(offer.at >= Milliseconds{95});
        CHECK(offer.at < Milliseconds{250});
        const Ipv4 address = offer.message.yiaddr;
        CHECK(segment.guests->asked() == std::vector<Ipv4>{address});
        CHECK_FALSE(journal_has(segment, address));  // an offer is nothing to keep

        bool known_first = false;
        segment.observer.on_change = [&] {
            known_first = journal_has(segment, address) && segment.guests->replies().empty();
        };
        segment.guests->request(guest, address);
        const Heard ack = segment.next(guest);
        CHECK(ack.message.type() == MessageType::Ack);
        CHECK(known_first);  // on disk, then the firewall and DNS, then the guest
        CHECK(journal_has(segment, address));
        REQUIRE(segment.service->leases().size() == 1);
        CHECK(segment.service->leases()[0].address == address);

        segment.run(Milliseconds{30});
        const auto line = *read_file(segment.folder / "leases");
        CHECK(line == lease_line(segment.service->leases()[0]));
        CHECK(segment.service->counters().acks == 1);
    });
}

TEST_CASE("Options that did not fit are logged, a few times for as many guests as there are") {
    in_namespace([] {
        ServerConfig config = server_config();
        config.ping_check = false;
        config.options = {{119, std::vector<std::uint8_t>(200, 'd')}, {121, std::vector<std::uint8_t>(90, 8)}};
        Segment segment;
        segment.stop();
        const LogOf log(segment.folder / "log");
        segment.start(config);
        for (std::uint16_t i = 1; i <= 20; ++i) {
            segment.guests->discover(guest_mac(i));
            CHECK(segment.next(guest_mac(i)).message.yiaddr != Ipv4{});
        }
        const std::string text = *read_file(segment.folder / "log");
        CHECK(text.find("a reply to 52:54:00:00:00:01 holds 548 bytes, and option 121 did not fit") !=
              std::string::npos);
        std::size_t lines = 0;
        for (auto at = text.find("did not fit"); at != std::string::npos; at = text.find("did not fit", at + 1))
            ++lines;
        CHECK(lines >= 1);
        CHECK(lines < 15);
    });
}

TEST_CASE("A guest that is known has its offer without a probe") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        segment.guests->asked();
        segment.guests->discover(guest);
        const Heard offer = segment.next(guest);
        CHECK(offer.message.yiaddr == address);
        CHECK(offer.at < Milliseconds{50});
        CHECK(segment.guests->asked().empty());
    });
}

TEST_CASE("A reservation in the hosts file counts as soon as the file is there") {
    in_namespace([] {
        Segment segment;
        const Ipv4 dynamic = segment.lease(guest);
        std::ofstream(segment.folder / "hostsfile") << "52:54:00:00:00:01,192.168.100.200,web\n";
        segment.run(Milliseconds{50});
        CHECK(segment.service->reservations().entries().size() == 1);
        segment.guests->renew(guest, dynamic);
        CHECK(segment.next(guest).message.type() == MessageType::Nak);
        CHECK(segment.lease(guest) == Ipv4(192, 168, 100, 200));
        CHECK(segment.service->leases()[0].name == "web");
    });
}

TEST_CASE("A pinned lease is a reservation and a dropped one is refused at its next renewal") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        REQUIRE(replace_file(segment.folder / "hostsfile", "# without a newline at its end"));
        REQUIRE(segment.service->pin(address));
        const auto* entry = segment.service->reservations().by_address(address);
        REQUIRE(entry != nullptr);
        CHECK(entry->macs.at(0).matches(HardwareAddress(guest)));
        CHECK_FALSE(segment.service->pin(address));
        CHECK_FALSE(segment.service->pin(Ipv4(192, 168, 100, 9)));

        REQUIRE(segment.service->drop(address));
        CHECK_FALSE(segment.service->drop(Ipv4(192, 168, 100, 9)));
        segment.run(Milliseconds{20});
        CHECK_FALSE(journal_has(segment, address));
        segment.guests->renew(guest, address);
        CHECK(segment.next(guest).message.type() == MessageType::Nak);
    });
}

TEST_CASE("A lease is not pinned where the line would never count, and the file stays as it was") {
    in_namespace([] {
        Segment segment;
        const std::string file = segment.folder / "hostsfile";
        const Ipv4 address = segment.lease(guest);
        const Ipv4 other = segment.lease(guest_mac(2));
        const auto refused = [&](const std::string& content, Ipv4 which) {
            REQUIRE(replace_file(file, content));
            const auto pinned = segment.service->pin(which);
            CHECK(*read_file(file) == content);
            CHECK(segment.service->reservations().by_address(which) == nullptr);
            REQUIRE_FALSE(pinned);
            return to_string(pinned.error());
        };
        CHECK(refused("52:54:00:00:00:09,other\n52:54:00:00:00:01,web\n", address).find(file + ":2") !=
              std::string::npos);
        CHECK(refused("52:54:00:00:00:01,192.168.100.77\n", address).find("192.168.100.77") != std::string::npos);
        // Lines with a tag that holds come before any other, a wildcard among them.
        CHECK(refused("52:54:00:00:00:*,tag:near,2h\n", address).find(file + ":1") != std::string::npos);
        REQUIRE(replace_file(file, "52:54:00:00:00:*,2h\n"));
        CHECK(segment.service->pin(address));
        CHECK(segment.service->pin(other));
        CHECK(segment.service->reservations().by_address(other) != nullptr);
    });
}

TEST_CASE("Another server on the segment is reported") {
    in_namespace([] {
        Segment segment;
        Message offer;
        offer.op = Message::reply;
        offer.chaddr = HardwareAddress(guest);
        offer.yiaddr = Ipv4(192, 168, 1, 5);
        offer.options.add_u8(option::message_type, 2);
        offer.options.add_ip(option::server_identifier, Ipv4(192, 168, 1, 1));
        const auto frame = build_frame(squatter, MacAddress::broadcast(), Ipv4(192, 168, 1, 1), server_port,
                                       Ipv4(255, 255, 255, 255), client_port, serialize(offer, Room{}).bytes);
        const auto rogue = open_packet_socket(if_nametoindex("far"));
        REQUIRE(rogue);
        REQUIRE(send_frame(rogue->get(), frame) == 0);
        segment.run(Milliseconds{50});
        REQUIRE(segment.observer.servers.size() == 1);
        CHECK(segment.observer.servers[0].mac == squatter);
        CHECK(segment.observer.servers[0].server == Ipv4(192, 168, 1, 1));
        CHECK(segment.observer.servers[0].offers == Ipv4(192, 168, 1, 5));
    });
}

TEST_CASE("An interface that was made anew is served again without losing a lease") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        shell("ip link del near");
        segment.guests.emplace("lo");
        segment.run(Milliseconds{20});
        CHECK(segment.observer.failures.size() == 1);
        make_cable();
        segment.guests.emplace("far");
        segment.service->replace_sockets(std::move(*open_sockets("near")));
        segment.guests->renew(guest, address);
        CHECK(segment.next(guest).message.type() == MessageType::Ack);
        segment.lease(guest_mac(2));  // with a probe
    });
}

TEST_CASE("Why a guest has no address can be told from its history") {
    in_namespace([] {
        HostEntry nobody;
        nobody.macs.push_back({HardwareAddress(guest_mac(9)), 0});
        nobody.ignore = true;
        nobody.where = "test";
        Segment segment(server_config(), {nobody});
        segment.guests->discover(guest_mac(9));
        segment.guests->discover(guest_mac(9));
        std::vector<std::uint8_t> junk(300, 0xff);
        REQUIRE(send_frame(open_packet_socket(if_nametoindex("far"))->get(),
                           build_frame(squatter, MacAddress::broadcast(), {}, client_port, Ipv4(255, 255, 255, 255),
                                       server_port, junk)) == 0);
        segment.lease(guest);

        const auto& history = segment.service->history();
        const GuestRecord* ignored = history.find(HardwareAddress(guest_mac(9)));
        REQUIRE(ignored != nullptr);
        REQUIRE(ignored->events.size() == 1);
        CHECK(ignored->events[0].count == 2);
        CHECK(ignored->events[0].silence == Silence::Ignored);
        CHECK(ignored->events[0].message == MessageType::Discover);
        const GuestRecord* strange = history.find(HardwareAddress(squatter));
        REQUIRE(strange != nullptr);
        CHECK(strange->events.at(0).silence == Silence::Unreadable);
        const GuestRecord* served = history.find(HardwareAddress(guest));
        REQUIRE(served != nullptr);
        CHECK(served->granted);
        CHECK(served->events.back().verb == "ACK");
        CHECK(history.newest_first().front() == served);
    });
}

TEST_CASE("A lease was last seen when its guest last said anything") {
    in_namespace([] {
        Segment segment;
        segment.lease(guest);
        const Time bound = segment.service->leases().at(0).last_seen;
        segment.run(Milliseconds{30});
        segment.guests->discover(guest);
        segment.next(guest);
        CHECK(segment.service->leases().at(0).last_seen >= bound + Milliseconds{30});
        CHECK(segment.service->table().find(segment.service->leases().at(0).address)->last_seen == bound);
    });
}

TEST_CASE("A new configuration counts from the next message on and leases stay") {
    in_namespace([] {
        ServerConfig narrow = server_config();
        narrow.range = {Ipv4(192, 168, 100, 10), Ipv4(192, 168, 100, 10)};
        Segment segment(narrow);
        const Ipv4 address = segment.lease(guest);
        segment.guests->discover(guest_mac(2));
        CHECK(segment.silent());

        ServerConfig wide = server_config();
        wide.lease_time = Seconds{7200};
        wide.domain = "other.internal";
        wide.ntp_servers = {Ipv4(192, 168, 100, 1)};
        HostEntry third;
        third.macs.push_back({HardwareAddress(guest_mac(3)), 0});
        third.address = Ipv4(192, 168, 100, 33);
        third.where = "test";
        segment.service->reconfigure(wide, {third}, "");
        segment.guests->renew(guest, address);
        const Heard ack = segment.next(guest);
        CHECK(ack.message.type() == MessageType::Ack);
        CHECK(ack.message.options.u32(option::lease_time) == 7200);
        CHECK(ack.message.options.text(option::domain_name) == "other.internal");
        CHECK(ack.message.options.ip(option::ntp_servers) == Ipv4(192, 168, 100, 1));
        CHECK(segment.lease(guest_mac(2)) != address);
        CHECK(segment.lease(guest_mac(3)) == Ipv4(192, 168, 100, 33));

        segment.service->reconfigure(narrow, {}, "");  // and back: what lies outside is refused at its renewal
        segment.guests->renew(guest_mac(3), Ipv4(192, 168, 100, 33));
        CHECK(segment.next(guest_mac(3)).message.type() == MessageType::Nak);
        segment.guests->renew(guest, address);
        CHECK(segment.next(guest).message.type() == MessageType::Ack);
    });
}
