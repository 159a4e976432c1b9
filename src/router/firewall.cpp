#include "src/router.hpp"

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/base/text.hpp"
#include "src/documents.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger firewall_logger{"firewall"};

/// After the first event at once, and once more when a burst is over, whose last event may undo what the first repair
/// did.
constexpr Milliseconds settle{200};

/// "tcp 192.168.1.1:80", "udp [2001:db8::1]:53"
std::string destination_of(const firewall::Attempt& attempt) {
    const auto text = to_string(attempt.destination);
    const bool ipv6 = std::holds_alternative<Ipv6>(attempt.destination);
    const auto with_port = (ipv6 ? "[" + text + "]" : text) + ":" + std::to_string(attempt.port);
    switch (attempt.protocol) {
        case 1:
        case 58:
            return "icmp " + text;
        case 6:
            return "tcp " + with_port;
        case 17:
            return "udp " + with_port;
        default:
            return "protocol " + std::to_string(attempt.protocol) + " " + text;
    }
}

}  // namespace

Result<void> Router::start_firewall() {
    auto rules = privileged_.open_rules_events();
    if (!rules) return Failure{std::move(rules).error()};
    auto ours = privileged_.rules_process();
    if (!ours) return Failure{std::move(ours).error()};
    rules_ = std::make_unique<firewall::RulesMonitor>(io_, std::move(*rules), firewall::table_name(plan_.instance),
                                                      *ours, static_cast<firewall::RulesObserver&>(*this));
    spawn(rules_->run());
    if (loaded_.config.firewall.log_blocked)
        if (auto started = start_blocked_log(); !started) return started;
    forwards_ = std::make_unique<Forwards>(io_.get_executor(), privileged_,
                                           [this](const auto& guest) { return resolve_guest(*this, guest); });
    return forwards_->set(loaded_.config.firewall.forward);
}

Result<void> Router::start_blocked_log() {
    auto log = privileged_.open_blocked_log(plan_.policy.log_group);
    if (!log) return Failure{std::move(log).error()};
    blocked_log_ =
        std::make_unique<firewall::BlockedLog>(io_, std::move(*log), static_cast<firewall::AttemptObserver&>(*this));
    spawn(blocked_log_->run());
    return {};
}

firewall::Policy Router::policy_now(const link::HostFacts& facts) const {
    Guests guests;
    guests.bindings = bindings(*this, facts);
    if (forwards_) guests.forwards = forwards_->translations();
    guests.other_segments = privileged_.other_segments();
    return make_policy(loaded_.config, plan_.segment, facts, context_, guests);
}

/// Brings the firewall's sets to what leases, reservations and published ports are now.
void Router::follow_guests() {
    if (stopping_) return;
    auto policy = policy_now(facts_);
    if (policy == plan_.policy) return;
    if (auto followed = privileged_.follow(policy, plan_.uplinks); !followed) {
        firewall_logger.error("FOLLOW {}", to_string(followed.error()));
        follow_host_later();
        return;
    }
    plan_.policy = std::move(policy);
}

asio::awaitable<void> Router::watch_instances() {
    while (!stopping_) {
        co_await instances_->changed();
        if (!stopping_) follow_guests();
    }
}

void Router::repair_soon() {
    pass_soon();
    if (repairing_ || stopping_) return;
    repairing_ = true;
    spawn(repair());
}

/// Repairs at once, and once more when the burst of events is over.
asio::awaitable<void> Router::repair() {
    asio::steady_timer timer(io_);
    for (const auto pause : {Milliseconds{0}, settle}) {
        if (pause.count() > 0) {
            timer.expires_after(pause);
            asio::error_code ignored;
            co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
            repairing_ = false;  // what comes from here on starts a repair of its own
        }
        if (stopping_) co_return;
        follow_segment();  // settings of an interface that was made anew are recorded anew before they are written
        mend();
        if (behind_) follow_host();
    }
}

void Router::mend() {
    const auto mended = privileged_.repair();
    if (!mended)
        firewall_logger.error("REPAIR {}", to_string(mended.error()));
    else
        for (const auto& what : *mended) {
            firewall_logger.warn("REPAIR {}, which somebody had removed or changed", what);
            if (is_followed("rules")) control_->publish(rules_event("put back " + what, {}, 0, clock_.now()));
        }
}

/// Our rules in chains of others, when these have come to rest. A reload of theirs may take seconds and drop everything
/// meanwhile, so that nothing is lost by the wait.
void Router::pass_soon() {
    foreign_changes_.event(clock_.monotonic());
    if (passing_ || stopping_) return;
    passing_ = true;
    spawn(pass());
}

asio::awaitable<void> Router::pass() {
    asio::steady_timer timer(io_);
    while (*foreign_changes_.due() > clock_.monotonic()) {
        timer.expires_at(*foreign_changes_.due());
        asio::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        if (stopping_) co_return;
    }
    passing_ = false;
    foreign_changes_.reset();
    if (auto passed = privileged_.repair_passes(); !passed) firewall_logger.error("PASS {}", to_string(passed.error()));
}

void Router::our_rules_changed(const firewall::Transaction& transaction) {
    firewall_logger.warn("CHANGED our rules were changed by {} (pid {}); they are put back",
                         escape(transaction.process_name), transaction.process);
    if (is_followed("rules"))
        control_->publish(
            rules_event("our rules were changed", transaction.process_name, transaction.process, clock_.now()));
    repair_soon();
}

void Router::other_rules_changed(const firewall::Transaction&) {
    pass_soon();
}

void Router::blocked(const firewall::Attempt& attempt) {
    const auto name = names_.name_of(attempt);
    if (is_followed("blocked")) {
        const auto* source = std::get_if<Ipv4>(&attempt.source);
        const auto* destination = std::get_if<Ipv4>(&attempt.destination);
        const auto peer = source != nullptr && destination != nullptr ? resolved_name(*source, *destination) : "";
        control_->publish(blocked_event(attempt, label_of(attempt), peer, clock_.now()));
    }
    if (!tallies_.add(attempt, clock_.now()) || !blocked_lines_.take(clock_.monotonic())) return;
    firewall_logger.info("BLOCK {} {} from {}{}{}", attempt.reason, destination_of(attempt), to_string(attempt.source),
                         name.empty() ? "" : " ", escape(name));
}

void Router::overrun() {}

}  // namespace vmrouter
