// What is kept: on disk, over restarts, while the clock jumps or the disk does not answer.

#include "dhcp/service.hpp"

#include <algorithm>
#include <set>

#include "tests/unit/dhcp/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

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
