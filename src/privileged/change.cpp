// A reload: from one plan to another of the same segment. Everything is compared, and what is the same is not touched,
// so that connections, neighbours and counters that a change does not concern know nothing of it. Rules come first, as
// at the start: what becomes forbidden is shut before anything else moves.

#include <algorithm>

#include "firewall/conntrack.hpp"
#include "src/link/bridge.hpp"
#include "src/privileged/local.hpp"
#include "src/privileged/undo.hpp"

namespace vmrouter {
namespace {

/// The setting of an interface that nobody has touched: "net/ipv4/conf/virbr10/x" is "net/ipv4/conf/default/x" at
/// first.
std::string default_path(const std::string& path, const std::string& interface) {
    const auto at = path.find("/" + interface + "/");
    return at == std::string::npos ? path : path.substr(0, at) + "/default/" + path.substr(at + interface.size() + 2);
}

}  // namespace

Result<void> LocalPrivileged::change(const Plan& plan) {
    const Plan before = plan_;
    plan_ = plan;
    if (plan_.segment && before.segment) plan_.segment->exists = before.segment->exists;
    if (auto done = join(); !done) return done;
    if (auto done = live_.update(plan.policy, clock_.monotonic()); !done) return done;
    if (auto passed = make_passes(); !passed) return passed;
    if (auto done = change_mark(before.policy.mark); !done) return done;
    if (plan_.segment && before.segment) {
        if (auto done = make_guard(plan.lans); !done) return done;
        if (auto done = change_link(*before.segment); !done) return done;
        if (auto done = change_settings(before.sysctls); !done) return done;
        if (auto done = change_address(before.segment->address); !done) return done;
        if (auto done = change_services(before); !done) return done;
    }
    if (auto done = change_forwarding(before); !done) return done;
    watch_settings();
    return cut_forbidden();
}

Result<void> LocalPrivileged::cut_forbidden() {
    auto cut = firewall::cut_forbidden(plan_.policy);
    if (!cut) return Failure{std::move(cut).error()};
    if (*cut > 0) host_logger.info("CUT {} connections that are forbidden now", *cut);
    return {};
}

/// What went by the mark from before: the guard rules and the pass rules in chains of others.
Result<void> LocalPrivileged::change_mark(std::uint32_t before) {
    if (before == plan_.policy.mark) return {};
    return undo_recorded([&](const Change& change) {
        const auto* guard = std::get_if<AddedGuardRules>(&change);
        const auto* pass = std::get_if<InsertedRule>(&change);
        return (guard != nullptr && guard->mark == before) || (pass != nullptr && pass->mark == before);
    });
}

Result<void> LocalPrivileged::change_link(const Segment& before) {
    const auto& segment = *plan_.segment;
    if (owns_bridge() && segment.stp != before.stp)
        if (auto done = link::set_stp(netlink_, segment.name, segment.stp); !done) return done;
    if (segment.mtu != before.mtu && segment_index_ != 0) {
        if (owns_bridge()) {
            if (auto done = link::set_mtu(netlink_, segment.name, segment.mtu); !done) return done;
        } else if (segment.set_mtu) {
            if (auto done = make_link(); !done) return done;
        } else {
            const auto is_mtu = [](const Change& change) { return std::holds_alternative<SetMtu>(change); };
            if (auto done = undo_recorded(is_mtu); !done) return done;
        }
    }
    if (segment.isolate_guests == before.isolate_guests) return {};
    if (segment.isolate_guests) return welcome_ports({});
    return undo_recorded([](const Change& change) { return std::holds_alternative<IsolatedPort>(change); });
}

/// Settings of the segment that are wanted now, and those that are wanted no longer.
Result<void> LocalPrivileged::change_settings(const std::vector<link::Sysctl>& before) {
    for (const auto& former : before) {
        const bool wanted = std::any_of(plan_.sysctls.begin(), plan_.sysctls.end(),
                                        [&](const auto& one) { return one.path == former.path; });
        if (wanted) continue;
        if (auto done = release_setting(former.path); !done) return done;
    }
    if (segment_index_ == 0) return {};
    for (const auto& setting : plan_.sysctls)
        if (auto done = need(setting); !done) return done;
    return {};
}

/// Puts a setting back to what it was: as recorded, or, on a bridge of ours, to what a new interface has.
Result<void> LocalPrivileged::release_setting(const std::string& path) {
    bool recorded = false;
    const auto is_it = [&](const Change& change) {
        const auto* setting = std::get_if<SetSysctl>(&change);
        const bool found = setting != nullptr && setting->path == path;
        recorded |= found;
        return found;
    };
    if (auto done = undo_recorded(is_it); !done) return done;
    if (recorded || !owns_bridge()) return {};
    const auto value = sysctls_.read(default_path(path, plan_.segment->name));
    return value && sysctls_.read(path) ? sysctls_.write(path, *value, {}) : Result<void>{};
}

/// The new address is recorded before the old one goes: a kill in between leaves a record of both.
Result<void> LocalPrivileged::change_address(const Cidr& before) {
    const auto& segment = *plan_.segment;
    if (before == segment.address || segment_index_ == 0) return {};
    if (auto recorded = changes_->record(AddedAddress{segment.name, segment.address}); !recorded) return recorded;
    const AddedAddress former{segment.name, before};
    const auto is_former = [&](const Change& change) {
        const auto* address = std::get_if<AddedAddress>(&change);
        return address != nullptr && *address == former;
    };
    if (auto undone = undo_recorded(is_former); !undone) return undone;
    host_logger.info("ADDRESS {} is {} now, and was {}", segment.name, to_string(segment.address), to_string(before));
    return make_address();
}

Result<void> LocalPrivileged::change_services(const Plan& before) {
    if (plan_.fill_checksums != before.fill_checksums) {
        const auto is_fill = [](const Change& change) { return std::holds_alternative<FilledChecksums>(change); };
        if (auto done = plan_.fill_checksums ? make_checksums() : undo_recorded(is_fill); !done) return done;
    }
    if (plan_.host_lookup_domain == before.host_lookup_domain && plan_.segment->address == before.segment->address)
        return {};
    if (!plan_.host_lookup_domain.empty()) return tell_host_resolver();
    return undo_recorded([](const Change& change) {
        const auto* told = std::get_if<ToldProgram>(&change);
        return told != nullptr && told->program == resolved_program;
    });
}

Result<void> LocalPrivileged::change_forwarding(const Plan& before) {
    for (const auto& former : before.forwarding) {
        const bool wanted = std::any_of(plan_.forwarding.begin(), plan_.forwarding.end(),
                                        [&](const auto& one) { return one.path == former.path; });
        if (wanted) continue;
        if (auto released = release_setting(former.path); !released) return released;
    }
    return make_forwarding(plan_.forwarding);
}

Result<void> LocalPrivileged::undo_recorded(const std::function<bool(const Change&)>& is_wanted) {
    MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance);
    const auto recorded = changes_->all();
    for (auto change = recorded.rbegin(); change != recorded.rend(); ++change) {
        if (!is_wanted(*change)) continue;
        if (auto undone = undoer.undo(*change); !undone) return undone;
        if (auto forgotten = changes_->forget(*change); !forgotten) return forgotten;
    }
    return {};
}

Result<void> LocalPrivileged::remove_control_socket(const std::string& path) {
    return undo_recorded([&](const Change& change) {
        const auto* file = std::get_if<CreatedFile>(&change);
        return file != nullptr && file->path == path;
    });
}

}  // namespace vmrouter
