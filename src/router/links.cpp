#include "src/router.hpp"

#include <algorithm>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr log::Logger firewall_logger{"firewall"};
constexpr Seconds patience{1};

}  // namespace

/// Reads the host's networks anew and brings everything that depends on them after.
void Router::follow_host() {
    if (stopping_) return;
    const std::string name = conf::segment_name(loaded_.config);
    auto facts = privileged_.facts(name, plan_.policy.mark);
    if (!facts) {
        logger.error("FOLLOW {}", to_string(facts.error()));
        return;
    }
    const auto before = plan_.uplinks;
    facts_ = std::move(*facts);
    plan_.uplinks = link::uplinks(facts_, name, loaded_.config.firewall.uplink.value_or(std::vector<std::string>{}));
    auto policy = policy_now(facts_);
    if (policy != plan_.policy || before != plan_.uplinks || std::exchange(behind_, false)) {
        if (auto followed = privileged_.follow(policy, plan_.uplinks); !followed) {
            firewall_logger.error("FOLLOW {}", to_string(followed.error()));
            follow_host_later();
        } else {
            plan_.policy = std::move(policy);
        }
        reconfigure_dns();
        if (dns_) dns_->network_changed();
    }
    if (before != plan_.uplinks) {
        std::string names;
        for (const auto& uplink : plan_.uplinks) names += (names.empty() ? "" : ", ") + uplink.name;
        if (is_followed("uplink")) control_->publish(uplink_event(plan_.uplinks, clock_.now()));
        logger.info("UPLINK {}", names.empty() ? "none: guests have no internet until there is a route" : names);
        if (summary_changed) summary_changed();
    }
    const auto overlap = overlapping_network();
    if (overlap && overlap_lines_.take(clock_.monotonic()))
        logger.warn(
            "OVERLAP the host has a network {} that overlaps the segment {}; guests stay isolated, but that "
            "network cannot be reached from here; choose another network.address",
            to_string(*overlap), to_string(plan_.segment->address));
}

/// The rules could not be brought to what is known now: somebody has removed them a moment ago, or the kernel had no
/// memory. Once more when they are repaired, and every `patience` until it succeeds.
void Router::follow_host_later() {
    if (std::exchange(behind_, true) || stopping_) return;
    spawn([](Router& self) -> asio::awaitable<void> {
        asio::steady_timer timer(self.io_, patience);
        asio::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        if (!self.behind_ || self.stopping_) co_return;  // the repair has done it
        self.mend();
        self.follow_host();
    }(*this));
}

std::optional<Cidr> Router::overlapping_network() const {
    if (!plan_.segment) return std::nullopt;
    const auto& lan = plan_.policy.lan;
    const auto found = std::find_if(lan.begin(), lan.end(),
                                    [&](const Cidr& prefix) { return prefix.overlaps(plan_.segment->address); });
    return found == lan.end() ? std::nullopt : std::optional<Cidr>(*found);
}

Result<void> Router::start_wake_watch() {
    auto timer = open_wake_timer();
    if (!timer) return Failure{std::move(timer).error()};
    wake_ = std::make_unique<WakeWatch>(io_, std::move(*timer), clock_);
    spawn(watch_wake());
    return {};
}

/// After a sleep the machine may be somewhere else; whatever happened meanwhile is looked at now, not when its time
/// comes by clocks that stood still.
asio::awaitable<void> Router::watch_wake() {
    while (!stopping_) {
        const auto slept = co_await wake_->woke();
        if (stopping_) co_return;
        if (slept >= Seconds{1})
            logger.info("WAKE the machine slept for {} s", std::chrono::round<Seconds>(slept).count());
        else
            logger.info("CLOCK the machine's clock was set");
        repair_soon();
        follow_host();
        follow_ports({});
        resolver_->nudge();
        if (dhcp_) dhcp_->time_has_passed();
        if (dns_) dns_->woke();
    }
}

asio::awaitable<void> Router::watch_links() {
    while (!stopping_) {
        const auto events = co_await links_->next();
        if (stopping_) co_return;
        const bool users = !context_.usermode_uids.empty();  // only they have IPv6
        if (events.networks_changed()) follow_segment();
        if (events.networks_changed() || events.settings || (users && (events.routes6 || !events.addresses6.empty())))
            follow_host();  // settings: others may want to forward too
        if (events.networks_changed() || events.port_flags) follow_ports(events.links);
        if (events.networks_changed())
            resolver_->nudge();  // a file system without inotify, a resolver that came with the link
        const bool ipv6_is_on = std::any_of(events.addresses6.begin(), events.addresses6.end(), [this](int link) {
            return link == segment_index_ || known_ports_.contains(link);
        });
        if (events.rules || events.settings || ipv6_is_on || events.overrun) repair_soon();
    }
}

}  // namespace vmrouter
