// Questions over TCP, and clients that behave badly on it.

#include <set>

#include "tests/unit/dns/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

TEST_CASE("queries on one TCP connection are answered as they are ready") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        Name name;
        std::size_t position = 12;
        name.read_uncompressed(asked.query, position);
        return ScriptedUpstream::Answer{make_response(asked.query), name.first_label() == "slow" ? 200ms : 0ms};
    };
    lab.start();
    Stream stream{lab.port};
    Packet all;
    for (const auto& packet : {make_query({.name = "slow.example", .id = 1}),
                               make_query({.name = "fast.example", .id = 2}), make_query({.name = "vm1", .id = 3})}) {
        const auto one = framed(packet);
        all.insert(all.end(), one.begin(), one.end());
    }
    stream.send(all);
    stream.finish();  // the client has said all it will: answers still come
    CHECK(id(lab.answer(stream)) == 3);
    CHECK(id(lab.answer(stream)) == 2);
    CHECK(id(lab.answer(stream)) == 1);
    REQUIRE(lab.run_until([&] { return !stream.receive() && stream.closed; }, 1000ms));
}

TEST_CASE("more queries than a connection may have out are answered one after the other") {
    Lab lab;
    lab.config.tcp.pipelined = 16;
    lab.server().be_slow(20ms);
    lab.start();
    Stream stream{lab.port};
    Packet all;
    for (int i = 0; i < 60; ++i) {
        const auto one =
            framed(make_query({.name = "n" + std::to_string(i) + ".example", .id = static_cast<std::uint16_t>(i)}));
        all.insert(all.end(), one.begin(), one.end());
    }
    stream.send(all);
    lab.run_until([&] { return lab.server().questions > 0; });
    CHECK(lab.server().questions <= 16);
    std::set<int> seen;
    for (int i = 0; i < 60; ++i) seen.insert(id(lab.answer(stream, 1000ms)));
    CHECK(seen.size() == 60);
    CHECK(!seen.contains(-1));
}

TEST_CASE("a query may come in single bytes") {
    Lab lab;
    lab.start();
    Stream stream{lab.port};
    for (const auto byte : framed(make_query({.name = "vm1", .id = 77}))) {
        stream.send({byte});
        lab.run(1ms);
    }
    CHECK(id(lab.answer(stream)) == 77);
}

TEST_CASE("idle and half-written connections change nothing for others and end by themselves") {
    Lab lab;
    lab.config.tcp.idle = 2000ms;
    lab.start();
    std::vector<std::unique_ptr<Stream>> idle;
    for (int i = 0; i < 100; ++i) {
        idle.push_back(std::make_unique<Stream>(lab.port, Ipv4{127, 0, 66, static_cast<std::uint8_t>(100 + i % 10)}));
        if (i % 2) idle.back()->send({0, 40, 1, 2, 3});
    }
    lab.run(50ms);
    const auto begin = Steady::now();
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
    Stream other{lab.port};
    other.send(framed(make_query({.name = "new.example"})));
    CHECK(answers(lab.answer(other)) == 1);
    CHECK(Steady::now() - begin < 1000ms);
    REQUIRE(lab.run_until(
        [&] {
            return std::all_of(idle.begin(), idle.end(),
                               [](auto& stream) { return !stream->receive() && stream->closed; });
        },
        15000ms));
}

TEST_CASE("bytes that trickle in do not keep a connection") {
    Lab lab;
    lab.config.tcp.idle = 300ms;
    lab.start();
    Stream stream{lab.port};
    const auto begin = Steady::now();
    const auto query = framed(Packet(200));
    for (std::size_t i = 0; i < query.size() && !stream.closed; ++i) {
        stream.send({query[i]});
        lab.run(20ms);
        stream.receive();
    }
    CHECK(stream.closed);
    CHECK(Steady::now() - begin < 1500ms);
}

TEST_CASE("a guest has so many connections and its oldest idle one makes room") {
    Lab lab;
    lab.config.tcp.per_guest = 4;
    lab.start();
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 6; ++i) {
        streams.push_back(std::make_unique<Stream>(lab.port));
        lab.run(10ms);
    }
    int closed = 0;
    for (auto& stream : streams) stream->receive(), closed += stream->closed ? 1 : 0;
    CHECK(closed == 2);
    CHECK(streams[0]->closed);
    CHECK(streams[1]->closed);
    streams[5]->send(framed(make_query({.name = "vm1"})));
    CHECK(answers(lab.answer(*streams[5])) == 1);
    Stream neighbour{lab.port, Ipv4{127, 0, 66, 9}};
    neighbour.send(framed(make_query({.name = "vm1"})));
    CHECK(answers(lab.answer(neighbour)) == 1);
}

TEST_CASE("a client that does not read is stopped and cut off") {
    Lab lab;
    lab.config.tcp.stalled = 300ms;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query, 0, false);
        if (!asked.tcp) {
            packet[2] |= 2;
            return ScriptedUpstream::Answer{packet};
        }
        packet[6] = 0xf, packet[7] = 0xa0;
        for (int i = 0; i < 4000; ++i)
            for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 8, i >> 8, i & 255, 1})
                packet.push_back(static_cast<std::uint8_t>(byte));
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    {
        Stream first{lab.port};
        first.send(framed(make_query({.name = "big.example"})));
        REQUIRE(lab.answer(first).size() > 60000);
    }
    Stream greedy{lab.port};
    const auto query = framed(make_query({.name = "big.example"}));
    std::size_t asked = 0;
    for (int i = 0; i < 400; ++i) {
        if (greedy.send(query) == static_cast<ssize_t>(query.size())) ++asked;
        lab.run(1ms);
    }
    CHECK(asked > 100);
    CHECK(lab.service->counters().cached < 250);  // it is not even read further
    lab.run(600ms);
    CHECK(greedy.send(query) < 0);
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
}

TEST_CASE("a message that is too long for a query ends its connection") {
    Lab lab;
    lab.start();
    Stream stream{lab.port};
    stream.send({0xff, 0xff, 1, 2, 3});
    REQUIRE(lab.run_until([&] { return !stream.receive() && stream.closed; }, 1000ms));
}
