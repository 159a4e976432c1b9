#include "src/privileged/local.hpp"

#include <algorithm>
#include <iterator>

#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/tap.hpp"

namespace vmrouter {

Result<void> LocalPrivileged::isolate(const std::string& port) {
    if (auto recorded = changes_->record(IsolatedPort{port}); !recorded) return recorded;
    return link::set_isolated(netlink_, port, true);
}

Result<void> LocalPrivileged::welcome_ports(const std::vector<RememberedPort>& newcomers) {
    if (!plan_.segment || !plan_.segment->is_bridge) return {};
    if (!newcomers.empty()) {
        tell_managers(newcomers);
        put_back(newcomers);
    }
    auto ports = link::ports(netlink_, segment_index_);
    if (!ports) return Failure{std::move(ports).error()};
    // A bridge that went, or has another name now, has its ports in ports_, which the next one gets.
    if (!is_same_segment()) return {};
    const auto before = std::exchange(ports_, {});
    std::vector<std::pair<std::string, Error>> refused;
    for (const auto& port : *ports) {
        ports_.push_back({port.name, port.index});
        const bool is_new = std::find(before.begin(), before.end(), ports_.back()) == before.end();
        if (is_new) silence(port.name);
        if (!plan_.segment->isolate_guests || port.isolated) continue;
        if (auto done = isolate(port.name); !done)
            refused.push_back({port.name, std::move(done).error()});
        else if (!is_new)
            host_logger.warn("REPAIR the isolation of {}, which somebody had ended", port.name);
    }
    for (const auto& port : before)
        if (std::find(ports_.begin(), ports_.end(), port) == ports_.end()) welcomed_.insert(port.index);
    if (ports_ != before) watch_settings();
    if (ports_ != before || !newcomers.empty())
        if (auto left = leave_former_ports(); !left) return left;
    if (refused.empty()) return {};
    const auto now = link::ports(netlink_, segment_index_);  // one that has left meanwhile is no trouble
    for (auto& [port, error] : refused)
        if (now && std::any_of(now->begin(), now->end(), [&](const auto& one) { return one.name == port; }))
            return Failure{std::move(error)};
    return {};
}

bool LocalPrivileged::is_port(std::string_view name) const {
    return std::any_of(ports_.begin(), ports_.end(), [name](const auto& one) { return one.name == name; });
}

/// Those that are off our bridge again and have never been welcome on it.
std::vector<RememberedPort> LocalPrivileged::taken_off(const std::vector<RememberedPort>& newcomers,
                                                       const link::HostFacts& facts) const {
    std::vector<RememberedPort> ports;
    std::copy_if(newcomers.begin(), newcomers.end(), std::back_inserter(ports), [&](const auto& port) {
        const auto* link = facts.find(port.index);
        return link != nullptr && link->master == 0 && !welcomed_.contains(port.index);
    });
    return ports;
}

/// A manager with a file for every link sees a new port before it is told of it, and may have taken it off again. Once
/// for each device: afterwards it has been told, and whoever takes the port off means it.
void LocalPrivileged::put_back(const std::vector<RememberedPort>& newcomers) {
    if (!owns_bridge()) return;
    const auto facts = link::read_host_facts(netlink_, plan_.segment->name);
    if (!facts) return;
    std::erase_if(welcomed_, [&facts](int index) { return facts->find(index) == nullptr; });
    const auto off = taken_off(newcomers, *facts);
    for (const auto& port : newcomers) welcomed_.insert(port.index);
    if (off.empty() || !managers::Managers(runner_).is_any_running()) return;
    for (const auto& port : off) attach(port, *facts);
}

/// Puts a port that was on our bridge onto it again, if nobody else uses it by now: false when it was not.
bool LocalPrivileged::attach(const RememberedPort& port, const link::HostFacts& facts) {
    const auto& bridge = plan_.segment->name;
    const auto may = may_return(port, facts, bridge);
    if (!may) host_logger.warn("ATTACH {}", to_string(may.error()));
    if (!may || !*may) return false;
    auto done = link::enslave(netlink_, *facts.find(port.index), *facts.find(bridge));
    if (!done)
        host_logger.warn("ATTACH {}", to_string(done.error()));  // it may have gone just now
    else
        host_logger.info("ATTACH {} to {} again", port.name, bridge);
    return done.has_value();
}

/// A port is an interface of this host too, and with an IPv6 address of its own it would speak to the guest behind it:
/// router solicitations, neighbour discovery. It takes in nothing of that kind, all of which goes to the bridge.
void LocalPrivileged::silence(const std::string& port) {
    const auto setting = link::port_silence(port);
    const auto value = sysctls_.read(setting.path);
    if (!value || *value == setting.value) return;
    const auto facts = link::read_host_facts(netlink_, plan_.segment->name);
    const auto* link = facts ? facts->find(port) : nullptr;
    if (link == nullptr) return;
    const int index = link->index;
    // An address that somebody gave it on purpose would be lost.
    const bool has_own = std::any_of(facts->addresses6.begin(), facts->addresses6.end(), [&](const auto& one) {
        return one.link == index && !link::is_link_local(one.local);
    });
    if (has_own) return;
    const auto is_same = [&] { return netlink_.index_of(port) == index; };
    if (auto done = shared_->need_sysctl(*changes_, setting, is_same); !done && is_same())
        warn_once("PORT " + to_string(done.error()));
}

/// What was set on ports that are on the bridge no longer: undone where the interface is still there, and forgotten.
/// Taps of ours that somebody has deleted are forgotten as well.
Result<void> LocalPrivileged::leave_former_ports() {
    const auto links = link::read_links(netlink_);
    if (!links) return Failure{links.error()};
    auto undone = undo_recorded([&](const Change& change) {
        std::string_view port;
        if (const auto* created = std::get_if<CreatedLink>(&change))
            return created->mac == MacAddress{} && std::none_of(links->begin(), links->end(), [&](const auto& one) {
                       return one.name == created->name && link::is_ours(one, {});
                   });
        if (const auto* isolated = std::get_if<IsolatedPort>(&change)) port = isolated->port;
        if (const auto* setting = std::get_if<SetSysctl>(&change)) {
            port = link::interface_in(setting->path);
            if (setting->path != link::port_silence(port).path || port == plan_.segment->name) return false;
        }
        return !port.empty() && !is_port(port);
    });
    give_back(*links);
    return undone;
}

/// A port that has left is NetworkManager's again, where it is still there. One that cannot be given back now stays in
/// the record, and is with the next change of ports, or at the end.
void LocalPrivileged::give_back(const std::vector<link::Link>& links) {
    bool answers = true;
    bool given_back = false;
    const auto recorded = changes_->all();
    for (const Change& change : recorded) {
        const auto* told = std::get_if<ToldProgram>(&change);
        if (told == nullptr || told->program != managers::kNetworkManager) continue;
        if (told->link == plan_.segment->name || is_port(told->link)) continue;
        const bool exists =
            std::any_of(links.begin(), links.end(), [told](const auto& one) { return one.name == told->link; });
        if (exists && !answers) continue;
        const auto undone = exists ? managers::Managers(runner_).undo(*told) : Result<void>{};
        answers &= undone.has_value();
        if (!undone) warn_once("MANAGER " + to_string(undone.error()));
        given_back |= exists && undone;
        if (undone)
            if (auto forgotten = changes_->forget(change); !forgotten) warn_once(to_string(forgotten.error()));
    }
    if (given_back) tell_managers({});  // nor does a file name it
}

/// Everything that the port is to be, before its first frame can pass.
Result<void> LocalPrivileged::make_tap(const std::string& name, uid_t owner) {
    if (!plan_.segment || !plan_.segment->is_bridge)
        return Failure{Error{"a tap needs a bridge, and this instance serves none", name, "serve one: network.bridge"}};
    const auto& bridge = plan_.segment->name;
    if (netlink_.index_of(name) != 0)  // also by a second name of an interface (altname)
        return Failure{Error{"there is an interface of that name already", name, "choose another name for the tap"}};
    if (auto recorded = changes_->record(CreatedLink{name, {}}); !recorded) return recorded;
    auto done = link::create_tap(netlink_, name, owner);
    const bool made = done.has_value();
    if (done) done = link::set_mtu(netlink_, name, plan_.segment->mtu);
    if (done) done = link::enslave(netlink_, name, bridge);
    if (done) silence(name);
    if (done && plan_.segment->isolate_guests) done = isolate(name);
    if (done) done = link::set_up(netlink_, name);
    if (done) {
        host_logger.info("TAP {} on {} for user {}", name, bridge, owner);
        return {};
    }
    if (made)
        if (auto gone = link::delete_link(netlink_, name); !gone) host_logger.warn("TAP {}", to_string(gone.error()));
    if (auto forgotten = changes_->forget(CreatedLink{name, {}}); !forgotten) return forgotten;
    return done;
}

/// Neither a restart nor a deleted bridge cuts guests off.
Result<void> LocalPrivileged::attach_ports(const std::vector<RememberedPort>& ports) {
    if (!plan_.segment || !plan_.segment->is_bridge || ports.empty()) return {};
    const auto facts = link::read_host_facts(netlink_, plan_.segment->name);
    if (!facts) return Failure{facts.error()};
    for (const auto& port : ports) {
        if (!attach(port, *facts)) continue;
        silence(port.name);
        if (plan_.segment->isolate_guests)
            if (auto done = isolate(port.name); !done) return done;
    }
    return {};
}

/// Our taps that a stop left are ours again.
Result<void> LocalPrivileged::take_back_taps(const State& state) {
    const auto links = link::read_links(netlink_);
    if (!links) return Failure{links.error()};
    for (const auto& name : kept_taps(state, *links)) {
        taken_back_.push_back(name);
        if (auto recorded = changes_->record(CreatedLink{name, {}}); !recorded) return recorded;
    }
    return {};
}

/// What a stop left for this start has been used: a port that is taken off from here on is nobody's to put back. A kill
/// leaves the bridge with its ports on it, and the next stop writes anew.
void LocalPrivileged::forget_remembered() {
    if (!plan_.segment || !plan_.segment->is_bridge) return;
    auto state = load_state(plan_.state_folder);
    if (!state || (state->ports.empty() && state->taps.empty())) return;
    state->ports.clear();
    state->taps.clear();
    if (auto saved = save_state(plan_.state_folder, *state); !saved)
        host_logger.warn("STATE {}", to_string(saved.error()));
}

/// Writes down which ports the next start puts onto the bridge again, and which taps of ours stay till then because a
/// process has them open (QEMU would lose its network for good); those taps.
std::vector<std::string> LocalPrivileged::remember_ports() {
    if (!plan_.segment || !plan_.segment->is_bridge) return {};
    const auto before = load_state(plan_.state_folder).has_value() ? *load_state(plan_.state_folder) : State{};
    auto state = before;
    state.ports.clear();
    state.taps.clear();
    state.boot = boot_id();
    std::vector<std::string> kept;
    if (const auto ports = link::ports(netlink_, plan_.segment->name); ports && !plan_.segment->exists)
        for (const auto& port : *ports) state.ports.push_back({port.name, port.index});
    if (const auto links = link::read_links(netlink_)) {
        for (const auto& one : *links) {
            const auto& all = changes_->all();
            const bool made = std::find(all.begin(), all.end(), Change{CreatedLink{one.name, {}}}) != all.end();
            if (!made || one.kind != "tun" || !one.carrier || !link::is_ours(one, {})) continue;
            state.taps.push_back({one.name, one.index});
            kept.push_back(one.name);
        }
    }
    if (state.ports.empty() && state.taps.empty()) state.boot = before.boot;
    if (state != before) {
        if (auto saved = save_state(plan_.state_folder, state); !saved) {
            host_logger.warn("STATE {}", to_string(saved.error()));
            return {};
        }
    }
    for (const auto& name : kept)
        host_logger.info("KEEP {}: a process has it open; the next start takes it back, `vmrouter down` removes it",
                         name);
    return kept;
}

}  // namespace vmrouter
