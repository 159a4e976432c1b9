// What the server does beside the walk of a packet: probes that end, leases that end, a clock that was set.

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <chrono>
#include <exception>
#include <utility>

#include "dhcp/frame.hpp"
#include "dhcp/service_parts.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

/// The wall clock may be slewed, and read a moment apart from the steady one; this far apart, it was set.
constexpr Seconds clock_jump{10};

}  // namespace

void Service::Parts::start(asio::awaitable<void> task) {
    ++tasks;
    // A coroutine that dies of a bug must not die in silence: the exception leaves the event loop.
    asio::co_spawn(executor, std::move(task), [this](std::exception_ptr error) {
        --tasks;
        ended.notify();
        if (error) std::rethrow_exception(error);
    });
}

void Service::Parts::start_tasks() {
    start(storage.maintain());
    start(commit_loop());
    start(expiry_loop());
    start(probe_loop());
    start(hosts.follow());
    start(script.run());
}

asio::awaitable<void> Service::Parts::probe_loop() {
    while (!stopping) {
        const auto events = co_await prober.events();
        follow_clock();
        for (const ProbeEvent& event : events) {
            if (event.kind != ProbeEvent::Kind::Silent) ++counters.conflicts;
            if (event.kind == ProbeEvent::Kind::Late) {
                const Decision decision = late_answer(leases, config, event.address, *event.by, clock.now());
                for (const auto& warning : decision.warnings) reporter.warn(warning);
                apply(decision.changes);
                reporter.note(decision.note);
                continue;
            }
            auto asked = waiting.extract(event.address);
            if (asked.empty()) continue;
            WaitingMessage& who = asked.mapped();
            who.context.storage_ok = storage.ok();
            const bool answered = event.kind == ProbeEvent::Kind::Answered;
            if (answered) ++who.conflicts;
            const ProbeResult result{event.address, answered, event.by, who.conflicts};
            Decision decision =
                after_probe(leases, config, hosts.reservations(), who.message, who.context, result, clock.now());
            carry_out(who.message, who.context, std::move(decision), who.conflicts);
        }
        hand_over();
    }
}

asio::awaitable<void> Service::Parts::expiry_loop() {
    while (!stopping) {
        follow_clock();
        for (const Lease& lease : leases.expire(clock.now())) {
            prober.unwatch(lease.address);
            if (lease.state == LeaseState::Bound && reporter.allows_line())
                logger.info("EXPIRE {} of {}{}", to_string(lease.address), to_string(lease.hardware),
                            lease.name.empty() ? "" : " (" + lease.name + ")");
        }
        const auto next = leases.next_expiry();
        expiry_armed = Signal::TimePoint::max();
        if (next) expiry_armed = wake_up_for(*next) + Milliseconds{1};
        hand_over();
        co_await expiry_signal.wait_until(expiry_armed);
    }
}

/// At most a day ahead: a leases file may say the year 9999, which a clock in nanoseconds cannot.
Signal::TimePoint Service::Parts::wake_up_for(Time expiry) const {
    return std::chrono::steady_clock::now() + std::min<Milliseconds>(expiry - clock.now(), std::chrono::hours{24});
}

/// Leases end by the wall clock, because their file outlives us and the machine. When that clock is set while we run (a
/// board without a battery hears from NTP), what clients were promised was a duration: every lease keeps the time it
/// had left. The time that the machine slept has passed for clients as well.
void Service::Parts::follow_clock() {
    const Time wall = clock.now();
    const Monotonic elapsed = clock.boottime();
    const Time expected = anchor_wall + std::chrono::duration_cast<Milliseconds>(elapsed - anchor_elapsed);
    const auto jump = wall - expected;
    if (std::chrono::abs(jump) < clock_jump) return;
    anchor_wall = wall;
    anchor_elapsed = elapsed;
    logger.warn("the clock was set {} by {}; leases keep the time they had left",
                jump > Milliseconds{0} ? "forward" : "back",
                vmrouter::to_string(std::chrono::round<Seconds>(std::chrono::abs(jump))));
    leases.clock_changed(expected, wall, longest_lease());
    expiry_signal.notify();
}

Seconds Service::Parts::longest_lease() const {
    Seconds longest = config.lease_time;
    for (const auto& entry : hosts.reservations().entries())
        longest = std::max(longest, entry.lease_time.value_or(longest));
    return longest;
}

void Service::Parts::hear_other_server(const Datagram& datagram, unsigned port) {
    const auto message = parse(datagram.payload);
    if (!message || message->op != Message::reply || datagram.ethernet_source == transport.sockets().mac) return;
    ++counters.other_servers;
    const MessageType type = message->type();
    if (type != MessageType::Offer && type != MessageType::Ack && type != MessageType::Nak) return;
    reporter.server_seen({datagram.ethernet_source, message->server_identifier().value_or(datagram.source),
                          message->yiaddr, port, type});
}

void Service::Parts::count(MessageType type) {
    switch (type) {
        case MessageType::Discover:
            ++counters.discovers;
            break;
        case MessageType::Request:
            ++counters.requests;
            break;
        case MessageType::Decline:
            ++counters.declines;
            break;
        case MessageType::Release:
            ++counters.releases;
            break;
        case MessageType::Inform:
            ++counters.informs;
            break;
        case MessageType::Bootp:
        case MessageType::Offer:
        case MessageType::Ack:
        case MessageType::Nak:
        case MessageType::Unknown:
            break;
    }
}

void Service::Parts::restore(const std::vector<Lease>& found) {
    std::size_t elsewhere = 0;
    std::size_t refused = 0;
    for (const Lease& lease : found) {
        if (!config.address.contains(lease.address))
            ++elsewhere;
        else if (!leases.restore(lease))
            ++refused;
    }
    const std::size_t ended_meanwhile = leases.expire(clock.now()).size();
    leases.take_changes();  // the first thing that is written is a complete journal
    for (const Lease& lease : found)
        if (const Lease* held = leases.find(lease.address)) storage.show(*held);
    if (!found.empty()) logger.info("LEASES {} valid, {} ended meanwhile", leases.bound(), ended_meanwhile);
    if (elsewhere > 0)
        logger.warn("{} leases are outside {} and were left out", elsewhere, to_string(config.address.network()));
    if (refused > 0) logger.warn("{} leases do not fit into the table and were left out", refused);
}

void Service::Parts::tell_script_all() {
    leases.for_each([&](const Lease& lease) {
        if (lease.state == LeaseState::Bound) script.add({ScriptAction::Old, lease, {}});
    });
}

}  // namespace vmrouter::dhcp
