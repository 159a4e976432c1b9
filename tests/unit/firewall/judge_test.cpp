#include "firewall/judge.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/firewall/policies.hpp"

using namespace vmrouter;
using namespace vmrouter::firewall;
using namespace vmrouter::firewall::test;

namespace {

/// A connection of a guest through masquerade, that our rules let begin.
Flow outbound(const char* destination, std::uint16_t port, std::uint8_t protocol = 6) {
    Flow flow;
    flow.protocol = protocol;
    flow.original = {ip("192.168.100.10"), ip(destination), 40000, port};
    flow.reply = {ip(destination), ip("10.0.0.5"), port, 40000};
    flow.mark = default_mark;
    return flow;
}

/// A connection from outside to a published port.
Flow inbound(const char* listen, std::uint16_t port, const char* guest, std::uint16_t guest_port) {
    Flow flow;
    flow.protocol = 6;
    flow.original = {ip("10.0.0.77"), ip(listen), 40000, port};
    flow.reply = {ip(guest), ip("10.0.0.77"), guest_port, 40000};
    flow.mark = default_mark;
    return flow;
}

}  // namespace

TEST_CASE("Connections to the internet go on and connections into networks do not") {
    const auto policy = bridge_policy();
    CHECK(still_allowed(policy, outbound("198.51.100.10", 443)));
    CHECK_FALSE(still_allowed(policy, outbound("10.0.0.9", 443)));
    CHECK_FALSE(still_allowed(policy, outbound("192.168.1.1", 443)));
    CHECK_FALSE(still_allowed(policy, outbound("169.254.169.254", 80)));
    auto more = policy;
    more.lan.push_back(cidr("198.51.100.0/24"));
    CHECK_FALSE(still_allowed(more, outbound("198.51.100.10", 443)));
    CHECK_FALSE(still_allowed(closed_policy(), outbound("198.51.100.10", 443)));
}

TEST_CASE("Connections that our rules did not let begin are not ours") {
    auto flow = outbound("198.51.100.10", 443);
    flow.mark = 0;
    CHECK_FALSE(still_allowed(bridge_policy(), flow));
    flow.mark = ~default_mark;  // another program's bits
    CHECK_FALSE(still_allowed(bridge_policy(), flow));
}

TEST_CASE("Connections of the host and of other segments are none of our business") {
    Flow flow;
    flow.protocol = 6;
    flow.original = {ip("10.0.0.5"), ip("10.0.0.9"), 1, 22};
    flow.reply = {ip("10.0.0.9"), ip("10.0.0.5"), 22, 1};
    CHECK(still_allowed(bridge_policy(), flow));
    flow.original = {ip("192.168.100.1"), ip("192.168.100.1"), 1, 53};
    flow.reply = flow.original;
    CHECK(still_allowed(bridge_policy(), flow));
    CHECK(still_allowed(usermode_policy(), outbound("10.0.0.9", 22)));
}

TEST_CASE("The host's own connections to guests go on when they are marked") {
    Flow flow;
    flow.protocol = 6;
    flow.original = {ip("192.168.100.1"), ip("192.168.100.10"), 1, 22};
    flow.reply = {ip("192.168.100.10"), ip("192.168.100.1"), 22, 1};
    flow.mark = default_mark;
    CHECK(still_allowed(bridge_policy(), flow));
    flow.mark = 0;
    CHECK_FALSE(still_allowed(bridge_policy(), flow));
}

TEST_CASE("Of the host a guest keeps DNS and echo and what was opened") {
    const auto at_host = [](std::uint16_t port, std::uint8_t protocol) {
        auto flow = outbound("192.168.100.1", port, protocol);
        flow.reply.destination = flow.original.source;
        return flow;
    };
    const auto policy = bridge_policy();
    CHECK(still_allowed(policy, at_host(53, 17)));
    CHECK(still_allowed(policy, at_host(0, 1)));
    CHECK_FALSE(still_allowed(policy, at_host(22, 6)));
    CHECK_FALSE(still_allowed(policy, at_host(8080, 6)));
    CHECK(still_allowed(full_policy(), at_host(8080, 6)));

    auto redirected = outbound("8.8.8.8", 53, 17);  // answered by us
    redirected.reply = {ip("192.168.100.1"), ip("192.168.100.10"), 53, 40000};
    CHECK(still_allowed(policy, redirected));
}

TEST_CASE("Exceptions win over blocks by network and protocol and port") {
    auto policy = full_policy();
    CHECK(still_allowed(policy, outbound("192.168.0.10", 445)));
    CHECK(still_allowed(policy, outbound("10.1.2.3", 53, 17)));
    CHECK_FALSE(still_allowed(policy, outbound("10.1.2.3", 53, 6)));
    CHECK_FALSE(still_allowed(policy, outbound("10.1.2.3", 54, 17)));
    CHECK(still_allowed(policy, outbound("10.2.0.1", 8080)));
    CHECK_FALSE(still_allowed(policy, outbound("10.2.0.1", 8081)));
    CHECK_FALSE(still_allowed(policy, outbound("203.0.113.1", 80)));
    policy.segment->lan = Lan::Allow;
    CHECK(still_allowed(policy, outbound("10.0.0.9", 22)));
    CHECK_FALSE(still_allowed(policy, outbound("203.0.113.1", 80)));
    CHECK_FALSE(still_allowed(policy, outbound("169.254.169.254", 80)));
}

TEST_CASE("A forward's connections live as long as the forward") {
    const auto policy = full_policy();
    CHECK(still_allowed(policy, inbound("10.0.0.5", 2222, "192.168.100.10", 22)));
    CHECK_FALSE(still_allowed(policy, inbound("10.0.0.5", 2223, "192.168.100.10", 22)));
    CHECK_FALSE(still_allowed(policy, inbound("10.0.0.5", 2222, "192.168.100.11", 22)));
    CHECK_FALSE(still_allowed(bridge_policy(), inbound("10.0.0.5", 2222, "192.168.100.10", 22)));
}

TEST_CASE("Guests keep talking unless they are isolated or it was by a forward that is gone") {
    Flow flow;
    flow.protocol = 6;
    flow.original = {ip("192.168.100.10"), ip("192.168.100.11"), 1, 22};
    flow.reply = {ip("192.168.100.11"), ip("192.168.100.10"), 22, 1};
    CHECK(still_allowed(bridge_policy(), flow));
    CHECK_FALSE(still_allowed(full_policy(), flow));
    flow.original.destination = ip("10.0.0.5");  // a hairpin
    flow.original.destination_port = 2222;
    CHECK_FALSE(still_allowed(bridge_policy(), flow));
    auto policy = bridge_policy();
    policy.forwards = {{{Protocol::Tcp, 2222}, Ipv4{}, ip("192.168.100.11"), 22}};
    CHECK(still_allowed(policy, flow));
}
