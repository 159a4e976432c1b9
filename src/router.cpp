#include "src/router.hpp"

#include <asio/co_spawn.hpp>
#include <exception>

#include "src/base/log.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};

}  // namespace

Router::Router(asio::io_context& io, Privileged& privileged, conf::Loaded loaded, Plan plan, PlanContext context)
    : io_(io),
      privileged_(privileged),
      loaded_(std::move(loaded)),
      plan_(std::move(plan)),
      context_(std::move(context)),
      names_(*this) {}

Router::~Router() = default;

/// A module that ends with an exception is a bug of ours: it ends the loop, which tears down and reports it.
void Router::spawn(asio::awaitable<void> task) {
    asio::co_spawn(io_, std::move(task), [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    });
}

std::string Router::summary() const {
    if (!plan_.segment) {
        const auto users = plan_.policy.usermode.uids.size();
        return "user-mode guests of " + std::to_string(users) + (users == 1 ? " user" : " users");
    }
    std::string text = plan_.segment->name + " " + to_string(plan_.segment->address) + ": ";
    if (dhcp_) {
        const auto guests = dhcp_->table().bound();
        text += std::to_string(guests) + (guests == 1 ? " guest, " : " guests, ");
    }
    if (plan_.uplinks.empty()) return text + "no uplink";
    for (const auto& uplink : plan_.uplinks) text += (&uplink == plan_.uplinks.data() ? "uplink " : ", ") + uplink.name;
    return text;
}

Result<void> Router::start() {
    auto events = privileged_.open_link_events();
    if (!events) return Failure{std::move(events).error()};
    links_ = std::make_unique<link::Monitor>(io_, std::move(*events));
    // The events socket is open: whatever changes from here on is an event, so nothing falls between.
    auto facts = privileged_.facts(plan_.segment ? plan_.segment->name : "", plan_.policy.mark);
    if (!facts) return Failure{std::move(facts).error()};
    facts_ = std::move(*facts);
    if (plan_.segment)
        if (const auto* segment = facts_.find(plan_.segment->name)) segment_index_ = bound_index_ = segment->index;

    follow_resolver();
    if (plan_.segment) {
        if (auto started = start_dhcp(); !started) return started;
        if (auto started = start_dns(); !started) return started;
    }
    if (auto started = start_firewall(); !started) return started;
    follow_guests();
    follow_ports({});
    spawn(watch_links());
    follow_resolved();
    auto settings = privileged_.open_settings_events();
    if (!settings) return Failure{std::move(settings).error()};
    settings_ = std::make_unique<SettingsWatch>(io_, std::move(*settings));
    spawn(watch_settings());
    auto watch = privileged_.open_instance_events();
    if (!watch) return Failure{std::move(watch).error()};
    instances_ = std::make_unique<SharedWatch>(io_, std::move(*watch));
    spawn(watch_instances());
    if (auto started = start_wake_watch(); !started) return started;
    return start_control();
}

/// The modules themselves go when the loop has ended: what still waits for their sockets must not outlive them.
asio::awaitable<void> Router::stop() {
    stopping_ = true;
    metrics_.reset();
    control_.reset();
    retired_control_.reset();
    flows_.reset();
    forwards_.reset();
    if (dhcp_) co_await dhcp_->stop();
}

}  // namespace vmrouter
