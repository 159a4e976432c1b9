#include "dns/upstream.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <map>

#include "dns/message.hpp"
#include "dns/task.hpp"
#include "tests/support/loop.hpp"
#include "tests/support/scripted_upstream.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace {

constexpr std::uint16_t our_id = 0x1234;

Packet query_for(const std::string& name, Type type = Type::A) {
    Packet packet(600);
    dns::Question question;
    question.name = *Name::parse(name);
    question.type = type;
    packet.resize(write_upstream_query(question, our_id, packet));
    return packet;
}

struct Report {
    bool done = false;
    Outcome::Status status{};
    Packet bytes;
    Steady::duration took{};
    int rcode() const { return bytes.size() > 3 ? bytes[3] & 15 : -1; }
};

Task ask(Upstream& upstream, Packet query, Report& result) {
    const auto begin = Steady::now();
    auto exchange = upstream.exchange(query);
    const Outcome outcome = co_await exchange;
    if (outcome.status == Outcome::Status::Cancelled) {
        result.status = outcome.status;
        result.done = true;
        co_return;
    }
    result.done = true;
    result.status = outcome.status;
    result.bytes.assign(outcome.bytes.begin(), outcome.bytes.end());
    result.took = Steady::now() - begin;
}

struct Lab : vmrouter::test::Loop {
    SystemRandom random;
    Engine engine{io.get_executor(), random};
    std::vector<std::unique_ptr<ScriptedUpstream>> servers;
    std::unique_ptr<Upstream> upstream;

    explicit Lab(std::size_t count = 1, bool strict = true) {
        UpstreamConfig config;
        config.strict_order = strict;
        for (std::size_t i = 0; i < count; ++i) {
            servers.push_back(std::make_unique<ScriptedUpstream>(io));
            config.servers.push_back(servers.back()->endpoint);
        }
        upstream = std::make_unique<Upstream>(engine, config);
    }
    ScriptedUpstream& server(std::size_t i = 0) { return *servers[i]; }
    Report exchange(const std::string& name = "www.example.com") {
        Report result;
        ask(*upstream, query_for(name), result);
        run_until([&] { return result.done; });
        return result;
    }
};

}  // namespace

TEST_CASE("an exchange gives back the response with the id of the caller") {
    Lab lab;
    const auto result = lab.exchange();
    REQUIRE(result.status == Outcome::Status::Answered);
    CHECK(result.bytes.size() == make_response(query_for("www.example.com")).size());
    CHECK((result.bytes[0] << 8 | result.bytes[1]) == our_id);
    CHECK(result.rcode() == 0);
    // What went out is the query as it was given, but for the id.
    REQUIRE(lab.server().log.size() == 1);
    auto seen = lab.server().log[0];
    const auto sent = query_for("www.example.com");
    CHECK((seen[0] << 8 | seen[1]) != our_id);
    seen[0] = sent[0];
    seen[1] = sent[1];
    CHECK(seen == sent);
}

TEST_CASE("without an upstream there is an answer at once") {
    Lab lab(0);
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::NoUpstream);
    CHECK(result.took < 20ms);
    CHECK(lab.upstream->all_down());
}

TEST_CASE("every query has a port and an id of its own while there are few") {
    Lab lab;
    for (int i = 0; i < 200; ++i)
        REQUIRE(lab.exchange("n" + std::to_string(i) + ".example").status == Outcome::Status::Answered);
    CHECK(lab.server().ports.size() > 190);  // the kernel may draw one twice
    CHECK(lab.server().ids.size() > 190);
    CHECK(lab.engine.channels() == 1);
}

TEST_CASE("a dead first server costs one query and later ones nothing") {
    Lab lab(2);
    lab.server(0).be_silent();
    const auto first = lab.exchange("a.example");
    REQUIRE(first.status == Outcome::Status::Answered);
    CHECK(first.took >= 300ms);
    CHECK(first.took < 400ms + 200ms);  // 400 is promised; the machine may be busy
    for (int i = 0; i < 5; ++i) {
        const auto later = lab.exchange("b" + std::to_string(i) + ".example");
        CHECK(later.status == Outcome::Status::Answered);
        CHECK(later.took < 100ms);
    }
    CHECK(lab.server(0).questions == 1);
    CHECK(lab.upstream->status()[0].health != Health::Up);
}

TEST_CASE("a server that refuses connections costs nothing") {
    Lab lab(2);
    lab.server(0).die();
    const auto first = lab.exchange("a.example");
    CHECK(first.status == Outcome::Status::Answered);
    CHECK(first.took < 100ms);
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
    CHECK(result.took < 3000ms);
    CHECK(result.took > 2500ms);
    for (auto& server : lab.servers) CHECK(server->questions >= 1);
}

TEST_CASE("when all refuse the exchange ends at once") {
    Lab lab(2);
    lab.server(0).die();
    lab.server(1).die();
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Unreachable);
    CHECK(result.took < 100ms);
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
    CHECK(result.took < 1500ms);
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
        CHECK(better.took < 100ms);
        lab.server(1).answer_with(rcode);
        const auto worse = lab.exchange("b.example");
        CHECK(worse.rcode() == rcode);
        CHECK(worse.took < 100ms);
        CHECK(worse.bytes[0] == our_id >> 8);
    }
    lab.server(0).answer_with(3);  // no such name is an answer
    CHECK(lab.exchange("c.example").rcode() == 3);
}

TEST_CASE("a failure is not held back for servers that are down") {
    Lab lab(2);
    lab.server(1).die();
    lab.server(0).answer_with(2);
    lab.exchange("a.example");
    const auto result = lab.exchange("b.example");
    CHECK(result.rcode() == 2);
    CHECK(result.took < 100ms);
}

TEST_CASE("a failure is not held back for a server that is silent") {
    Lab lab(2);
    const bool first_is_silent = GENERATE(true, false);
    lab.server(first_is_silent ? 0 : 1).be_silent();
    lab.server(first_is_silent ? 1 : 0).answer_with(5);
    const auto result = lab.exchange("a.example");
    CHECK(result.rcode() == 5);
    CHECK(result.took > 300ms);
    CHECK(result.took < 700ms);
    lab.run(1200ms);  // a suspect is asked, too; one that is down is not
    const auto later = lab.exchange("b.example");
    CHECK(later.rcode() == 5);
    CHECK(later.took < 100ms);
}

TEST_CASE("the order given is kept in strict order and the fastest is preferred without") {
    const bool strict = GENERATE(true, false);
    Lab lab(2, strict);
    lab.server(0).be_slow(60ms);
    for (int i = 0; i < 6; ++i) lab.exchange("n" + std::to_string(i) + ".example");
    CHECK(lab.server(0).questions == (strict ? 6 : 1));
    CHECK(lab.server(1).questions == (strict ? 0 : 5));
}

TEST_CASE("lies are not believed") {
    Lab lab;
    lab.server().script = [&](const auto& asked) {
        auto packet = make_response(asked.query);
        if (is_health_probe(asked.query)) return ScriptedUpstream::Answer{packet};
        switch (asked.query[13]) {  // the first letter of the name
            case 'a':
                packet[1] ^= 1;
                break;  // another id
            case 'b':
                packet[14] ^= 1;
                break;  // another question
            case 'c':
                packet.resize(12), packet[5] = packet[7] = 0;
                break;  // no question
            case 'd':
                packet.resize(5);
                break;  // half a header
            default:
                packet.clear();
                break;  // nothing at all
        }
        return ScriptedUpstream::Answer{packet};
    };
    std::vector<Report> reports(5);
    for (std::size_t i = 0; i < reports.size(); ++i)
        ask(*lab.upstream, query_for(std::string(1, "abcde"[i]) + "xx.example"), reports[i]);
    lab.run_until(
        [&] { return std::all_of(reports.begin(), reports.end(), [](const auto& report) { return report.done; }); });
    for (const auto& report : reports) CHECK(report.status == Outcome::Status::Unreachable);
}

TEST_CASE("an answer from another port or to another query is never taken") {
    Lab lab;
    ScriptedUpstream other(lab.io);
    lab.server().script = [&](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        auto forged = make_response(asked.query, 3);
        if (!is_health_probe(asked.query)) other.send_raw(forged, asked.port);
        return ScriptedUpstream::Answer{make_response(asked.query), 50ms};
    };
    const auto result = lab.exchange();
    CHECK(result.rcode() == 0);
}

TEST_CASE("a truncated answer is fetched over TCP") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        if (!asked.tcp) {
            packet[2] |= 2;
        } else {
            packet.resize(40000);
        }
        return ScriptedUpstream::Answer{packet};
    };
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Answered);
    CHECK(result.bytes.size() == 40000);
    CHECK(lab.server().over_tcp == 1);
}

TEST_CASE("a server that answers no TCP fails that name and stays up") {
    Lab lab(2);
    for (auto& server : lab.servers) {
        server->script = [](const auto& asked) {
            auto packet = make_response(asked.query);
            packet[2] |= 2;
            return ScriptedUpstream::Answer{packet};
        };
    }
    lab.server(0).refuse_tcp();
    lab.server(1).refuse_tcp();
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Unreachable);
    CHECK(result.took < 200ms);
    CHECK(lab.upstream->status()[0].health == Health::Up);
    CHECK(lab.upstream->status()[1].health == Health::Up);
    lab.server(0).answer_with(0);
    CHECK(lab.exchange("b.example").status == Outcome::Status::Answered);
}

TEST_CASE("answers up to 1232 bytes come over UDP") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        packet.resize(1232);
        return ScriptedUpstream::Answer{packet};
    };
    CHECK(lab.exchange().bytes.size() == 1232);
    CHECK(lab.server().over_tcp == 0);
}

TEST_CASE("a server that knows no EDNS is asked without") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        const bool edns = asked.query[11] != 0;
        return ScriptedUpstream::Answer{make_response(asked.query, edns ? 1 : 0)};
    };
    for (int i = 0; i < 4; ++i) {
        const auto result = lab.exchange("n" + std::to_string(i) + ".example");
        CHECK(result.rcode() == 0);
        CHECK(result.took < 100ms);
    }
    for (const auto& query : lab.server().log)
        CHECK(query.size() == query_for("n0.example").size() - (query[11] != 0 ? 0 : opt_size));
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
    CHECK(result.took < 300ms);

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

TEST_CASE("a server may have an IPv6 address") {
    Lab lab(0);
    asio::ip::udp::socket socket{lab.io};
    asio::error_code error;
    socket.open(asio::ip::udp::v6());
    socket.bind({asio::ip::address_v6::loopback(), 0}, error);
    if (error) return;  // a machine without IPv6
    std::array<std::uint8_t, 512> buffer;
    asio::ip::udp::endpoint from;
    socket.async_receive_from(asio::buffer(buffer), from, [&](const asio::error_code&, std::size_t size) {
        const auto packet = make_response(Bytes{buffer}.first(size));
        socket.send_to(asio::buffer(packet), from);
    });
    UpstreamConfig config;
    config.servers = {*Endpoint::parse("[::1]:" + std::to_string(socket.local_endpoint().port()))};
    lab.upstream->configure(config);
    CHECK(lab.exchange().status == Outcome::Status::Answered);
    config.servers = {*Endpoint::parse("fe80::1%no-such-if")};
    lab.upstream->configure(config);
    const auto result = lab.exchange();
    CHECK(result.status == Outcome::Status::Unreachable);
    CHECK(result.took < 200ms);
}

TEST_CASE("a query leaves by its device or not at all") {
    Lab lab(1);
    auto config = lab.upstream->config();
    config.device = "no-such-if";
    lab.upstream->configure(config);
    CHECK(lab.exchange().status == Outcome::Status::Unreachable);
    CHECK(lab.server().questions == 0);
    config.device = "lo";
    lab.upstream->configure(config);
    CHECK(lab.exchange().status == Outcome::Status::Answered);
}

namespace {

std::size_t resident_bytes() {
    std::ifstream statm{"/proc/self/statm"};
    std::size_t total = 0;
    std::size_t resident = 0;
    statm >> total >> resident;
    return resident * 4096;
}

}  // namespace

TEST_CASE("ten thousand questions may be out at once and none is lost") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        return ScriptedUpstream::Answer{make_response(asked.query), is_health_probe(asked.query) ? 0ms : 700ms};
    };
    const auto before = resident_bytes();
    std::vector<Report> results(10000);
    for (std::size_t i = 0; i < results.size(); ++i) {
        ask(*lab.upstream, query_for("n" + std::to_string(i) + ".example"), results[i]);
        if (i % 50 == 49) {  // as they would come, a batch at a time
            lab.io.restart();
            lab.io.poll();
        }
    }
    // On a slow machine the first are answered by now; the others are all out.
    const auto early = std::count_if(results.begin(), results.end(), [](const auto& r) { return r.done; });
    CHECK(lab.upstream->out() + static_cast<std::size_t>(early) + 200 > results.size());
    const auto after = resident_bytes();
    WARN("channels " << lab.engine.channels() << ", memory " << (after - before) / 1024 << " KiB");
    REQUIRE(lab.run_until(
        [&] { return std::all_of(results.begin(), results.end(), [](const auto& r) { return r.done; }); }, 20s));
    const auto answered = std::count_if(results.begin(), results.end(),
                                        [](const auto& r) { return r.status == Outcome::Status::Answered; });
    CHECK(answered == 10000);
    CHECK(lab.server().ports.size() >= ChannelPool::own_port_channels);
    lab.run(6500ms);
    CHECK(lab.engine.channels() <= ChannelPool::own_port_channels);  // given back
}

TEST_CASE("a port carries a bounded number of queries even under constant load") {
    Lab lab;
    std::map<std::uint16_t, std::size_t> by_port;
    lab.server().script = [&](const auto& asked) {
        ++by_port[asked.port];
        return ScriptedUpstream::Answer{make_response(asked.query), 3ms};
    };
    std::vector<Report> results(20000);
    std::size_t begun = 0;
    std::size_t checked = 0;
    lab.run_until(
        [&] {
            while (checked < begun && results[checked].done) ++checked;
            while (begun < results.size() && begun - checked < 400)
                ask(*lab.upstream, query_for("n" + std::to_string(begun) + ".example"), results[begun]), ++begun;
            return checked == results.size();
        },
        60s);
    CHECK(std::all_of(results.begin(), results.end(),
                      [](const auto& r) { return r.status == Outcome::Status::Answered; }));
    for (const auto& [port, count] : by_port)
        CHECK(count <= 4 * ChannelPool::most_sent);  // the kernel draws some again
    CHECK(by_port.size() >= 20000 / ChannelPool::most_sent);
}
