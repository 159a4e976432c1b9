// Whom the service answers, and what one guest cannot do to the others.

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

TEST_CASE("one guest's unanswerable questions do not cost the others theirs") {
    Lab lab;
    lab.config.admission.outstanding = 400;
    lab.config.admission.share = 50;
    lab.server().script = [](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        Name name;
        std::size_t position = 12;
        name.read_uncompressed(asked.query, position);
        if (to_string(name).ends_with("dead.example")) return std::nullopt;
        return ScriptedUpstream::Answer{make_response(asked.query)};
    };
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
        CHECK(Steady::now() - begin < 200ms);
    }
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
