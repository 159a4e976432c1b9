#include "dhcp/history.hpp"

#include <catch2/catch.hpp>

namespace vmrouter::dhcp {
namespace {

HardwareAddress guest(unsigned number) {
    return HardwareAddress{
        MacAddress{{0x52, 0x54, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}}};
}

Time at(int second) {
    return Time{Seconds{1'000'000 + second}};
}

/// "DISCOVER: no free address"
Note discover(unsigned number, int second, Silence silence = Silence::NoAddress, int port = 7) {
    Note note;
    note.verb = "DISCOVER";
    note.message = MessageType::Discover;
    note.client = guest(number);
    note.silence = silence;
    note.detail = to_string(silence);
    note.port = port;
    note.time = at(second);
    return note;
}

Note ack(unsigned number, int second) {
    Note note = discover(number, second, Silence::None);
    note.verb = "ACK";
    note.message = MessageType::Request;
    note.address = Ipv4(192, 168, 100, 23);
    note.detail = "for 1h";
    return note;
}

}  // namespace

TEST_CASE("What a guest asked and why it got nothing is kept with its port and time") {
    GuestHistory history;
    history.add(discover(1, 10));
    const GuestRecord* record = history.find(guest(1));
    REQUIRE(record != nullptr);
    CHECK(record->last_seen == at(10));
    CHECK(record->port == 7);
    CHECK_FALSE(record->granted);
    REQUIRE(record->events.size() == 1);
    CHECK(record->events[0].message == MessageType::Discover);
    CHECK(record->events[0].silence == Silence::NoAddress);
    CHECK(record->events[0].detail == "no free address");
    CHECK(history.find(guest(2)) == nullptr);
}

TEST_CASE("The same thing again and again is one event with a count") {
    GuestHistory history;
    for (int second = 0; second < 100; ++second) history.add(discover(1, second));
    history.add(ack(1, 100));
    const GuestRecord* record = history.find(guest(1));
    REQUIRE(record->events.size() == 2);
    CHECK(record->events[0].count == 100);
    CHECK(record->events[0].first == at(0));
    CHECK(record->events[0].last == at(99));
    CHECK(record->events[1].verb == "ACK");
    CHECK(record->events[1].address == Ipv4(192, 168, 100, 23));
    CHECK(record->granted);
}

TEST_CASE("A guest has only its last events") {
    GuestHistory history;
    for (int second = 0; second < 50; ++second) history.add(second % 2 == 0 ? discover(1, second) : ack(1, second));
    const GuestRecord* record = history.find(guest(1));
    REQUIRE(record->events.size() == GuestRecord::most_events);
    CHECK(record->events.back().last == at(49));
    CHECK(record->first_seen == at(0));
}

TEST_CASE("What others send in a guest's name pushes out nothing that it did itself") {
    GuestHistory history;
    history.add(ack(1, 1));
    for (int second = 2; second < 100; ++second) {
        Note forged = discover(1, second, Silence::ForgedSource, 9);
        forged.detail += std::to_string(second);  // another source each time
        history.add(forged);
    }
    const GuestRecord* record = history.find(guest(1));
    CHECK(record->last_seen == at(1));
    CHECK(record->port == 7);
    REQUIRE(record->events.size() == 1);
    REQUIRE(record->forged);
    CHECK(record->forged->count == 98);
    CHECK(record->forged->port == 9);
}

TEST_CASE("Guests that are made up push out one another and never a guest that was served") {
    GuestHistory history(8);
    for (unsigned number = 1; number <= 8; ++number) history.add(ack(number, static_cast<int>(number)));
    for (unsigned number = 1000; number < 3000; ++number) history.add(discover(number, 100));
    CHECK(history.size() == 12);
    for (unsigned number = 1; number <= 8; ++number) CHECK(history.find(guest(number)) != nullptr);
    CHECK(history.find(guest(2999)) != nullptr);
    CHECK(history.find(guest(1000)) == nullptr);
    history.add(ack(9, 200));  // one more that is real: the oldest of those makes room
    CHECK(history.find(guest(1)) == nullptr);
    CHECK(history.find(guest(9)) != nullptr);
}

TEST_CASE("A guest that is granted an address later is counted with the others that were") {
    GuestHistory history(2);
    history.add(discover(1, 1));
    history.add(ack(1, 2));
    for (unsigned number = 1000; number < 1010; ++number) history.add(discover(number, 100));
    REQUIRE(history.find(guest(1)) != nullptr);
    CHECK(history.find(guest(1))->granted);
    CHECK(history.size() == 2);
}

TEST_CASE("Guests are listed by when they were heard") {
    GuestHistory history;
    history.add(discover(1, 1));
    history.add(ack(2, 2));
    history.add(discover(3, 3));
    history.add(discover(1, 4));
    const auto all = history.newest_first();
    REQUIRE(all.size() == 3);
    CHECK(all[0]->client == guest(1));
    CHECK(all[1]->client == guest(3));
    CHECK(all[2]->client == guest(2));
}

}  // namespace vmrouter::dhcp
