// The walk of a question: forwarded, merged, cached, answered here.

#include "dns/service.hpp"

#include <cstring>

#include "tests/unit/dns/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

TEST_CASE("a query is forwarded once and then answered from the cache with its TTL aged") {
    Lab lab;
    lab.start();
    const auto first = lab.ask({.name = "Www.Example.COM", .id = 99});
    CHECK(id(first) == 99);
    CHECK(answers(first) == 1);
    CHECK(std::memcmp(first.data() + 13, "Www", 3) == 0);
    const auto second = lab.ask({.name = "wWW.example.com", .id = 100});
    CHECK(id(second) == 100);
    CHECK(std::memcmp(second.data() + 13, "wWW", 3) == 0);
    CHECK(lab.server().questions == 1);
    const auto counters = lab.service->counters();
    CHECK(counters.queries == 2);
    CHECK(counters.cached == 1);
    CHECK(counters.forwarded == 1);
    CHECK(lab.observer.events == std::vector<std::string>{"127.0.66.2 Www.Example.COM A NOERROR upstream",
                                                          "127.0.66.2 wWW.example.com A NOERROR cache"});
}

TEST_CASE("cached answers age while the machine sleeps") {
    Lab lab;
    lab.start();
    lab.ask();
    lab.clock.slept = 299s;  // of 300
    lab.ask();
    CHECK(lab.server().questions == 1);
    lab.clock.slept = 301s;
    lab.ask();
    CHECK(lab.server().questions == 2);
}

TEST_CASE("after a sleep every upstream is probed at once, and after a change of networks those that were silent") {
    Lab lab(2);
    lab.start();
    lab.service->woke();
    REQUIRE(lab.run_until([&] {
        const auto all = lab.service->upstreams();
        return all[0].since_answer && all[1].since_answer;
    }));
    CHECK(lab.server(0).probes == 1);
    CHECK(lab.server(1).probes == 1);
    lab.server(0).be_silent();
    lab.service->woke();  // nobody asks, and still the dead one is found
    REQUIRE(lab.run_until([&] { return lab.service->upstreams()[0].health == Health::Down; }));
    CHECK(lab.service->upstreams()[1].health == Health::Up);
    const auto dead = lab.server(0).probes;
    const auto alive = lab.server(1).probes;
    lab.server(0).answer_with(0);
    lab.service->network_changed();
    REQUIRE(lab.run_until([&] { return lab.service->upstreams()[0].health == Health::Up; }, 900ms));
    CHECK(lab.server(0).probes == dead + 1);
    CHECK(lab.server(1).probes == alive);
}

TEST_CASE("guests and special names are answered here") {
    Lab lab;
    lab.start();
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
    CHECK(answers(lab.ask({.name = "vm1.vm.internal"})) == 1);
    CHECK(answers(lab.ask({.name = "2.66.0.127.in-addr.arpa", .type = Type::Ptr})) == 1);
    CHECK(rcode(lab.ask({.name = "nobody.vm.internal"})) == 3);
    CHECK(rcode(lab.ask({.name = "printer"})) == 3);
    CHECK(rcode(lab.ask({.name = "1.1.168.192.in-addr.arpa", .type = Type::Ptr})) == 3);
    CHECK(lab.server().questions == 0);
    CHECK(lab.service->counters().local == 6);
}

TEST_CASE("the same question asked by many is asked upstream once and each gets its own case") {
    Lab lab;
    lab.server().be_slow(100ms);
    lab.start();
    std::vector<std::unique_ptr<Guest>> guests;
    for (int i = 0; i < 20; ++i) {
        guests.push_back(std::make_unique<Guest>(lab.port, Ipv4{127, 0, 66, static_cast<std::uint8_t>(2 + i)}));
        guests.back()->send(
            make_query({.name = i % 2 ? "WWW.example.com" : "www.EXAMPLE.com", .id = static_cast<std::uint16_t>(i)}));
    }
    for (int i = 0; i < 20; ++i) {
        const auto packet = lab.answer(*guests[static_cast<std::size_t>(i)]);
        CHECK(id(packet) == i);
        CHECK(std::memcmp(packet.data() + 13, i % 2 ? "WWW" : "www", 3) == 0);
    }
    CHECK(lab.server().questions == 1);
    CHECK(lab.service->counters().merged == 19);
}

TEST_CASE("A and AAAA from one port at once are both answered") {
    Lab lab;
    lab.server().be_slow(30ms);
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({.type = Type::A, .id = 1}));
    guest.send(make_query({.type = Type::Aaaa, .id = 2}));
    guest.send(make_query({.type = Type::A, .id = 1}));  // an impatient client: one answer
    std::vector<int> ids{id(lab.answer(guest)), id(lab.answer(guest))};
    std::sort(ids.begin(), ids.end());
    CHECK(ids == std::vector<int>{1, 2});
    CHECK(lab.answer(guest, 200ms).empty());
}

TEST_CASE("a question that nobody answers ends in SERVFAIL within three seconds and at once without upstreams") {
    Lab lab;
    lab.server().be_silent();
    lab.start();
    auto begin = Steady::now();
    const auto packet = lab.ask({.edns = true});
    CHECK(rcode(packet) == 2);
    CHECK(Steady::now() - begin < 4500ms);  // 2.8 s (Upstream::deadline), on a machine that may be busy

    lab.service->set_upstreams({});
    begin = Steady::now();
    CHECK(rcode(lab.ask()) == 2);
    CHECK(Steady::now() - begin < 500ms);

    lab.server().answer_with(0);
    lab.service->set_upstreams(lab.config.upstreams);
    CHECK(rcode(lab.ask()) == 0);
}

TEST_CASE("while all upstreams are down old answers are served and say so") {
    Lab lab;
    lab.config.cache.stale_ttl = 30;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        packet[packet.size() - 7] = 1;  // TTL 0x00000101..: shortened below
        packet[packet.size() - 10] = packet[packet.size() - 9] = packet[packet.size() - 8] = 0;
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    REQUIRE(rcode(lab.ask()) == 0);
    lab.server().die();
    lab.run(1100ms);
    const auto begin = Steady::now();
    const auto stale = lab.ask({.edns = true});
    CHECK(rcode(stale) == 0);
    CHECK(answers(stale) == 1);
    CHECK(Steady::now() - begin < 1000ms);
    CHECK(lab.service->counters().stale == 1);
    CHECK(rcode(lab.ask({.name = "never.example"})) == 2);

    lab.config.serve_stale = false;
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask()) == 2);
}

TEST_CASE("what is known is served where the upstream only fails, and not where it says no") {
    Lab lab;
    lab.start();
    CHECK(answers(lab.ask()) == 1);
    lab.clock.slept += 1h;  // the answer has ended
    for (const auto failure : {std::uint8_t{2}, std::uint8_t{5}}) {
        lab.server().answer_with(failure);
        const auto stale = lab.ask();
        CHECK(rcode(stale) == 0);
        CHECK(answers(stale) == 1);
        CHECK(rcode(lab.ask({.name = "never.example"})) == failure);
    }
    CHECK(lab.service->counters().stale == 2);
    lab.server().answer_with(3);
    CHECK(rcode(lab.ask()) == 3);
    lab.server().answer_with(2);
    CHECK(rcode(lab.ask()) == 2);
}

TEST_CASE("an answer that points into a blocked network is taken out and told") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        if (!packet.empty() && packet[7] == 1) {
            packet[packet.size() - 4] = 192;
            packet[packet.size() - 3] = 168;
        }
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    const auto packet = lab.ask({.name = "rebind.example"});
    CHECK(rcode(packet) == 0);
    CHECK(answers(packet) == 0);
    CHECK(lab.observer.rebound == std::vector<std::string>{"127.0.66.2 rebind.example"});
    CHECK(lab.service->counters().rebound == 1);

    lab.config.rebind_protection = false;
    lab.service->reconfigure(lab.config);
    lab.service->flush_cache();
    CHECK(answers(lab.ask({.name = "rebind.example"})) == 1);
}

TEST_CASE("names of a route are asked there and nowhere else") {
    Lab lab(2);
    const auto other = lab.config.upstreams[1];
    lab.config.upstreams.pop_back();
    lab.config.routes = {{*Name::parse("corp.example"), {other}}};
    lab.start();
    lab.ask({.name = "a.corp.example"});
    CHECK(lab.server(0).questions == 0);
    CHECK(lab.server(1).questions == 1);
    lab.ask({.name = "b.example"});
    CHECK(lab.server(0).questions == 1);

    lab.server(1).die();
    CHECK(rcode(lab.ask({.name = "c.corp.example"})) == 2);
    lab.config.routes[0].upstreams.clear();
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask({.name = "a.corp.example"})) == 2);  // and what was cached by the old way is forgotten
    CHECK(lab.server(0).questions == 1);

    lab.config.routes.clear();
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask({.name = "a.corp.example"})) == 0);
    CHECK(lab.server(0).questions == 2);
}

TEST_CASE("a large answer is truncated over UDP and whole over TCP") {
    Lab lab;
    lab.server().script = [](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        if (is_health_probe(asked.query)) return ScriptedUpstream::Answer{make_response(asked.query, 0, false)};
        auto packet = make_response(asked.query, 0, false);
        if (!asked.tcp) {
            packet[2] |= 2;
            return ScriptedUpstream::Answer{packet};
        }
        const int count = 4000;  // A records of 16 bytes: 64,000
        packet[6] = count >> 8;
        packet[7] = count & 255;
        for (int i = 0; i < count; ++i)
            for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 8, i >> 8, i & 255, 1})
                packet.push_back(static_cast<std::uint8_t>(byte));
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    const auto over_udp = lab.ask({.name = "big.example"});
    CHECK((over_udp[2] & 2) != 0);
    CHECK(answers(over_udp) == 0);
    Stream stream{lab.port};
    stream.send(framed(make_query({.name = "big.example"})));
    const auto over_tcp = lab.answer(stream);
    CHECK(over_tcp.size() > 64000);
    CHECK(answers(over_tcp) == 4000);
}

TEST_CASE("an answer that is truncated over TCP as well is a failure and no empty answer") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query, 0, false);
        packet[2] |= 2;
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    for (const bool tcp : {false, true}) {
        Stream stream{lab.port};
        if (tcp) stream.send(framed(make_query({})));
        const auto reply = tcp ? lab.answer(stream) : lab.ask();
        CHECK(rcode(reply) == 2);
        CHECK((reply.at(2) & 2) == 0);
    }
}

TEST_CASE("answers are held until their addresses may be reached") {
    Lab lab;
    lab.config.hold_for_addresses = true;
    lab.observer.slow = true;
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({}));
    CHECK(lab.answer(guest, 150ms).empty());
    REQUIRE(lab.observer.held.size() == 1);
    CHECK(lab.observer.reached == std::vector<Ipv4>{Ipv4{192, 0, 2, 1}});
    lab.observer.held[0]();
    CHECK(answers(lab.answer(guest)) == 1);

    guest.send(make_query({}));  // from the cache, too
    CHECK(lab.answer(guest, 100ms).empty());
    REQUIRE(lab.observer.held.size() == 2);
    Stream stream{lab.port};
    stream.send(framed(make_query({})));
    stream.finish();
    CHECK(lab.answer(stream, 100ms).empty());
    REQUIRE(lab.observer.held.size() == 3);
    lab.observer.held[2]();
    CHECK(answers(lab.answer(stream)) == 1);
    lab.observer.slow = false;
    guest.send(make_query({}));
    CHECK(answers(lab.answer(guest)) == 1);

    const auto late = lab.observer.held[1];
    lab.service.reset();
    late();  // nobody is there any more
}

TEST_CASE("a question of another class goes upstream and is not mixed up with IN") {
    Lab lab;
    lab.start();
    CHECK(answers(lab.ask()) == 1);
    lab.server().answer_with(5);
    CHECK(rcode(lab.ask({.klass = Class::Hesiod})) == 5);
    REQUIRE(lab.server().questions == 2);
    const auto& asked = lab.server().log[1];
    CHECK(asked[asked.size() - 12] == 4);  // the class, before our OPT
    CHECK(answers(lab.ask()) == 1);
    CHECK(lab.server().questions == 2);
}
