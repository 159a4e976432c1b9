#include "src/link/monitor.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>

#include "src/link/netlink.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::link;
using test::run;

std::vector<std::string> names(const Events& events) {
    std::vector<std::string> result;
    for (const LinkEvent& event : events.links) result.push_back((event.removed ? "-" : "+") + event.link.name);
    return result;
}

asio::awaitable<void> wait_for_events(Monitor& from, std::optional<Events>& to) {
    to = co_await from.next();
}

/// Whether an event of that kind on that link is among them.
bool has(const Events& events, const std::string& what) {
    const auto all = names(events);
    return std::find(all.begin(), all.end(), what) != all.end();
}

struct Loop {
    asio::io_context io;
};

FileDescriptor event_socket() {
    auto socket = open_event_socket();
    REQUIRE(socket);
    return std::move(*socket);
}

/// Hears what happens in this namespace from here on.
struct Listening : Loop, Monitor {
    Listening() : Monitor(io, event_socket()) {}
};

}  // namespace

TEST_CASE("each kind of event is told apart and silence is empty") {
    IN_NAMESPACE;
    Listening monitor;
    CHECK(monitor.drain().empty());

    REQUIRE(run("ip link add eth0 type veth peer name q0"));
    auto events = monitor.drain();
    CHECK(has(events, "+eth0"));
    CHECK(has(events, "+q0"));
    CHECK_FALSE(events.addresses);
    CHECK(events.networks_changed());

    REQUIRE(run("ip addr add 192.168.0.7/24 dev eth0"));
    events = monitor.drain();
    CHECK(events.addresses);
    CHECK(events.links.empty());

    REQUIRE(run("ip link set eth0 up; ip link set q0 up"));
    events = monitor.drain();
    CHECK(has(events, "+eth0"));
    CHECK(events.routes);

    REQUIRE(run("ip route add 10.0.0.0/8 via 192.168.0.1"));
    events = monitor.drain();
    CHECK(events.routes);
    CHECK_FALSE(events.rules);

    REQUIRE(run("ip rule add priority 9 lookup 9"));
    events = monitor.drain();
    CHECK(events.rules);
    CHECK_FALSE(events.routes);

    REQUIRE(run("ip link del eth0"));
    events = monitor.drain();
    CHECK(has(events, "-eth0"));
    CHECK(has(events, "-q0"));
}

TEST_CASE("an ipv6 address alone changes no ipv4 network") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add eth0 type veth peer name q0"));
    Listening monitor;
    REQUIRE(run("ip addr add 2001:db8::7/64 dev eth0"));
    const auto events = monitor.drain();
    CHECK(events.addresses6 == std::set<int>{Netlink::open()->index_of("eth0")});
    CHECK_FALSE(events.networks_changed());
    CHECK_FALSE(events.empty());
}

TEST_CASE("a changed setting is told") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add eth0 type veth peer name q0"));
    Listening monitor;
    for (const auto* change : {"forwarding=1", "forwarding=0", "rp_filter=2"}) {
        INFO(change);
        REQUIRE(run("sysctl -qw net.ipv4.conf.eth0." + std::string(change)));
        const auto events = monitor.drain();
        CHECK(events.settings);
        CHECK_FALSE(events.networks_changed());
    }
}

TEST_CASE("states of one link are merged but a new one of the same name is not") {
    IN_NAMESPACE;
    Listening monitor;
    REQUIRE(
        run("ip link add b0 type bridge; ip link set b0 up; ip link set b0 mtu 1400; ip link del b0;"
            "ip link add b0 type bridge"));
    const auto events = monitor.drain();
    CHECK(names(events) == std::vector<std::string>{"+b0", "-b0", "+b0"});
    CHECK(events.links[0].link.mtu == 1400);
    CHECK(events.links[0].link.index != events.links[2].link.index);
}

TEST_CASE("a port that joins a bridge is told with its master") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add b0 type bridge; ip link add p0 type veth peer name q0"));
    Listening monitor;
    REQUIRE(run("ip link set p0 master b0"));
    const auto events = monitor.drain();
    const auto port = std::find_if(events.links.begin(), events.links.end(),
                                   [](const LinkEvent& event) { return event.link.name == "p0"; });
    REQUIRE(port != events.links.end());
    CHECK(port->link.master != 0);
    CHECK(port->link.port_kind == "bridge");
    CHECK_FALSE(port->removed);
}

TEST_CASE("a port that was on a bridge for a moment only is told as one that was there") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add b0 type bridge; ip link add p0 type veth peer name q0"));
    Listening monitor;
    REQUIRE(run("ip link set p0 master b0; ip link set p0 nomaster"));
    const auto events = monitor.drain();
    std::vector<bool> on_bridge;
    for (const LinkEvent& event : events.links)
        if (event.link.name == "p0") on_bridge.push_back(event.link.master != 0);
    CHECK(std::count(on_bridge.begin(), on_bridge.end(), true) > 0);
    REQUIRE_FALSE(on_bridge.empty());
    CHECK_FALSE(on_bridge.back());
}

TEST_CASE("a port's flags are heard of") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add b0 type bridge; ip link add p0 type veth peer name q0; ip link set p0 master b0"));
    Listening monitor;
    CHECK(monitor.drain().empty());
    REQUIRE(run("bridge link set dev p0 isolated on"));
    CHECK(monitor.drain().port_flags);
    CHECK(monitor.drain().empty());
}

TEST_CASE("a waiting monitor wakes for the first event and not without one") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add eth0 type veth peer name q0"));
    Listening monitor;
    std::optional<Events> seen;
    asio::co_spawn(monitor.io, wait_for_events(monitor, seen), [](const std::exception_ptr& failure) {
        if (failure) std::rethrow_exception(failure);
    });
    monitor.io.run_for(std::chrono::milliseconds(20));
    CHECK_FALSE(seen);

    REQUIRE(run("ip link set eth0 up"));
    const auto before = std::chrono::steady_clock::now();
    monitor.io.run_for(std::chrono::seconds(5));
    REQUIRE(seen);
    CHECK(has(*seen, "+eth0"));
    CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
}

TEST_CASE("more events than fit are told as an overrun and what follows is heard") {
    IN_NAMESPACE;
    REQUIRE(run("ip link add eth0 type veth peer name q0; ip link set eth0 up"));
    asio::io_context io;
    auto socket = open_event_socket();
    REQUIRE(socket);
    const int small = 4096;
    REQUIRE(setsockopt(socket->get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small) == 0);
    Monitor monitor(io, std::move(*socket));
    REQUIRE(run("i=1; while [ $i -lt 200 ]; do echo addr add 10.0.0.$i/32 dev eth0; i=$((i+1)); done | ip -batch -"));
    CHECK(monitor.drain().overrun);
    CHECK(monitor.drain().empty());
    REQUIRE(run("ip addr add 10.1.0.1/32 dev eth0"));
    const auto after = monitor.drain();
    CHECK_FALSE(after.overrun);
    CHECK(after.addresses);
}
