#include "src/router.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <exception>

#include "src/base/log.hpp"
#include "src/dns_setup.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr log::Logger firewall_logger{"firewall"};

/// After the first event at once, and once more when a burst is over: a reload of another firewall is hundreds of
/// events, and the last one may undo what the first repair did.
constexpr Milliseconds settle{200};

}  // namespace

Router::Router(asio::io_context& io, Privileged& privileged, conf::Loaded loaded, Plan plan, PlanContext context)
    : io_(io),
      privileged_(privileged),
      loaded_(std::move(loaded)),
      plan_(std::move(plan)),
      context_(std::move(context)),
      names_(*this) {}

Router::~Router() = default;

const dhcp::LeaseTable* Router::leases() const {
    return dhcp_ ? &dhcp_->table() : nullptr;
}

const dhcp::Reservations* Router::reservations() const {
    return dhcp_ ? &dhcp_->reservations() : nullptr;
}

/// A module that ends with an exception is a bug of ours: it ends the loop, which tears down and reports it.
void Router::spawn(asio::awaitable<void> task) {
    asio::co_spawn(io_, std::move(task), [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    });
}

Result<void> Router::start() {
    auto events = privileged_.open_link_events();
    if (!events) return Failure{std::move(events).error()};
    links_ = std::make_unique<link::Monitor>(io_, std::move(*events));
    // The events socket is open: whatever changes from here on is an event, so nothing falls between.
    auto facts = privileged_.facts(plan_.segment ? plan_.segment->name : "");
    if (!facts) return Failure{std::move(facts).error()};
    facts_ = std::move(*facts);

    auto resolv_file = loaded_.config.dns.resolv_file;
    if (const auto& uplinks = loaded_.config.firewall.uplink; uplinks && !uplinks->empty())
        resolv_file = dns::resolv_conf_for_device(resolv_file);  // queries are held to the uplink as well
    resolver_ = std::make_unique<dns::ResolvWatcher>(io_.get_executor(), std::move(resolv_file));
    if (resolver_->error()) logger.warn("RESOLVER {}", to_string(*resolver_->error()));
    take_resolvers();
    if (plan_.segment) {
        if (auto started = start_dhcp(); !started) return started;
        if (auto started = start_dns(); !started) return started;
    }
    if (auto started = start_firewall(); !started) return started;
    follow_guests();
    spawn(watch_links());
    spawn(watch_resolver());
    auto watch = privileged_.open_instance_events();
    if (!watch) return Failure{std::move(watch).error()};
    instances_ = std::make_unique<SharedWatch>(io_, std::move(*watch));
    spawn(watch_instances());
    return start_control();
}

Result<void> Router::start_dhcp() {
    if (!loaded_.config.dhcp.enabled) return {};
    auto sockets = privileged_.open_dhcp_sockets();
    if (!sockets) return Failure{std::move(sockets).error()};
    dhcp::ServiceSetup setup;
    setup.config = dhcp_config(loaded_.config, *plan_.segment, names_of_host());
    setup.hosts = configured_hosts(loaded_.config, loaded_.places);
    setup.paths = dhcp::Paths::beside(plan_.leases_file, plan_.hosts_file);
    setup.sockets = std::move(*sockets);
    setup.script = loaded_.config.dhcp.script;
    setup.run_program = [this](dhcp::ScriptCall call, std::function<void(Result<int>)> done) {
        privileged_.run_script(std::move(call), std::move(done));
    };
    dhcp_ = std::make_unique<dhcp::Service>(io_.get_executor(), std::move(setup), clock_, random_,
                                            static_cast<dhcp::Observer&>(*this));
    dhcp_->load();
    if (plan_.segment->is_bridge)
        for (const auto* port : facts_.ports_of(plan_.segment->name)) add_dhcp_port(*port);
    spawn(dhcp_->run());
    return {};
}

void Router::add_dhcp_port(const link::Link& port) {
    if (!dhcp_) return;
    auto socket = privileged_.open_dhcp_port_socket(static_cast<unsigned>(port.index));
    if (socket)
        dhcp_->add_port(static_cast<unsigned>(port.index), std::move(*socket));
    else
        logger.warn("PORT {}", to_string(socket.error()));
}

Result<void> Router::start_dns() {
    if (!loaded_.config.dns.enabled) return {};
    auto udp = privileged_.open_dns_udp_socket();
    if (!udp) return Failure{std::move(udp).error()};
    auto tcp = privileged_.open_dns_tcp_socket();
    if (!tcp) return Failure{std::move(tcp).error()};
    auto config = dns_config(loaded_.config, plan_, resolver_->current(), names_of_host());
    if (config.upstreams.empty())
        logger.warn("RESOLVER {} names no server: guests have no DNS until it does", loaded_.config.dns.resolv_file);
    dns_ = std::make_unique<dns::Service>(io_.get_executor(), std::move(*udp), std::move(*tcp), std::move(config),
                                          names_, static_cast<dns::Observer&>(*this), random_);
    dns_->set_blocked(blocked_networks(plan_.policy));
    follow_block_lists();
    dns_->set_blocklist(read_blocklist(loaded_.config.dns.block_files));  // complete before the first answer
    dns_->start();
    return {};
}

/// From here on a list that changes is read in the background; the one before serves until then.
void Router::follow_block_lists() {
    lists_.reset();
    if (!dns_ || loaded_.config.dns.block_files.empty()) return;
    lists_ = std::make_unique<dns::ListKeeper>(io_.get_executor(), loaded_.config.dns.block_files,
                                               [this](auto list, const dns::ListReport& report) {
                                                   log_block_lists(report);
                                                   if (dns_) dns_->set_blocklist(std::move(list));
                                               });
    lists_->follow();
}

/// Whom user-mode guests may ask on port 53.
void Router::take_resolvers() {
    context_.resolvers.clear();
    context_.resolvers6.clear();
    for (const auto& server : resolver_->current().nameservers) {
        if (const auto* v4 = std::get_if<Ipv4>(&server.address))
            context_.resolvers.push_back(*v4);
        else
            context_.resolvers6.push_back(std::get<Ipv6>(server.address));
    }
}

/// The host's resolver changed, or something that DNS is told did.
void Router::reconfigure_dns() {
    if (!dns_) return;
    dns_->reconfigure(dns_config(loaded_.config, plan_, resolver_->current(), names_of_host()));
    dns_->set_blocked(blocked_networks(plan_.policy));
}

asio::awaitable<void> Router::watch_resolver() {
    try {
        while (!stopping_) {
            const auto resolv = co_await resolver_->changed();
            if (stopping_) co_return;
            std::string servers;
            for (const auto& server : resolv.nameservers) servers += (servers.empty() ? "" : ", ") + to_string(server);
            if (!loaded_.config.dns.upstreams) logger.info("RESOLVER {}", servers.empty() ? "none" : servers);
            take_resolvers();
            if (!context_.usermode_uids.empty()) follow_guests();
            reconfigure_dns();
        }
    } catch (const std::system_error&) {
        // close() ends the wait
    }
}

Result<void> Router::start_firewall() {
    auto rules = privileged_.open_rules_events();
    if (!rules) return Failure{std::move(rules).error()};
    auto ours = privileged_.rules_process();
    if (!ours) return Failure{std::move(ours).error()};
    rules_ = std::make_unique<firewall::RulesMonitor>(io_, std::move(*rules), firewall::table_name(plan_.instance),
                                                      *ours, static_cast<firewall::RulesObserver&>(*this));
    spawn(rules_->run());
    if (loaded_.config.firewall.log_blocked) {
        auto log = privileged_.open_blocked_log(plan_.policy.log_group);
        if (!log) return Failure{std::move(log).error()};
        blocked_log_ = std::make_unique<firewall::BlockedLog>(io_, std::move(*log),
                                                              static_cast<firewall::AttemptObserver&>(*this));
        spawn(blocked_log_->run());
    }
    forwards_ = std::make_unique<Forwards>(io_.get_executor(), privileged_,
                                           [this](const auto& guest) { return resolve_guest(*this, guest); });
    return forwards_->set(loaded_.config.firewall.forward);
}

/// The modules themselves go when the loop has ended: what still waits for their sockets must not outlive them.
asio::awaitable<void> Router::stop() {
    stopping_ = true;
    control_.reset();
    forwards_.reset();
    if (dhcp_) co_await dhcp_->stop();
}

Result<void> Router::reload(conf::Loaded loaded) {
    if (conf::segment_name(loaded.config) != conf::segment_name(loaded_.config))
        return Failure{Error{"the segment cannot be changed by a reload", to_string(loaded.places.of("network")),
                             "restart vmrouter to serve another interface"}};
    auto plan = make_plan(loaded.config, loaded.places, facts_, context_);
    if (!plan) return Failure{std::move(plan).error()};
    if (plan_.segment && plan->segment && plan->segment->address != plan_.segment->address)
        return Failure{Error{"network.address cannot be changed by a reload",
                             to_string(loaded.places.of("network.address")), "restart vmrouter for that"}};
    loaded_ = std::move(loaded);
    if (forwards_)
        if (auto set = forwards_->set(loaded_.config.firewall.forward); !set) return set;
    if (dhcp_) {
        dhcp_->reconfigure(dhcp_config(loaded_.config, *plan_.segment, names_of_host()),
                           configured_hosts(loaded_.config, loaded_.places), loaded_.config.dhcp.script);
        dhcp_->reload_hosts(true);
    }
    follow_host();
    reconfigure_dns();
    follow_block_lists();
    if (lists_)
        lists_->reload();
    else if (dns_)
        dns_->set_blocklist(nullptr);
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
        return;
    }
    plan_.policy = std::move(policy);
}

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
        logger.info("UPLINK {}", names.empty() ? "none: guests have no internet until there is a route" : names);
    }
    if (!plan_.segment) return;
    for (const auto& prefix : plan_.policy.lan)
        if (prefix.overlaps(plan_.segment->address) && overlap_lines_.take(clock_.monotonic()))
            logger.warn(
                "OVERLAP the host has a network {} that overlaps the segment {}; guests stay isolated, but that "
                "network cannot be reached from here; choose another network.address",
                to_string(prefix), to_string(plan_.segment->address));
}

asio::awaitable<void> Router::watch_instances() {
    while (!stopping_) {
        co_await instances_->changed();
        if (!stopping_) follow_guests();
    }
}

asio::awaitable<void> Router::watch_links() {
    while (!stopping_) {
        const auto events = co_await links_->next();
        if (stopping_) co_return;
        if (events.networks_changed()) follow_host();
        if (!plan_.segment) continue;
        const auto* segment = facts_.find(plan_.segment->name);
        for (const auto& event : events.links) {
            if (segment == nullptr || !plan_.segment->is_bridge) break;
            const bool on_segment = !event.removed && event.link.master == segment->index;
            if (on_segment && known_ports_.insert(event.link.index).second) {
                add_dhcp_port(event.link);
                if (auto done = privileged_.welcome_port(event.link.name); !done)
                    logger.error("ISOLATE {}", to_string(done.error()));
                logger.info("PORT {} joined {}", event.link.name, plan_.segment->name);
            } else if (!on_segment && known_ports_.erase(event.link.index) > 0) {
                if (dhcp_) dhcp_->remove_port(static_cast<unsigned>(event.link.index));
                logger.info("PORT {} left {}", event.link.name, plan_.segment->name);
            }
        }
        if (events.rules || events.settings || events.addresses6 || events.overrun) repair_soon();
    }
}

void Router::repair_soon() {
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
        const auto mended = privileged_.repair();
        if (!mended)
            firewall_logger.error("REPAIR {}", to_string(mended.error()));
        else
            for (const auto& what : *mended) firewall_logger.warn("REPAIR {}, which somebody had removed", what);
    }
}

}  // namespace vmrouter
