// One exchange: what goes out, what is believed, by which way, and ten thousand of them at once.

#include "tests/unit/dns/upstream_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::upstream_test;

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

TEST_CASE("every query has a port and an id of its own while there are few") {
    Lab lab;
    for (int i = 0; i < 200; ++i)
        REQUIRE(lab.exchange("n" + std::to_string(i) + ".example").status == Outcome::Status::Answered);
    CHECK(lab.server().ports.size() > 190);  // the kernel may draw one twice
    CHECK(lab.server().ids.size() > 190);
    CHECK(lab.engine.channels() == 1);
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
    CHECK(result.took < at_once);
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
        CHECK(result.took < at_once);
    }
    for (const auto& query : lab.server().log)
        CHECK(query.size() == query_for("n0.example").size() - (query[11] != 0 ? 0 : opt_size));
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
    CHECK(result.took < at_once);
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
