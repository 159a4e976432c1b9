// Whom the service answers, and what one guest cannot do to the others.

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/unit/dns/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

TEST_CASE("nobody but guests is answered") {
    Lab lab;
    lab.start();
    for (const auto stranger : {Ipv4{127, 0, 0, 1}, Ipv4{127, 0, 67, 2}, Ipv4{127, 0, 66, 0}, Ipv4{127, 0, 66, 255}}) {
        if (stranger == Ipv4{127, 0, 66, 255}) continue;  // the kernel does not let us send from it
        Guest guest{lab.port, stranger};
        guest.send(make_query({.name = "vm1"}));
        CHECK(lab.answer(guest, 100ms).empty());
        Stream stream{lab.port, stranger};
        stream.send(framed(make_query({.name = "vm1"})));
        CHECK(lab.answer(stream, 100ms).empty());
        CHECK(stream.closed);
    }
    CHECK(lab.service->counters().foreign == 3);
    Guest host{lab.port, our_address};
    host.send(make_query({.name = "vm1"}));
    CHECK(answers(lab.answer(host)) == 1);
    lab.config.host_lookup = false;
    lab.service->reconfigure(lab.config);
    host.send(make_query({.name = "vm1"}));
    CHECK(lab.answer(host, 100ms).empty());
}

TEST_CASE("malformed queries get FORMERR and responses get silence") {
    Lab lab;
    lab.start();
    Guest guest{lab.port};
    auto response = make_query({});
    response[2] |= 0x80;
    guest.send(response);
    guest.send(Packet{1, 2, 3});
    guest.send(Packet(5000));
    CHECK(lab.answer(guest, 100ms).empty());
    auto two = make_query({.id = 5});
    two[5] = 2;
    guest.send(two);
    const auto formerr = lab.answer(guest);
    CHECK(rcode(formerr) == 1);
    CHECK(id(formerr) == 5);
    auto notify = make_query({});
    notify[2] = 0x20;
    guest.send(notify);
    CHECK(rcode(lab.answer(guest)) == 4);
    CHECK(lab.server().questions == 0);
}

namespace {

/// As dns/name.cpp takes eight bytes of a label into the hash.
std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(state ^ word) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// Names under `parent` that all hash alike: the second half of the label undoes what the first half did.
std::vector<Name> alike(const Name& parent, std::size_t count) {
    std::vector<Name> names;
    std::optional<std::uint64_t> wanted;
    for (std::uint32_t number = 0; names.size() < count; ++number) {
        std::array<std::uint8_t, 16> label{15, 'n', 'a', 'm', static_cast<std::uint8_t>('a' + number % 26)};
        std::memcpy(label.data() + 5, &number, 3);
        std::uint64_t first = 0;
        std::memcpy(&first, label.data(), 8);
        const auto state = mix(parent.hash(), first);
        if (!wanted) wanted = state ^ 0x6161616161616161;
        const std::uint64_t second = state ^ *wanted;
        std::memcpy(label.data() + 8, &second, 8);
        const auto upper = [](std::uint8_t byte) { return byte >= 'A' && byte <= 'Z'; };
        if (std::any_of(label.begin(), label.end(), upper)) continue;
        std::vector<std::uint8_t> wire(label.begin(), label.end());
        wire.insert(wire.end(), parent.wire().begin(), parent.wire().end());
        names.push_back(*Name::from_wire(wire));
    }
    return names;
}

}  // namespace

TEST_CASE("questions whose names hash alike are told apart") {
    const auto names = alike(*Name::parse("attacker.example"), 3000);
    Lab lab;
    lab.config.admission.share = 4096;
    lab.server().be_silent();
    lab.start();
    Guest guest{lab.port};
    std::set<std::uint64_t> hashes;
    for (std::size_t i = 0; i < names.size(); ++i) {
        hashes.insert(names[i].hash());
        Packet packet = make_query({.id = static_cast<std::uint16_t>(i)});
        packet.resize(12);
        packet.insert(packet.end(), names[i].wire().begin(), names[i].wire().end());
        packet.insert(packet.end(), {0, 1, 0, 1});
        guest.send(packet);
        guest.send(packet);  // impatient: the same question again
        if (i % 100 == 99) lab.run_until([&] { return lab.service->counters().forwarded > i; });
    }
    CHECK(hashes.size() == 1);
    lab.run(20ms);
    CHECK(lab.service->counters().forwarded == names.size());
}

namespace {

/// Says nothing about what is under dead.example.
std::optional<ScriptedUpstream::Answer> silent_about_the_dead(const ScriptedUpstream::Asked& asked) {
    Name name;
    std::size_t position = 12;
    name.read_uncompressed(asked.query, position);
    if (to_string(name).ends_with("dead.example")) return std::nullopt;
    return ScriptedUpstream::Answer{make_response(asked.query)};
}

}  // namespace

TEST_CASE("one guest's unanswerable questions do not cost the others theirs") {
    Lab lab;
    lab.config.admission.outstanding = 300;
    lab.config.admission.share = 50;
    lab.server().script = silent_about_the_dead;
    lab.start();
    Guest greedy{lab.port};
    for (int i = 0; i < 1000; ++i) {
        greedy.send(make_query({.name = "n" + std::to_string(i) + ".dead.example"}));
        if (i % 50 == 0) lab.run(1ms);
    }
    lab.run(50ms);
    CHECK(lab.service->counters().outstanding <= 201);
    CHECK(lab.service->counters().over_limit >= 750);
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    for (int i = 0; i < 20; ++i) {
        const auto begin = Steady::now();
        other.send(make_query({.name = "m" + std::to_string(i) + ".example"}));
        CHECK(answers(lab.answer(other)) == 1);
        CHECK(Steady::now() - begin < 1000ms);
    }
}

TEST_CASE("as many unanswerable questions as several guests may ask leave room for others") {
    Lab lab;
    lab.server().script = silent_about_the_dead;
    lab.start();
    std::vector<std::unique_ptr<Guest>> greedy;
    for (const auto guest : {Ipv4{127, 0, 66, 10}, Ipv4{127, 0, 66, 11}, Ipv4{127, 0, 66, 12}})
        greedy.push_back(std::make_unique<Guest>(lab.port, guest));
    const auto all_ask = [&](const std::string& round) {
        for (int i = 0; i < 12000; ++i) {
            greedy[static_cast<std::size_t>(i) % 3]->send(
                make_query({.name = "n" + std::to_string(i) + round + ".dead.example"}));
            if (i % 200 == 0) lab.run(1ms);
        }
    };
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    for (int round = 0; round < 2; ++round) {
        all_ask(std::to_string(round));
        lab.run(1000ms);  // until they would be asked for again
        other.send(make_query({.name = "m" + std::to_string(round) + ".example"}));
        CHECK(answers(lab.answer(other)) == 1);
    }
    CHECK(lab.service->counters().forwarded > 12000);
}

TEST_CASE("a guest that floods does not take the others' place in the queue") {
    Lab lab;
    lab.config.admission.crowded_per_second = 500;
    lab.config.admission.crowded_burst = 500;
    lab.start();
    lab.ask();
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    other.send(make_query({}));
    CHECK(answers(lab.answer(other)) == 1);
    Guest loud{lab.port};
    const auto flood = [&] {
        const auto query = make_query({});
        for (int i = 0; i < 30000; ++i) loud.send(query);  // more than the socket's buffer takes
    };
    const auto counters = [&] { return lab.service->counters(); };
    flood();  // the kernel tells of it with what it takes next, once a good part of its buffer is free again
    REQUIRE(lab.run_until([&] { return counters().queries > 10000; }));
    flood();
    REQUIRE(lab.run_until([&] { return counters().lost > 0; }));
    flood();
    lab.run_until([&] { return counters().over_limit > 12000; });
    CHECK(counters().over_limit > 12000);
    other.send(make_query({}));
    CHECK(answers(lab.answer(other, 2000ms)) == 1);
}

TEST_CASE("a loop through ourselves is noticed and not entered") {
    Lab lab(2);
    // The first "resolver" forwards everything to us, as a host whose resolver asks us does.
    lab.server(0).script = [&](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        Guest back{lab.port, our_address};
        back.send(asked.query);
        return std::nullopt;
    };
    lab.start();
    lab.run(100ms);
    CHECK(lab.service->counters().loops == 1);
    CHECK(lab.service->upstreams()[0].health == Health::Loop);
    CHECK(answers(lab.ask()) == 1);
    CHECK(lab.server(0).questions == 0);
}
