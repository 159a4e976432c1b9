#pragma once

// An upstream group with scripted servers on the loopback device, and who asks it.

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dns/message.hpp"
#include "dns/task.hpp"
#include "dns/upstream.hpp"
#include "tests/support/loop.hpp"
#include "tests/support/scripted_upstream.hpp"

namespace vmrouter::dns::upstream_test {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

inline constexpr std::uint16_t our_id = 0x1234;

/// Less than any time that is waited for a server, with room for a machine that is busy.
inline constexpr auto at_once = 280ms;

inline Packet query_for(const std::string& name, Type type = Type::A) {
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

inline Task ask(Upstream& upstream, Packet query, Report& result) {
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

}  // namespace vmrouter::dns::upstream_test
