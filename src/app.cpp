#include "src/app.hpp"

#include <sys/resource.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <csignal>
#include <exception>
#include <iostream>

#include "src/base/log.hpp"
#include "src/dns_setup.hpp"
#include "src/greeting.hpp"
#include "src/link/bridge.hpp"
#include "src/link/monitor.hpp"
#include "src/notify.hpp"
#include "src/privileged.hpp"
#include "src/router.hpp"
#include "src/state.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};

log::Level to_level(conf::Log::Level level) {
    switch (level) {
        case conf::Log::Level::Debug:
            return log::Level::Debug;
        case conf::Log::Level::Info:
            return log::Level::Info;
        case conf::Log::Level::Warn:
            return log::Level::Warn;
        case conf::Log::Level::Error:
            return log::Level::Error;
    }
    return log::Level::Info;
}

/// libnftables ends the process when it cannot open a socket, so descriptors must not run out.
void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int fail(const Error& error) {
    std::cerr << log::prefix(log::Level::Error) << "vmrouter: " << to_string(error) << '\n';
    return 1;
}

Result<void> remember_address(const conf::Config& config, const Plan& plan) {
    if (config.network.address || !plan.segment) return {};
    auto state = load_state(plan.state_folder);
    if (!state) return Failure{std::move(state).error()};
    if (state->address == plan.segment->address) return {};
    state->address = plan.segment->address;
    return save_state(plan.state_folder, *state);
}

/// What a user does next.
void greet(const Plan& plan, const conf::Config& config) {
    for (const auto& warning : plan.warnings) logger.warn("{}", warning);
    if (!plan.segment) {
        const auto users = plan.policy.usermode.uids.size();
        logger.info("CONFINE user-mode guests of {} user{} to the internet", users, users == 1 ? "" : "s");
        logger.info("READY press Ctrl-C to stop and leave the machine as it was found");
        return;
    }
    const auto& segment = *plan.segment;
    std::string uplinks;
    for (const auto& uplink : plan.uplinks) uplinks += (uplinks.empty() ? "" : ", ") + uplink.name;
    logger.info("SERVE {} {} as {}{}{}", segment.is_bridge ? "bridge" : "interface", segment.name,
                to_string(segment.address), config.dhcp.enabled ? ", DHCP" : "", config.dns.enabled ? ", DNS" : "");
    logger.info("UPLINK {}", uplinks.empty() ? "none yet" : uplinks);
    logger.info("BLOCK {}", isolation_line(config, plan.policy.lan.size()));
    logger.info("LEASES {}", plan.leases_file);
    if (segment.is_bridge)
        logger.info(
            "NEXT attach a VM: virt-manager > NIC > Bridge device > {}, or for QEMU: vmrouter tap tap0 --user NAME",
            segment.name, segment.name);
    else
        logger.info("NEXT plug the device into {}; it gets its address by DHCP", segment.name);
    logger.info("READY press Ctrl-C to stop and leave the machine as it was found");
}

/// Waits for signals: a reload for each SIGHUP, the end for the others.
asio::awaitable<void> serve(asio::signal_set& signals, Router& router, Notifier& notifier) {
    for (;;) {
        const int signal = co_await signals.async_wait(asio::use_awaitable);
        if (signal != SIGHUP) {
            logger.info("STOP by {}", signal == SIGINT ? "SIGINT" : "SIGTERM");
            notifier.stopping("leaving the machine as it was found");
            break;
        }
        [[maybe_unused]] const auto done = co_await router.reload_requested();  // it has logged what was wrong
    }
    co_await router.stop();
}

/// Tells systemd that the loop is alive, where it asks for that; otherwise there is no timer at all.
asio::awaitable<void> feed_watchdog(Notifier& notifier) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    while (const auto interval = notifier.watchdog_interval()) {
        timer.expires_after(*interval / 2);
        co_await timer.async_wait(asio::use_awaitable);
        notifier.alive();
    }
}

/// How the wait for an interface ended.
enum class Waited { There, Stopped, Reload };

asio::awaitable<void> until_there(link::Monitor& monitor, Privileged& privileged, const std::string& name) {
    for (;;) {
        const auto facts = privileged.facts("", 0);
        if (!facts) logger.error("WAIT {}", to_string(facts.error()));
        if (facts && facts->find(name) != nullptr) co_return;
        co_await monitor.next();
    }
}

/// Nothing on the machine is changed until the interface is there; the kernel tells when.
Result<Waited> wait_for_interface(asio::io_context& io, asio::signal_set& signals, Privileged& privileged,
                                  const std::string& name) {
    auto events = privileged.open_link_events();
    if (!events) return Failure{std::move(events).error()};
    link::Monitor monitor(io, std::move(*events));
    std::optional<Waited> waited;
    signals.async_wait([&](asio::error_code cancelled, int signal) {
        if (cancelled || waited) return;
        waited = signal == SIGHUP ? Waited::Reload : Waited::Stopped;
        io.stop();
    });
    asio::co_spawn(io, until_there(monitor, privileged, name), [&](std::exception_ptr failed) {
        if (failed || waited) return;
        waited = Waited::There;
        io.stop();
    });
    io.restart();
    io.run();
    // What still waits must end before its monitor does.
    asio::error_code ignored;
    signals.cancel(ignored);
    monitor.close();
    io.restart();
    io.run();
    io.restart();
    if (!waited) return Failure{Error{"cannot wait for " + name, "netlink", {}}};
    return *waited;
}

/// The configuration anew; the old one stays in force when the new one is wrong.
asio::awaitable<Result<void>> reload(Router& router, const LoadConfig& load) {
    auto loaded = load();
    if (!report(loaded)) {
        const auto& first = loaded.errors.front();
        logger.error("RELOAD the new configuration is wrong; the old one stays in force");
        co_return Failure{Error{first.what, to_string(conf::Place{first.file, first.line, first.column}), first.hint}};
    }
    const auto level = to_level(loaded.config.log.level);
    auto reloaded = co_await router.reload(std::move(loaded));
    if (!reloaded) {
        logger.error("RELOAD {}; the old configuration stays in force", to_string(reloaded.error()));
        co_return reloaded;
    }
    log::set_level(level);
    logger.info("RELOAD done");
    co_return Result<void>{};
}

/// What a reload concerns beside the router.
struct Service {
    Router& router;
    Notifier& notifier;
    const LoadConfig& load;
    conf::Network::OnExit& on_exit;
};

asio::awaitable<Result<void>> reload(Service& service) {
    service.notifier.reloading(SystemClock{}.monotonic());
    auto reloaded = co_await reload(service.router, service.load);
    service.on_exit = service.router.config().network.on_exit;
    service.notifier.ready(service.router.summary());
    co_return reloaded;
}

/// Everything after bring_up(): serves until a signal, or until a module fails.
int serve_until_stopped(asio::io_context& io, asio::signal_set& signals, Privileged& privileged, conf::Loaded loaded,
                        Plan plan, PlanContext context, const LoadConfig& load, conf::Network::OnExit& on_exit) {
    const auto config = loaded.config;
    const auto announced = plan;
    Router router(io, privileged, std::move(loaded), std::move(plan), std::move(context));
    if (auto started = router.start(); !started) return fail(started.error());
    greet(announced, config);
    auto notifier = Notifier::from_environment();
    Service service{router, notifier, load, on_exit};
    router.reload_requested = [&service] { return reload(service); };
    if (notifier.connected()) router.summary_changed = [&] { notifier.status(router.summary()); };
    notifier.ready(router.summary());
    asio::co_spawn(io, feed_watchdog(notifier), [](std::exception_ptr exception) {
        if (exception) std::rethrow_exception(exception);
    });
    asio::co_spawn(io, serve(signals, router, notifier), [&io](std::exception_ptr exception) {
        io.stop();
        if (exception) std::rethrow_exception(exception);
    });
    try {
        io.run();
    } catch (const std::exception& exception) {
        return fail({std::string("internal error: ") + exception.what(), {}, "please report this as a bug"});
    }
    return 0;
}

/// The plan that the machine is up by, and what it was made of.
struct Applied {
    Plan plan;
    PlanContext context;
};

/// From the configuration to the plan, and to the machine. A failure leaves nothing behind.
Result<Applied> bring_up(Privileged& privileged, const conf::Loaded& loaded, const Folders& folders) {
    auto context = make_context(loaded.config, folders);
    if (!context) return Failure{std::move(context).error()};
    if (loaded.config.network.bridge) context->match_bridge_name = privileged.knows_bridge_names();
    auto facts = privileged.facts(conf::segment_name(loaded.config), loaded.config.firewall.mark);
    if (!facts) return Failure{std::move(facts).error()};
    std::vector<std::string> warnings;
    auto uids = usermode_uids(loaded.config, loaded.places, warnings);
    if (!uids) return Failure{std::move(uids).error()};
    context->usermode_uids = std::move(*uids);
    auto plan = make_plan(loaded.config, loaded.places, *facts, *context);
    if (!plan) return Failure{std::move(plan).error()};
    plan->warnings.insert(plan->warnings.end(), warnings.begin(), warnings.end());
    if (auto up = privileged.bring_up(*plan); !up) return Failure{std::move(up).error()};
    return Applied{std::move(*plan), std::move(*context)};
}

/// From what is up to the end of service, and down again. The exit status.
int serve_instance(asio::io_context& io, asio::signal_set& signals, Privileged& privileged, conf::Loaded loaded,
                   Applied applied, const LoadConfig& load) {
    if (auto remembered = remember_address(loaded.config, applied.plan); !remembered)
        logger.warn("STATE {}", to_string(remembered.error()));
    auto on_exit = loaded.config.network.on_exit;
    int status = serve_until_stopped(io, signals, privileged, std::move(loaded), std::move(applied.plan),
                                     std::move(applied.context), load, on_exit);
    const bool keep = on_exit == conf::Network::OnExit::Keep && status == 0;
    for (const auto& error : privileged.tear_down(keep)) {
        logger.error("UNDO {}", to_string(error));
        status = 1;
    }
    if (status == 0) logger.info("STOPPED {}", keep ? "bridge and firewall stay up" : "the machine is as it was found");
    return status;
}

/// Whether the configuration names an interface (not a bridge, which we would make) that does not exist.
bool is_missing(Privileged& privileged, const conf::Config& config) {
    if (!config.network.interface) return false;
    const auto facts = privileged.facts("", 0);
    return facts && facts->find(*config.network.interface) == nullptr;
}

/// Returns when the segment can be served; false when a signal ended the wait. A configuration that is read again
/// meanwhile takes the place of `loaded`.
Result<bool> wait_for_segment(asio::io_context& io, asio::signal_set& signals, Privileged& privileged,
                              conf::Loaded& loaded, const LoadConfig& load) {
    auto notifier = Notifier::from_environment();
    while (is_missing(privileged, loaded.config)) {
        const auto& name = *loaded.config.network.interface;
        logger.info("WAIT there is no interface {} yet; it is served as soon as it is there (Ctrl-C ends)", name);
        notifier.ready("waiting for the interface " + name);  // a service manager must not take this for a failure
        const auto waited = wait_for_interface(io, signals, privileged, name);
        if (!waited) return Failure{waited.error()};
        if (*waited == Waited::Stopped) {
            notifier.stopping("nothing was changed");
            logger.info("STOPPED nothing was changed");
            return false;
        }
        if (*waited == Waited::Reload) {
            auto fresh = load();
            if (report(fresh))
                loaded = std::move(fresh);
            else
                logger.error("RELOAD the new configuration is wrong; the old one stays in force");
        }
    }
    return true;
}

}  // namespace

Result<PlanContext> make_context(const conf::Config& config, const Folders& folders) {
    PlanContext context;
    context.folders = folders;
    context.machine_id = link::machine_id();
    auto state = load_state(folders.state + "/" + conf::instance_name(config));
    if (!state) return Failure{std::move(state).error()};
    context.remembered_address = state->address;
    return context;
}

bool report(const conf::Loaded& loaded) {
    for (const auto& error : loaded.errors)
        std::cerr << log::prefix(log::Level::Error) << "vmrouter: " << to_string(error) << '\n';
    for (const auto& warning : loaded.warnings)
        std::cerr << log::prefix(log::Level::Warn) << "vmrouter: warning: " << to_string(warning) << '\n';
    return loaded.errors.empty();
}

int run(const LoadConfig& load, const Folders& folders) {
    auto loaded = load();
    if (!report(loaded)) return 2;
    log::set_level(to_level(loaded.config.log.level));
    raise_descriptor_limit();

    asio::io_context io(1);
    auto privileged = open_privileged(io.get_executor(), folders);
    if (!privileged) return fail(privileged.error());
    // From here on a signal is an event: one that arrives during start-up stops a router that is complete.
    asio::signal_set signals(io, SIGINT, SIGTERM, SIGHUP);
    std::signal(SIGPIPE, SIG_IGN);
    for (;;) {
        auto there = wait_for_segment(io, signals, **privileged, loaded, load);
        if (!there) return fail(there.error());
        if (!*there) return 0;
        auto applied = bring_up(**privileged, loaded, folders);
        if (applied) return serve_instance(io, signals, **privileged, std::move(loaded), std::move(*applied), load);
        const int status = fail(applied.error());
        // An interface that went away meanwhile is waited for, like one that was not there; but not once there was a
        // router, whose coroutines must not run without it.
        if (!is_missing(**privileged, loaded.config)) return status;
    }
}

}  // namespace vmrouter
