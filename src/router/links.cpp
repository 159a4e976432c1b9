#include "src/router.hpp"

#include <nlohmann/json.hpp>

#include "src/base/log.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr log::Logger firewall_logger{"firewall"};

}  // namespace

/// Reads the host's networks anew and brings everything that depends on them after.
void Router::follow_host() {
    if (stopping_) return;
    const std::string name = conf::segment_name(loaded_.config);
    auto facts = privileged_.facts(name);
    if (!facts) {
        logger.error("FOLLOW {}", to_string(facts.error()));
        return;
    }
    const auto before = plan_.uplinks;
    facts_ = std::move(*facts);
    plan_.uplinks = link::uplinks(facts_, name, loaded_.config.firewall.uplink.value_or(std::vector<std::string>{}));
    auto policy = policy_now(facts_);
    if (policy != plan_.policy || before != plan_.uplinks) {
        if (auto followed = privileged_.follow(policy, plan_.uplinks); !followed)
            firewall_logger.error("FOLLOW {}", to_string(followed.error()));
        else
            plan_.policy = std::move(policy);
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
    if (!plan_.segment) return;
    for (const auto& prefix : plan_.policy.lan)
        if (prefix.overlaps(plan_.segment->address) && overlap_lines_.take(clock_.monotonic()))
            logger.warn(
                "OVERLAP the host has a network {} that overlaps the segment {}; guests stay isolated, but that "
                "network cannot be reached from here; choose another network.address",
                to_string(prefix), to_string(plan_.segment->address));
}

asio::awaitable<void> Router::watch_links() {
    while (!stopping_) {
        const auto events = co_await links_->next();
        if (stopping_) co_return;
        if (events.networks_changed() || events.settings) follow_host();  // others may want to forward too
        if (events.networks_changed())
            resolver_->nudge();  // a file system without inotify, a resolver that came with the link
        if (!plan_.segment) continue;
        const auto* segment = facts_.find(plan_.segment->name);
        for (const auto& event : events.links) {
            if (segment == nullptr || !plan_.segment->is_bridge) break;
            const bool on_segment = !event.removed && event.link.master == segment->index;
            if (on_segment && known_ports_.insert(event.link.index).second) {
                add_dhcp_port(event.link);
                if (auto done = privileged_.welcome_port(event.link.name); !done)
                    logger.error("ISOLATE {}", to_string(done.error()));
                if (is_followed("port")) control_->publish(port_event(event.link.name, true, clock_.now()));
                logger.info("PORT {} joined {}", event.link.name, plan_.segment->name);
            } else if (!on_segment && known_ports_.erase(event.link.index) > 0) {
                if (dhcp_) dhcp_->remove_port(static_cast<unsigned>(event.link.index));
                if (is_followed("port")) control_->publish(port_event(event.link.name, false, clock_.now()));
                logger.info("PORT {} left {}", event.link.name, plan_.segment->name);
            }
        }
        if (events.rules || events.settings || events.addresses6 || events.overrun) repair_soon();
    }
}

}  // namespace vmrouter
