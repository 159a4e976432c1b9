// A reload: any key may change. The new configuration is planned with the same functions as at the start; what can fail
// without having changed anything (a port that is taken) comes first, then the machine, then the modules. A failure
// half-way goes back by the same road, with the configuration from before.

#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/dns_setup.hpp"
#include "src/router.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};

/// What only a restart can change.
std::optional<Error> refuse_reload(const conf::Config& before, const conf::Loaded& loaded) {
    const auto& after = loaded.config;
    const auto place = [&](const char* key) { return to_string(loaded.places.of(key)); };
    if (conf::segment_name(after) != conf::segment_name(before) || after.network.bridge != before.network.bridge)
        return Error{std::string(after.network.interface ? "network.interface" : "network.bridge") +
                         " cannot be changed by a reload",
                     place("network"), "restart vmrouter to serve another interface"};
    if (after.control.sandbox != before.control.sandbox)
        return Error{"control.sandbox cannot be changed by a reload", place("control.sandbox"),
                     "restart vmrouter for that"};
    return std::nullopt;
}

}  // namespace

asio::awaitable<Result<void>> Router::reload(conf::Loaded loaded) {
    if (reloading_) co_return Failure{Error{"a reload is under way", {}, "try again"}};
    if (auto refused = refuse_reload(loaded_.config, loaded)) co_return Failure{std::move(*refused)};
    reloading_ = true;
    const auto before = loaded_;
    const auto plan_before = plan_;
    std::optional<Plan> fresh;  // made of the configuration
    auto done = co_await switch_to(std::move(loaded), std::move(fresh));
    if (!done) {
        auto back = before;
        auto plan_back = std::optional(plan_before);
        auto returned = co_await switch_to(std::move(back), std::move(plan_back));
        if (!returned) logger.error("RELOAD cannot go back to the old configuration: {}", to_string(returned.error()));
    }
    reloading_ = false;
    co_return done;
}

/// `plan`: of an earlier configuration, to go back to.
asio::awaitable<Result<void>> Router::switch_to(conf::Loaded loaded, std::optional<Plan> plan) {
    std::vector<std::string> warnings;
    auto uids = usermode_uids(loaded.config, loaded.places, warnings);
    if (!uids) co_return Failure{std::move(uids).error()};
    auto context = context_;
    context.usermode_uids = std::move(*uids);
    if (plan_.segment) context.remembered_address = plan_.segment->address;  // what "auto" has chosen stays
    if (!plan) {
        auto made = make_plan(loaded.config, loaded.places, facts_, context);
        if (!made) co_return Failure{std::move(made).error()};
        plan = std::move(*made);
    }
    if (auto set = forwards_->set(loaded.config.firewall.forward); !set) co_return Failure{std::move(set).error()};

    const bool metrics_move = loaded.config.control.metrics != loaded_.config.control.metrics;
    loaded_ = std::move(loaded);
    const auto plan_before = plan_;
    context_ = std::move(context);
    if (plan->segment) plan->segment->exists = plan_.segment->exists;
    plan_ = std::move(*plan);
    plan_.policy = policy_now(facts_);
    plan_.lans = guarded_prefixes(plan_.policy);
    plan_.forwarding = forwarding_settings(plan_.policy);
    if (auto changed = privileged_.change(plan_); !changed) co_return Failure{std::move(changed).error()};

    follow_resolver();
    resolver_->nudge();
    auto dhcp = co_await reload_dhcp(plan_before);
    if (!dhcp) co_return Failure{std::move(dhcp).error()};
    if (auto done = reload_dns(plan_before); !done) co_return Failure{std::move(done).error()};
    if (auto done = reload_blocked_log(); !done) co_return Failure{std::move(done).error()};
    if (auto done = reload_control(plan_before.control_socket); !done) co_return Failure{std::move(done).error()};
    if (metrics_move)
        if (auto started = start_metrics(); !started) co_return Failure{std::move(started).error()};
    for (const auto& warning : warnings) logger.warn("{}", warning);
    for (const auto& warning : plan_.warnings) logger.warn("{}", warning);
    follow_host();  // what changed while we waited
    follow_guests();
    co_return Result<void>{};
}

/// Another address means another server for every client, and goes the way of a restart; leases are on disk.
asio::awaitable<Result<void>> Router::reload_dhcp(const Plan& before) {
    if (!plan_.segment) co_return Result<void>{};
    const bool wanted = loaded_.config.dhcp.enabled;
    if (dhcp_ && (!wanted || before.segment->address != plan_.segment->address)) {
        co_await dhcp_->stop();
        co_await asio::post(io_, asio::use_awaitable);  // run() returns in this turn of the loop
        dhcp_.reset();                                  // and with it go its sockets
    }
    if (!wanted) co_return Result<void>{};
    if (!dhcp_) {
        if (auto started = start_dhcp(); !started) co_return Failure{std::move(started).error()};
        for (const auto& [index, name] : known_ports_)
            if (const auto* port = facts_.find(index)) add_dhcp_port(*port);
        co_return Result<void>{};
    }
    dhcp_->move_files(dhcp::Paths::beside(plan_.leases_file, plan_.hosts_file));
    dhcp_->reconfigure(dhcp_config(loaded_.config, *plan_.segment, names_of_host()),
                       configured_hosts(loaded_.config, loaded_.places), loaded_.config.dhcp.script);
    co_return Result<void>{};
}

Result<void> Router::reload_dns(const Plan& before) {
    if (!plan_.segment) return {};
    if (!loaded_.config.dns.enabled) {
        lists_.reset();
        hosts_files_.reset();
        dns_.reset();
        return {};
    }
    if (!dns_) return start_dns();
    if (before.segment->address != plan_.segment->address && segment_index_ != 0) {
        auto udp = privileged_.open_dns_udp_socket();
        if (!udp) return Failure{std::move(udp).error()};
        auto tcp = privileged_.open_dns_tcp_socket();
        if (!tcp) return Failure{std::move(tcp).error()};
        dns_->replace_sockets(std::move(*udp), std::move(*tcp));
    }
    const bool protected_before = dns_->config().rebind_protection;
    reconfigure_dns();
    if (dns_->config().rebind_protection != protected_before) dns_->flush_cache();  // answers were judged by the other
    follow_hosts_files();
    follow_block_lists();
    if (lists_)
        lists_->reload();
    else
        dns_->set_blocklist(nullptr);
    return {};
}

Result<void> Router::reload_blocked_log() {
    if (loaded_.config.firewall.log_blocked == (blocked_log_ != nullptr)) return {};
    if (loaded_.config.firewall.log_blocked) return start_blocked_log();
    blocked_log_->close();
    retired_blocked_log_ = std::move(blocked_log_);
    return {};
}

/// Whoever asked for this through the old socket still gets the answer through it.
Result<void> Router::reload_control(const std::string& before) {
    if (before == plan_.control_socket) return {};
    auto former = std::move(control_);
    if (auto started = start_control(); !started) {
        control_ = std::move(former);
        return started;
    }
    former->stop_listening();
    retired_control_ = std::move(former);
    return privileged_.remove_control_socket(before);
}

}  // namespace vmrouter
