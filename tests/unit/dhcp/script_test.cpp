#include "dhcp/script.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <asio/io_context.hpp>

#include "src/base/file.hpp"
#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

const Time now{Seconds{1795353346}};

Lease lease(std::string name) {
    Lease result;
    result.address = Ipv4(192, 168, 77, 5);
    result.hardware = HardwareAddress(*MacAddress::parse("62:c3:a4:0c:b4:06"));
    result.client_id = {1, 0x62, 0xc3, 0xa4, 0x0c, 0xb4, 0x06};
    result.name = std::move(name);
    result.expires = now + Seconds{3600};
    result.supplied.hostname = "vmA";
    result.supplied.vendor_class = "vendor x";
    result.supplied.user_classes = {"classA"};
    result.supplied.requested_options = {1, 3, 6, 12, 15, 28, 42};
    result.supplied.tags = {"red"};
    return result;
}

AppliedChange change(Cause cause, std::optional<Lease> before, std::optional<Lease> after) {
    AppliedChange result;
    result.cause = cause;
    result.address = Ipv4(192, 168, 77, 5);
    result.before = std::move(before);
    result.after = std::move(after);
    return result;
}

std::vector<std::string> sorted(std::vector<std::string> texts) {
    std::sort(texts.begin(), texts.end());
    return texts;
}

/// A runner whose programs end when the test says so.
struct Bench {
    Bench()
        : runner(
              io.get_executor(),
              [this](ScriptCall call, std::function<void(Result<int>)> done) {
                  calls.push_back(call.arguments[1] + " " + (call.arguments.size() > 4 ? call.arguments[4] : "-"));
                  for (const auto& variable : call.environment)
                      if (variable.starts_with("DNSMASQ_OLD_HOSTNAME="))
                          calls.back() += " lost " + variable.substr(variable.find('=') + 1);
                  ends.push_back(std::move(done));
              },
              clock) {
        runner.configure("/script", "v0", "lab.example");
        asio::co_spawn(io, runner.run(), [](std::exception_ptr) {});
        io.poll();
    }
    void end() {
        ends.back()(0);
        io.restart();
        io.poll();
    }
    asio::io_context io;
    SystemClock clock;
    std::vector<std::string> calls;
    std::vector<std::function<void(Result<int>)>> ends;
    ScriptRunner runner;
};

}  // namespace

TEST_CASE("The script gets the arguments and the environment that dnsmasq gives") {
    const auto call = script_call("/etc/script", {ScriptAction::Add, lease("vmA"), {}}, "v0", "lab.example", now);
    CHECK(call.arguments == std::vector<std::string>{"/etc/script", "add", "62:c3:a4:0c:b4:06", "192.168.77.5", "vmA"});
    CHECK(sorted(call.environment) ==
          std::vector<std::string>{"DNSMASQ_CLIENT_ID=01:62:c3:a4:0c:b4:06", "DNSMASQ_DOMAIN=lab.example",
                                   "DNSMASQ_INTERFACE=v0", "DNSMASQ_LEASE_EXPIRES=1795356946",
                                   "DNSMASQ_REQUESTED_OPTIONS=1,3,6,12,15,28,42", "DNSMASQ_SUPPLIED_HOSTNAME=vmA",
                                   "DNSMASQ_TAGS=red v0", "DNSMASQ_TIME_REMAINING=3600", "DNSMASQ_USER_CLASS0=classA",
                                   "DNSMASQ_VENDOR_CLASS=vendor x"});
}

TEST_CASE("The script gets a lease without end or name from a relay as dnsmasq says it") {
    Lease odd = lease("");
    odd.expires.reset();
    odd.client_id.clear();
    odd.supplied = {};
    odd.supplied.hostname = "bad n";
    odd.supplied.user_classes = {"abc", "defgh"};
    odd.supplied.relay = Ipv4(10, 0, 0, 1);
    odd.supplied.circuit_id = {'a', 'b', 1, 'c', 'd'};
    odd.supplied.remote_id = {'r', 'e', 'm', 'o'};
    odd.supplied.subscriber_id = {'s', 'u', 'b', 's', 0, 'x'};
    const auto call = script_call("/s", {ScriptAction::Del, odd, {}}, "v0", "", now);
    CHECK(call.arguments == std::vector<std::string>{"/s", "del", "62:c3:a4:0c:b4:06", "192.168.77.5"});
    CHECK(sorted(call.environment) ==
          std::vector<std::string>{"DNSMASQ_CIRCUIT_ID=ab\1cd", "DNSMASQ_INTERFACE=v0", "DNSMASQ_LEASE_EXPIRES=0",
                                   "DNSMASQ_RELAY_ADDRESS=10.0.0.1", "DNSMASQ_REMOTE_ID=remo",
                                   "DNSMASQ_SUBSCRIBER_ID=subs", "DNSMASQ_SUPPLIED_HOSTNAME=bad n", "DNSMASQ_TAGS=v0",
                                   "DNSMASQ_USER_CLASS0=abc", "DNSMASQ_USER_CLASS1=defgh"});
}

TEST_CASE("A lease that was read from a file says that data is missing") {
    Lease old = lease("vmA");
    old.supplied_missing = true;
    const auto call = script_call("/s", {ScriptAction::Old, old, {}}, "v0", "", now);
    CHECK(sorted(call.environment) == std::vector<std::string>{"DNSMASQ_CLIENT_ID=01:62:c3:a4:0c:b4:06",
                                                               "DNSMASQ_DATA_MISSING=1", "DNSMASQ_INTERFACE=v0",
                                                               "DNSMASQ_LEASE_EXPIRES=1795356946",
                                                               "DNSMASQ_TIME_REMAINING=3600"});
}

TEST_CASE("The script hears of new and renamed and ended leases and not of renewals") {
    const auto actions = [](const AppliedChange& applied) {
        std::string text;
        for (const auto& event : script_events(applied)) {
            text += event.action == ScriptAction::Add ? "add" : event.action == ScriptAction::Old ? "old" : "del";
            text += ":" + event.lease.name + (event.old_name.empty() ? "" : "<" + event.old_name) + " ";
        }
        return text;
    };
    Lease offered = lease("vmA");
    offered.state = LeaseState::Offered;
    Lease renewed = lease("vmA");
    renewed.expires = now + Seconds{9999};
    Lease declined = lease("");
    declined.state = LeaseState::Declined;
    CHECK(actions(change(Cause::Offer, std::nullopt, offered)) == "");
    CHECK(actions(change(Cause::Bind, offered, lease("vmA"))) == "add:vmA ");
    CHECK(actions(change(Cause::Renew, lease("vmA"), renewed)) == "");
    CHECK(actions(change(Cause::Rename, lease("vmA"), lease("vmB"))) == "old:vmB<vmA old:vmB ");
    CHECK(actions(change(Cause::Rename, lease(""), lease("vmB"))) == "old:vmB ");
    CHECK(actions(change(Cause::Release, lease("vmA"), std::nullopt)) == "del:vmA ");
    CHECK(actions(change(Cause::Decline, lease("vmA"), declined)) == "del:vmA ");
    CHECK(actions(change(Cause::Expire, declined, std::nullopt)) == "");
    Lease other = lease("vmC");
    other.hardware = HardwareAddress(*MacAddress::parse("52:54:00:00:00:01"));
    CHECK(actions(change(Cause::Bind, lease("vmA"), other)) == "del:vmA add:vmC ");
    other.name = "vmA";
    CHECK(actions(change(Cause::Renew, lease("vmA"), other)) == "old:vmA ");  // by its client-id the same
    Lease new_class = lease("vmA");
    new_class.supplied.vendor_class = "udhcp 1.35.0";
    CHECK(actions(change(Cause::Renew, lease("vmA"), new_class)) == "");
    CHECK(actions(change(Cause::Reboot, lease("vmA"), new_class)) == "old:vmA ");
}

TEST_CASE("Scripts run one at a time and what waits is merged") {
    Bench bench;
    bench.runner.add({ScriptAction::Add, lease("one"), {}});
    bench.io.poll();
    CHECK(bench.calls == std::vector<std::string>{"add one"});
    // While it runs: renamed twice, released, bound again, renamed.
    bench.runner.add({ScriptAction::Old, lease("two"), {}});
    bench.runner.add({ScriptAction::Old, lease("three"), {}});
    CHECK(bench.runner.waiting() == 1);
    bench.runner.add({ScriptAction::Del, lease("three"), {}});
    bench.runner.add({ScriptAction::Add, lease("four"), {}});
    bench.runner.add({ScriptAction::Old, lease("five"), {}});
    CHECK(bench.runner.waiting() == 2);
    bench.io.restart();
    bench.io.poll();
    CHECK(bench.calls.size() == 1);
    bench.end();
    bench.end();
    bench.end();
    CHECK(bench.calls == std::vector<std::string>{"add one", "del three", "add five"});
}

TEST_CASE("A lease that is renamed a hundred times while a script runs is told of its first and its last name") {
    Bench bench;
    bench.runner.add({ScriptAction::Old, lease("busy"), {}});
    bench.io.poll();
    bench.runner.add({ScriptAction::Old, lease("0"), {}});  // told anew, as after a reload
    std::string name = "0";
    for (int i = 1; i <= 100; ++i) {
        Lease before = lease(name);
        Lease after = lease(name = std::to_string(i));
        // With identity = "client-id" its hardware address may change as often.
        if (i % 2 == 0) after.hardware = HardwareAddress(*MacAddress::parse("52:54:00:00:00:01"));
        if (i % 2 == 1) before.hardware = HardwareAddress(*MacAddress::parse("52:54:00:00:00:01"));
        const AppliedChange renamed = change(Cause::Renew, before, after);
        bench.runner.add(std::span{&renamed, 1});
    }
    CHECK(bench.runner.waiting() == 2);
    Lease elsewhere = lease("other");
    elsewhere.address = Ipv4(192, 168, 77, 6);
    bench.runner.add({ScriptAction::Add, elsewhere, {}});
    for (int i = 0; i < 3; ++i) bench.end();
    CHECK(bench.calls == std::vector<std::string>{"old busy", "old - lost 0", "old 100", "add other"});
    CHECK(bench.runner.waiting() == 0);
}

TEST_CASE("A lease that comes and goes a hundred times while a script runs makes no queue") {
    Bench bench;
    bench.runner.add({ScriptAction::Add, lease("one"), {}});
    bench.io.poll();
    for (int i = 0; i < 100; ++i) {
        bench.runner.add({ScriptAction::Del, lease("one"), {}});
        bench.runner.add({ScriptAction::Add, lease("one"), {}});
    }
    CHECK(bench.runner.waiting() <= 2);
}

TEST_CASE("A program gets its arguments and environment and its exit status comes back") {
    const TemporaryFolder folder;
    REQUIRE(replace_file(folder / "script",
                         "#!/bin/sh\n{ echo \"$@\"; env | grep DNSMASQ_; readlink /proc/self/fd/0; pwd; } > " +
                             (folder / "out") + "\nexit 3\n",
                         0755));
    asio::io_context io;
    Result<int> status = -1;
    run_program(io.get_executor(), {{folder / "script", "add", "a b"}, {"DNSMASQ_X=1 2"}},
                [&](Result<int> result) { status = std::move(result); });
    io.run();
    REQUIRE(status);
    CHECK(*status == 3);
    CHECK(*read_file(folder / "out") == "add a b\nDNSMASQ_X=1 2\n/dev/null\n/\n");

    run_program(io.get_executor(), {{folder / "nothing"}, {}}, [&](Result<int> result) { status = std::move(result); });
    io.restart();
    io.run();
    REQUIRE_FALSE(status);
    CHECK(status.error().where == folder / "nothing");
}
