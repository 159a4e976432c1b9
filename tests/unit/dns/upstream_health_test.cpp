// Which server is asked: those that are dead, slow, failing, ourselves, or others than before.

#include "tests/unit/dns/upstream_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::upstream_test;

TEST_CASE("without an upstream there is an answer at once") {
    Lab lab(0);
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::NoUpstream);
    CHECK(result.took < at_once);
    CHECK(lab.upstream->all_down());
}

TEST_CASE("a dead first server costs one query and later ones nothing") {
    Lab lab(2);
    lab.server(0).be_silent();
    const auto first = lab.exchange("a.example");
    REQUIRE(first.status == Outcome::Status::Answered);
    CHECK(first.took >= 300ms);
    CHECK(first.took < 5 * 400ms);  // 400 is promised; the machine may be busy
    for (int i = 0; i < 5; ++i) {
        const auto later = lab.exchange("b" + std::to_string(i) + ".example");
        CHECK(later.status == Outcome::Status::Answered);
        CHECK(later.took < at_once);
    }
    CHECK(lab.server(0).questions == 1);
    CHECK(lab.upstream->status()[0].health != Health::Up);
}

TEST_CASE("a server that refuses connections costs nothing") {
    Lab lab(2);
    lab.server(0).die();
    const auto first = lab.exchange("a.example");
    CHECK(first.status == Outcome::Status::Answered);
    CHECK(first.took < at_once);
    CHECK(lab.upstream->status()[0].health == Health::Down);
}

TEST_CASE("a server that comes back is found by a probe and used again") {
    Lab lab(2);
    std::vector<Health> seen;
    lab.upstream->health_changed = [&](const Endpoint&, Health, Health now) { seen.push_back(now); };
    lab.server(0).be_silent();
    lab.exchange("a.example");
    REQUIRE(lab.run_until([&] { return lab.upstream->status()[0].health == Health::Down; }, 3000ms));
    const auto before = lab.server(0).probes;

    lab.server(0).answer_with(0);
    lab.run(1200ms);
    CHECK(lab.server(0).probes == before);  // nobody asks: nothing is sent
    lab.exchange("b.example");              // goes to the second, and lets the probe go
    REQUIRE(lab.run_until([&] { return lab.upstream->status()[0].health == Health::Up; }, 1000ms));
    const auto asked = lab.server(0).questions;
    lab.exchange("c.example");
    CHECK(lab.server(0).questions == asked + 1);
    CHECK(seen == std::vector<Health>{Health::Suspect, Health::Down, Health::Up});
}

TEST_CASE("a slow name does not make its server look dead") {
    Lab lab(2);
    lab.server(0).script = [](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        if (is_health_probe(asked.query)) return ScriptedUpstream::Answer{make_response(asked.query, 0, false)};
        return std::nullopt;
    };
    for (int i = 0; i < 3; ++i)
        CHECK(lab.exchange("n" + std::to_string(i) + ".example").status == Outcome::Status::Answered);
    lab.run(1500ms);
    CHECK(lab.upstream->status()[0].health == Health::Up);
}

TEST_CASE("when all are silent the exchange ends within three seconds") {
    Lab lab(3);
    for (auto& server : lab.servers) server->be_silent();
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Unreachable);
    CHECK(Upstream::deadline < 3000ms);
    CHECK(result.took < 4500ms);  // late_deadline would be later
    CHECK(result.took > 2500ms);
    for (auto& server : lab.servers) CHECK(server->questions >= 1);
}

TEST_CASE("when all refuse the exchange ends at once") {
    Lab lab(2);
    lab.server(0).die();
    lab.server(1).die();
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Unreachable);
    CHECK(result.took < at_once);
}

TEST_CASE("a lost packet is repeated to the only server") {
    Lab lab;
    int count = 0;
    lab.server().script = [&](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        if (!is_health_probe(asked.query) && ++count == 1) return std::nullopt;
        return ScriptedUpstream::Answer{make_response(asked.query)};
    };
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Answered);
    CHECK(result.took < Upstream::deadline);
}

TEST_CASE("a name that is slow at a living server gets more time") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        return ScriptedUpstream::Answer{make_response(asked.query), is_health_probe(asked.query) ? 0ms : 3500ms};
    };
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Answered);
    CHECK(result.took > 3000ms);
}

TEST_CASE("failures try the next server and reach the guest when there is none better") {
    Lab lab(2);
    for (const auto rcode : std::vector<std::uint8_t>{2, 5, 4, 1}) {
        lab.server(0).answer_with(rcode);
        lab.server(1).answer_with(0);
        const auto better = lab.exchange("a.example");
        CHECK(better.rcode() == 0);
        CHECK(better.took < at_once);
        lab.server(1).answer_with(rcode);
        const auto worse = lab.exchange("b.example");
        CHECK(worse.rcode() == rcode);
        CHECK(worse.took < at_once);
        CHECK(worse.bytes[0] == our_id >> 8);
    }
    lab.server(0).answer_with(3);  // no such name is an answer
    CHECK(lab.exchange("c.example").rcode() == 3);
}

TEST_CASE("a broken answer tries the next server and is given back when there is none better") {
    Lab lab(2);
    const auto lies_about_its_counts = [](const auto& asked) {
        auto packet = make_response(asked.query);
        packet[7] = 9;
        return ScriptedUpstream::Answer{packet};
    };
    lab.server(0).script = lies_about_its_counts;
    const auto good = lab.exchange();
    CHECK(good.status == Outcome::Status::Answered);
    CHECK(good.bytes[7] == 1);
    CHECK(lab.server(1).questions == 1);
    lab.server(0).script = [](const auto& asked) {  // truncated over TCP as well
        auto packet = make_response(asked.query);
        packet[2] |= 2;
        return ScriptedUpstream::Answer{packet};
    };
    CHECK((lab.exchange("cut.example.com").bytes[2] & 2) == 0);
    CHECK(lab.server(1).questions == 2);
    lab.server(0).script = lies_about_its_counts;
    lab.server(1).script = lies_about_its_counts;
    const auto bad = lab.exchange("other.example.com");
    CHECK(bad.status == Outcome::Status::Answered);
    CHECK(bad.bytes[7] == 9);
    CHECK(bad.took < 2500ms);  // no time-out was waited for
}

TEST_CASE("a failure is not held back for servers that are down") {
    Lab lab(2);
    lab.server(1).die();
    lab.server(0).answer_with(2);
    lab.exchange("a.example");
    const auto result = lab.exchange("b.example");
    CHECK(result.rcode() == 2);
    CHECK(result.took < at_once);
}

TEST_CASE("a failure is not held back for a server that is silent") {
    Lab lab(2);
    const bool first_is_silent = GENERATE(true, false);
    lab.server(first_is_silent ? 0 : 1).be_silent();
    lab.server(first_is_silent ? 1 : 0).answer_with(5);
    const auto result = lab.exchange("a.example");
    CHECK(result.rcode() == 5);
    CHECK(result.took > 300ms);
    CHECK(result.took < 5 * 400ms);
    lab.run(1200ms);  // a suspect is asked, too; one that is down is not
    const auto later = lab.exchange("b.example");
    CHECK(later.rcode() == 5);
    CHECK(later.took < at_once);
}

TEST_CASE("the order given is kept in strict order and the fastest is preferred without") {
    const bool strict = GENERATE(true, false);
    Lab lab(2, strict);
    lab.server(0).be_slow(60ms);
    for (int i = 0; i < 6; ++i) lab.exchange("n" + std::to_string(i) + ".example");
    CHECK(lab.server(0).questions == (strict ? 6 : 1));
    CHECK(lab.server(1).questions == (strict ? 0 : 5));
}

TEST_CASE("a server that is ourselves is never asked") {
    Lab lab(1);
    auto config = lab.upstream->config();
    config.own = {Ipv4{192, 168, 100, 1}};
    config.servers.insert(config.servers.begin(), *Endpoint::parse("192.168.100.1"));
    REQUIRE(lab.upstream->configure(config));
    CHECK(lab.exchange().status == Outcome::Status::Answered);
    CHECK(lab.upstream->status()[0].health == Health::Loop);
    CHECK(lab.upstream->status()[0].queries == 0);
}

TEST_CASE("a question that comes back to us gives the loop away") {
    Lab lab(2);
    lab.upstream->probe_for_loops();
    REQUIRE(lab.run_until([&] { return lab.server(0).loop_probes.size() + lab.server(1).loop_probes.size() == 2; }));
    Name name;
    std::size_t position = 12;
    REQUIRE(name.read_uncompressed(lab.server(0).loop_probes[0], position));
    CHECK(!lab.upstream->is_loop(Name::parse("www.example.com")->wire()));
    CHECK(lab.upstream->is_loop(name.wire()));
    CHECK(lab.upstream->status()[0].health == Health::Loop);
    CHECK(lab.upstream->status()[1].health == Health::Up);
    CHECK(lab.exchange().status == Outcome::Status::Answered);
    CHECK(lab.server(0).questions == 0);

    lab.upstream->probe_for_loops();  // the network has changed: perhaps it is none any more
    CHECK(lab.upstream->status()[0].health == Health::Up);
    REQUIRE(lab.run_until([&] { return lab.server(0).loop_probes.size() == 2; }));
    CHECK(lab.exchange().status == Outcome::Status::Answered);
    CHECK(lab.server(0).questions == 1);
}

TEST_CASE("new upstreams take over the questions that are out") {
    Lab lab(1);
    lab.server().be_silent();
    ScriptedUpstream better(lab.io);
    Report result;
    ask(*lab.upstream, query_for("a.example"), result);
    lab.run(50ms);
    auto config = lab.upstream->config();
    config.servers = {better.endpoint};
    REQUIRE(lab.upstream->configure(config));
    CHECK(!lab.upstream->configure(config));
    REQUIRE(lab.run_until([&] { return result.done; }));
    CHECK(result.status == Outcome::Status::Answered);
    CHECK(result.took < 5 * 300ms);

    Report late;
    better.be_silent();
    ask(*lab.upstream, query_for("b.example"), late);
    config.servers.clear();
    lab.upstream->configure(config);
    REQUIRE(lab.run_until([&] { return late.done; }));
    CHECK(late.status == Outcome::Status::Unreachable);
}

TEST_CASE("what is out when the upstreams go is cancelled") {
    Lab lab(1);
    lab.server().be_silent();
    Report result;
    ask(*lab.upstream, query_for("a.example"), result);
    lab.run(400ms);
    lab.upstream.reset();
    CHECK(result.done);
    CHECK(result.status == Outcome::Status::Cancelled);
    lab.run(50ms);
}
