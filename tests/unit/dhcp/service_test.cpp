#include "dhcp/service.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

#include "dhcp/journal.hpp"
#include "dhcp/lease_file.hpp"
#include "tests/unit/dhcp/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

const MacAddress guest = guest_mac(1);
const MacAddress squatter = guest_mac(0xeeee);

std::vector<Lease> leases_on_disk(Segment& segment) {
    return load_leases(Paths::beside(segment.folder / "leases", segment.folder / "hostsfile"));
}

bool journal_has(Segment& segment, Ipv4 address) {
    std::optional<Lease> last;
    for (const auto& record : parse_journal(*read_file(segment.folder / "leases.journal")).records)
        if (record.address == address) last = record.lease;
    return last.has_value();
}

}  // namespace

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

TEST_CASE("What waits for the disk is bounded and whoever is over the bound asks again") {
    in_namespace([] {
        Segment segment;
        segment.stop();
        segment.most_waiting = 8;
        ServerConfig config = server_config();
        config.ping_check = false;
        segment.start(config);
        // More at once than the disk may be given; offers need none.
        for (std::uint16_t i = 0; i < 40; ++i)
            segment.guests->request(guest_mac(i), Ipv4(192, 168, 100, static_cast<std::uint8_t>(10 + i)));
        segment.guests->discover(guest_mac(100));
        std::set<MacAddress> acknowledged;
        const auto replies = segment.run(Milliseconds{5000}, [](const auto& all) { return all.size() >= 9; });
        segment.run(Milliseconds{50});
        for (const Heard& heard : replies)
            if (heard.message.type() == MessageType::Ack) acknowledged.insert(*heard.message.chaddr.mac());
        CHECK(segment.service->counters().offers == 1);
        CHECK(segment.service->counters().silent > 0);
        CHECK(segment.service->counters().silent + segment.service->counters().acks == 40);
        CHECK(segment.service->leases().size() == segment.service->counters().acks);
        CHECK(std::any_of(segment.observer.notes.begin(), segment.observer.notes.end(),
                          [](const std::string& note) { return note.ends_with(": too much waits for the disk"); }));
        for (std::uint16_t i = 0; i < 40; ++i) {
            if (acknowledged.contains(guest_mac(i))) continue;
            segment.guests->request(guest_mac(i), Ipv4(192, 168, 100, static_cast<std::uint8_t>(10 + i)));
            CHECK(segment.next(guest_mac(i)).message.type() == MessageType::Ack);
        }
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

TEST_CASE("Leases survive a restart and keep their addresses") {
    in_namespace([] {
        Segment segment;
        std::map<MacAddress, Ipv4> given;
        for (std::uint16_t i = 0; i < 5; ++i) given[guest_mac(i)] = segment.lease(guest_mac(i));
        segment.stop();
        CHECK(leases_on_disk(segment).size() == 5);
        const auto before = *read_file(segment.folder / "leases");
        CHECK(parse_lease_file(before).leases.size() == 5);
        CHECK(parse_lease_file(before).leases[0].address == given[guest_mac(4)]);  // newest first

        for (int restart = 0; restart < 2; ++restart) {
            segment.start();
            segment.stop();
            CHECK(*read_file(segment.folder / "leases") == before);
        }
        segment.start();
        CHECK(segment.service->leases().size() == 5);
        for (const auto& [mac, address] : given) {
            segment.guests->renew(mac, address);
            const Heard ack = segment.next(mac);
            CHECK(ack.message.type() == MessageType::Ack);
            CHECK(ack.message.yiaddr == address);
        }
    });
}

TEST_CASE("While the disk is full known guests renew and new ones are refused and then all is well again") {
    in_namespace([] {
        Segment segment;
        const Ipv4 known = segment.lease(guest);
        segment.guests->discover(guest_mac(2));
        const Ipv4 offered = segment.next(guest_mac(2)).message.yiaddr;
        std::optional<FullDisk> full(std::in_place, 16);

        segment.guests->request(guest_mac(2), offered);
        CHECK(segment.silent(Milliseconds{100}));
        const Lease* entry = segment.service->table().find(offered);
        CHECK((entry == nullptr || entry->state == LeaseState::Offered));  // taken back
        CHECK_FALSE(segment.service->health().storage_ok);
        CHECK(segment.service->health().storage_error.find("File too large") != std::string::npos);

        segment.guests->renew(guest, known);
        CHECK(segment.next(guest).message.type() == MessageType::Ack);
        segment.guests->discover(guest_mac(3));
        CHECK(segment.silent());

        full.reset();
        segment.run(Milliseconds{5000}, [&](const auto&) { return segment.service->health().storage_ok; });
        REQUIRE(segment.service->health().storage_ok);
        const Ipv4 second = segment.lease(guest_mac(2));
        CHECK(journal_has(segment, known));
        CHECK(journal_has(segment, second));
        CHECK(parse_journal(*read_file(segment.folder / "leases.journal")).bad.empty());
    });
}

TEST_CASE("A clock that is set forward by a day while we run ends no lease") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        const Time before = *segment.service->leases()[0].expires;
        segment.clock.offset = std::chrono::hours{24};
        segment.guests->discover(guest_mac(2));  // anything that makes the server look at the clock
        segment.next(guest_mac(2));
        REQUIRE(segment.service->leases().size() == 1);
        const Time after = *segment.service->leases()[0].expires;
        CHECK(after - before > std::chrono::hours{23});
        CHECK(after - before < std::chrono::hours{25});
        segment.clock.offset = -std::chrono::hours{24};
        segment.guests->renew(guest, address);
        CHECK(segment.next(guest).message.type() == MessageType::Ack);
        CHECK(*segment.service->leases()[0].expires < before);
    });
}

TEST_CASE("What ends while the machine sleeps has ended when it wakes up and the rest goes on") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        segment.clock.sleep(std::chrono::minutes{20});
        segment.service->time_has_passed();
        segment.run(Milliseconds{50});
        REQUIRE(segment.service->leases().size() == 1);
        const auto left = *segment.service->leases()[0].expires - segment.clock.now();
        CHECK(left < std::chrono::minutes{41});  // of an hour; a clock that was set would leave it the hour
        CHECK(left > std::chrono::minutes{39});
        segment.observer.all.clear();
        segment.clock.sleep(std::chrono::minutes{41});
        segment.service->time_has_passed();
        segment.run(Milliseconds{5000}, [&](const auto&) { return !segment.observer.all.empty(); });
        CHECK(segment.service->leases().empty());
        REQUIRE_FALSE(segment.observer.all.empty());
        CHECK(segment.observer.all[0].cause == Cause::Expire);
        segment.guests->discover(guest);
        CHECK(segment.next(guest).message.yiaddr == address);  // its own again
    });
}

TEST_CASE("A lease that ends leaves the files and the observer hears of it") {
    in_namespace([] {
        ServerConfig config = server_config();
        config.lease_time = Seconds{1};
        Segment segment(config);
        const Ipv4 address = segment.lease(guest);
        segment.observer.all.clear();
        segment.run(Milliseconds{3500}, [&](const auto&) { return segment.service->leases().empty(); });
        CHECK(segment.service->leases().empty());
        segment.run(Milliseconds{1200});
        REQUIRE_FALSE(segment.observer.all.empty());
        CHECK(segment.observer.all[0].cause == Cause::Expire);
        CHECK(read_file(segment.folder / "leases")->empty());
        CHECK_FALSE(journal_has(segment, address));
    });
}

TEST_CASE("The leases file is at most a second behind") {
    in_namespace([] {
        Segment segment;
        for (std::uint16_t i = 0; i < 8; ++i) segment.lease(guest_mac(i));
        segment.run(Milliseconds{1000});
        CHECK(parse_lease_file(*read_file(segment.folder / "leases")).leases.size() == 8);
    });
}

TEST_CASE("The leases file of dnsmasq is taken over and its guests keep their addresses") {
    in_namespace([] {
        Segment segment;
        segment.stop();
        std::filesystem::remove(segment.folder / "leases.journal");
        const auto expires =
            std::to_string(std::chrono::floor<Seconds>(segment.clock.now() + Seconds{3000}).time_since_epoch().count());
        REQUIRE(replace_file(segment.folder / "leases",
                             expires + " 52:54:00:00:00:01 192.168.100.77 vmA 01:52:54:00:00:00:01\n" + "nonsense\n" +
                                 "duid 00:01:00:01:2c:5b:9d:52:52:54:00:12:34:56\n" + expires +
                                 " 98765 fd00::1235 * 00:01:00:02\n"));
        segment.start();
        REQUIRE(segment.service->leases().size() == 1);
        CHECK(segment.service->leases()[0].name == "vmA");
        segment.guests->discover(guest);
        CHECK(segment.next(guest).message.yiaddr == Ipv4(192, 168, 100, 77));
        CHECK(read_file(segment.folder / "leases.bad")->find("nonsense\n") != std::string::npos);
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

TEST_CASE("Leases and reservations go on in other files when they are told to") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest);
        REQUIRE(
            replace_file(segment.folder / "elsewhere", "4000000000 52:54:00:00:00:63 192.168.100.99 there *\n", 0644));
        REQUIRE(replace_file(segment.folder / "hosts2", "52:54:00:00:00:05,192.168.100.55\n", 0644));
        segment.service->move_files(Paths::beside(segment.folder / "elsewhere", segment.folder / "hosts2"));
        CHECK(segment.service->reservations().by_address(Ipv4(192, 168, 100, 55)) != nullptr);
        segment.run(Milliseconds{100});
        const Ipv4 second = segment.lease(guest_mac(2));
        segment.run(Milliseconds{1000});
        const auto leases = *read_file(segment.folder / "elsewhere");
        const auto journal = *read_file(segment.folder / "elsewhere.journal");
        for (const Ipv4 one : {address, second, Ipv4(192, 168, 100, 99)}) {
            CHECK(leases.find(" " + to_string(one) + " ") != std::string::npos);
            CHECK(journal.find("+ " + to_string(one) + " ") != std::string::npos);
        }
        CHECK(read_file(segment.folder / "leases.journal")->find(to_string(second)) == std::string::npos);
        // The new hosts file is the one that is watched.
        REQUIRE(replace_file(segment.folder / "hosts2", "52:54:00:00:00:05,192.168.100.56\n", 0644));
        segment.run(Milliseconds{100});
        CHECK(segment.service->reservations().by_address(Ipv4(192, 168, 100, 56)) != nullptr);
    });
}

TEST_CASE("Leases are given while the place where they are to go is not there yet") {
    in_namespace([] {
        Segment segment;
        segment.lease(guest);
        const std::string there = segment.folder / "there";
        segment.service->move_files(Paths::beside(there + "/leases", segment.folder / "hostsfile"));
        segment.run(Milliseconds{100});
        CHECK(segment.service->health().storage_ok);
        const Ipv4 second = segment.lease(guest_mac(2));
        CHECK(journal_has(segment, second));  // in the old place
        std::filesystem::create_directory(there);
        const auto moved = [&](const auto&) { return std::filesystem::exists(there + "/leases.journal"); };
        segment.run(Milliseconds{15000}, moved);
        REQUIRE(moved(0));
        CHECK(read_file(there + "/leases.journal")->find("+ " + to_string(second) + " ") != std::string::npos);
    });
}

TEST_CASE("A server with leases that end in the year 9999 does not wake up either") {
    in_namespace([] {
        Segment segment;
        segment.stop();
        REQUIRE(replace_file(segment.folder / "leases", "253402300799 52:54:00:00:00:63 192.168.100.99 * *\n", 0644));
        std::filesystem::remove(segment.folder / "leases.journal");
        segment.start();
        segment.run(Milliseconds{1100});
        REQUIRE(segment.service->leases().size() == 1);
        segment.io.restart();
        CHECK(segment.io.run_for(Milliseconds{500}) == 0);
    });
}

TEST_CASE("A server without work does not wake up") {
    in_namespace([] {
        Segment segment;
        segment.lease(guest);
        segment.run(Milliseconds{1100});
        for (int i = 0; i < 5; ++i) segment.guests->claim(squatter, Ipv4(192, 168, 100, 250));  // the segment's ARP
        segment.io.restart();
        CHECK(segment.io.run_for(Milliseconds{1500}) == 0);
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
