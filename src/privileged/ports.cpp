#include "src/privileged/local.hpp"

#include <algorithm>

#include "src/link/bridge.hpp"
#include "src/link/tap.hpp"

namespace vmrouter {

Result<void> LocalPrivileged::isolate(const std::string& port) {
    if (auto recorded = changes_->record(IsolatedPort{port}); !recorded) return recorded;
    return link::set_isolated(netlink_, port, true);
}

/// A port that joined the bridge while we run. A manager with a file for every link has seen it before it was told, and
/// may have taken it off again.
Result<void> LocalPrivileged::welcome_port(const std::string& port) {
    tell_managers(port);
    const auto links = link::read_links(netlink_);
    const bool is_free = links && std::any_of(links->begin(), links->end(), [&port](const link::Link& one) {
                             return one.name == port && one.master == 0;
                         });
    if (is_free && plan_.segment) {
        if (auto done = link::enslave(netlink_, port, plan_.segment->name); !done) return done;
        host_logger.info("ATTACH {} to {} again, which another program had taken off", port, plan_.segment->name);
    }
    return plan_.segment && plan_.segment->isolate_guests ? isolate(port) : Result<void>{};
}

/// Everything that the port is to be, before its first frame can pass.
Result<void> LocalPrivileged::make_tap(const std::string& name, uid_t owner) {
    if (!plan_.segment || !plan_.segment->is_bridge)
        return Failure{Error{"a tap needs a bridge, and this instance serves none", name, "serve one: network.bridge"}};
    const auto& bridge = plan_.segment->name;
    const auto links = link::read_links(netlink_);
    if (!links) return Failure{links.error()};
    if (std::any_of(links->begin(), links->end(), [&name](const auto& one) { return one.name == name; }))
        return Failure{Error{"there is an interface of that name already", name, "choose another name for the tap"}};
    if (auto recorded = changes_->record(CreatedLink{name, {}}); !recorded) return recorded;
    auto done = link::create_tap(netlink_, name, owner);
    if (done) done = link::set_mtu(netlink_, name, plan_.segment->mtu);
    if (done) done = link::enslave(netlink_, name, bridge);
    if (done && plan_.segment->isolate_guests) done = isolate(name);
    if (done) done = link::set_up(netlink_, name);
    if (done) {
        host_logger.info("TAP {} on {} for user {}", name, bridge, owner);
        return {};
    }
    if (auto gone = link::delete_link(netlink_, name); !gone) host_logger.warn("TAP {}", to_string(gone.error()));
    if (auto forgotten = changes_->forget(CreatedLink{name, {}}); !forgotten) return forgotten;
    return done;
}

/// Guests' ports that were on our bridge when it went, so that a restart does not cut guests off.
Result<void> LocalPrivileged::attach_remembered_ports() {
    if (!plan_.segment || !plan_.segment->is_bridge) return {};
    auto state = load_state(plan_.state_folder);
    if (!state || state->boot != boot_id()) return {};
    auto links = link::read_links(netlink_);
    if (!links) return Failure{std::move(links).error()};
    for (const auto& port : state->ports) {
        const auto is_free = [&port](const link::Link& one) {
            return one.name == port.name && one.index == port.index && one.master == 0;
        };
        if (std::none_of(links->begin(), links->end(), is_free)) continue;
        if (auto done = link::enslave(netlink_, port.name, plan_.segment->name); done)
            host_logger.info("ATTACH {} to {} again", port.name, plan_.segment->name);
        else
            host_logger.warn("ATTACH {}", to_string(done.error()));
        if (plan_.segment->isolate_guests)
            if (auto done = isolate(port.name); !done) return done;
    }
    return {};
}

void LocalPrivileged::remember_ports() {
    if (!plan_.segment || !plan_.segment->is_bridge || plan_.segment->exists) return;
    auto state = load_state(plan_.state_folder).has_value() ? *load_state(plan_.state_folder) : State{};
    state.ports.clear();
    state.boot = boot_id();
    if (const auto ports = link::ports(netlink_, plan_.segment->name))
        for (const auto& port : *ports) state.ports.push_back({port.name, port.index});
    if (auto saved = save_state(plan_.state_folder, state); !saved)
        host_logger.warn("STATE {}", to_string(saved.error()));
}

}  // namespace vmrouter
