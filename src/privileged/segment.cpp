// An interface that comes and goes. Our own bridge is made anew at once; an interface or bridge of others is waited
// for, because whoever makes it again (a driver, ifup, libvirt) would fail over one that we had made in its place. The
// tables and the dead man's switch go by the name and stay in force meanwhile.

#include <algorithm>

#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/privileged/local.hpp"
#include "src/privileged/undo.hpp"

namespace vmrouter {
namespace {

/// `change` as one of the link's new name; nullopt when it is about something else.
std::optional<Change> renamed(Change change, const std::string& from, const std::string& to) {
    const auto rename = [&](std::string& name) {
        if (name != from) return false;
        name = to;
        return true;
    };
    bool concerns = false;
    if (auto* up = std::get_if<SetLinkUp>(&change)) concerns = rename(up->name);
    if (auto* mtu = std::get_if<SetMtu>(&change)) concerns = rename(mtu->name);
    if (auto* address = std::get_if<AddedAddress>(&change)) concerns = rename(address->link);
    if (auto* address6 = std::get_if<RemovedAddress6>(&change)) concerns = rename(address6->link);
    if (auto* route6 = std::get_if<RemovedRoute6>(&change)) concerns = rename(route6->link);
    if (auto* told = std::get_if<ToldProgram>(&change)) concerns = rename(told->link);
    if (auto* setting = std::get_if<SetSysctl>(&change)) {
        for (const std::string family : {"net/ipv4/conf/", "net/ipv6/conf/"}) {
            if (!setting->path.starts_with(family + from + "/")) continue;
            setting->path = family + to + setting->path.substr(family.size() + from.size());
            concerns = true;
        }
    }
    return concerns ? std::optional(std::move(change)) : std::nullopt;
}

/// As much as every port takes: what is longer is lost on the way to it, and nobody is told.
std::uint32_t mtu_with_ports(const link::HostFacts& facts, const Segment& segment) {
    std::uint32_t mtu = segment.mtu;
    for (const auto* port : facts.ports_of(segment.name)) mtu = std::min(mtu, port->mtu);
    return mtu;
}

}  // namespace

bool LocalPrivileged::owns_bridge() const {
    return plan_.segment && plan_.segment->is_bridge && !plan_.segment->exists;
}

Result<SegmentState> LocalPrivileged::restore_segment() {
    SegmentState state;
    if (!plan_.segment || !changes_) return state;
    const std::string name = plan_.segment->name;
    auto facts = link::read_host_facts(netlink_, name);
    if (!facts) return Failure{std::move(facts).error()};
    if (auto left = leave_renamed(facts->links); !left) return Failure{std::move(left).error()};

    const auto* present = facts->find(name);
    if (present != nullptr && owns_bridge() && !is_ours(*present, plan_.segment->mac)) {
        // Somebody else's by now: served like any bridge that was there, and not deleted on exit.
        if (auto forgotten = forget_link(); !forgotten) return Failure{std::move(forgotten).error()};
        plan_.segment->exists = true;
    }
    if (present == nullptr || present->index != segment_index_) {
        if (auto forgotten = forget_link(); !forgotten) return Failure{std::move(forgotten).error()};
        segment_index_ = present == nullptr ? 0 : present->index;  // what is recorded from here on is about this one
        segment_served_ = false;
    }
    if (!segment_served_) {
        if (present == nullptr && !owns_bridge()) return state;
        const auto refused =
            plan_.segment->is_bridge ? link::refuse_bridge(*facts, name) : link::refuse_interface(*facts, name);
        if (refused) return Failure{*refused};
        const bool made = present == nullptr;
        if (auto served = serve_anew(state); !served) {
            if (!is_same_segment()) return SegmentState{};  // it went while it was set up, which is an event of its own
            return Failure{std::move(served).error()};
        }
        if (made) state.mended.push_back("the bridge " + name);
        return state;
    }
    if (auto mended = mend_link(*facts, *present, state); !mended) {
        if (!is_same_segment()) return SegmentState{};  // it went meanwhile, which is an event of its own
        return Failure{std::move(mended).error()};
    }
    return state;
}

/// What the interface that is served lacks.
Result<void> LocalPrivileged::mend_link(const link::HostFacts& facts, const link::Link& present, SegmentState& state) {
    const auto& segment = *plan_.segment;
    state.index = present.index;
    state.up = present.up();
    const bool addressed = std::any_of(facts.addresses.begin(), facts.addresses.end(), [&](const link::Address4& one) {
        return one.link == present.index && one.local == segment.address.address &&
               one.network == segment.address.network();
    });
    if (!addressed) {
        if (auto made = make_address(); !made) return made;
        state.mended.push_back("the address " + to_string(segment.address));
    }
    if (!owns_bridge()) return {};
    if (!state.up) {
        if (auto made = make_up(); !made) return made;
        state.up = true;
        state.mended.push_back("the bridge " + segment.name + " (it was down)");
    }
    return restore_bridge(facts, present, state);
}

/// What our bridge was made with, where somebody, or the kernel when a port joined, has changed it.
Result<void> LocalPrivileged::restore_bridge(const link::HostFacts& facts, const link::Link& present,
                                             SegmentState& state) {
    const auto& segment = *plan_.segment;
    if (present.mac != segment.mac) {
        if (auto done = link::set_mac(netlink_, segment.name, segment.mac); !done) return done;
        state.mended.push_back("the MAC address " + to_string(segment.mac));
    }
    if (const auto mtu = mtu_with_ports(facts, segment); present.mtu != mtu) {
        if (auto done = link::set_mtu(netlink_, segment.name, mtu); !done) return done;
        state.mended.push_back("the MTU " + std::to_string(mtu) + " (it was " + std::to_string(present.mtu) + ")");
    }
    const auto options = link::read_bridge_options(netlink_, segment.name);
    if (!options) return Failure{options.error()};
    if (options->stp != segment.stp) {
        if (auto done = link::set_stp(netlink_, segment.name, segment.stp); !done) return done;
        state.mended.push_back(std::string("spanning tree ") + (segment.stp ? "on" : "off"));
    }
    if (options->snooping || options->querier) {
        if (auto done = link::stop_snooping(netlink_, segment.name); !done) return done;
        state.mended.emplace_back("multicast to every port");
    }
    return {};
}

/// The same order as at the start: nothing is up before it has its settings, forwarding comes last.
Result<void> LocalPrivileged::serve_anew(SegmentState& state) {
    if (auto made = make_link(); !made) return made;
    tell_managers({});
    if (auto made = make_address(); !made) return made;
    if (auto made = make_up(); !made) return made;
    if (auto attached = attach_ports(ports_); !attached) return attached;
    if (auto made = make_guard(plan_.lans); !made) return made;
    if (auto made = tell_host_resolver(); !made) return made;
    if (auto made = make_forwarding(plan_.forwarding); !made) return made;
    watch_settings();
    segment_served_ = true;
    state.index = segment_index_;
    state.up = true;
    return {};
}

/// Our interface has another name now: our bridge goes, so that it can be made again; an interface of others is given
/// back as it was. The rules know neither, so this comes before everything else.
Result<void> LocalPrivileged::leave_renamed(const std::vector<link::Link>& links) {
    const auto moved = std::find_if(links.begin(), links.end(), [&](const auto& one) {
        return segment_index_ != 0 && one.index == segment_index_ && one.name != plan_.segment->name;
    });
    if (moved == links.end()) return {};
    const auto say = [&] {
        host_logger.warn("RENAME {} is called {} now, and is not served under that name", plan_.segment->name,
                         moved->name);
    };
    if (owns_bridge()) {
        say();
        return link::delete_link(netlink_, moved->name);
    }
    MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance);
    const auto recorded = changes_->all();
    for (auto change = recorded.rbegin(); change != recorded.rend(); ++change) {
        const auto moved_change = renamed(*change, plan_.segment->name, moved->name);
        if (!moved_change) continue;
        if (auto undone = undoer.undo(*moved_change); !undone) host_logger.error("UNDO {}", to_string(undone.error()));
    }
    say();
    return {};
}

/// What is recorded about a device that is gone: one of the same name that comes later has values of its own.
Result<void> LocalPrivileged::forget_link() {
    const std::string& name = plan_.segment->name;
    const auto recorded = changes_->all();
    for (const Change& change : recorded) {
        const auto* created = std::get_if<CreatedLink>(&change);
        const bool concerns = (created != nullptr && created->name == name) || renamed(change, name, "x").has_value();
        if (!concerns) continue;
        if (const auto* setting = std::get_if<SetSysctl>(&change)) {
            if (auto forgotten = shared_->forget_sysctl(setting->path); !forgotten) return forgotten;
        }
        // Whoever was told of the name still must be untold.
        if (std::holds_alternative<ToldProgram>(change)) continue;
        if (auto forgotten = changes_->forget(change); !forgotten) return forgotten;
    }
    return {};
}

void LocalPrivileged::watch_settings() {
    if (!settings_) return;
    std::vector<std::string> paths;
    for (const auto* settings : {&plan_.sysctls, &plan_.forwarding})
        for (const auto& setting : *settings) paths.push_back("/proc/sys/" + setting.path);
    for (const auto& port : ports_) paths.push_back("/proc/sys/" + link::port_silence(port.name).path);
    settings_->watch(paths);
}

Result<FileDescriptor> LocalPrivileged::open_settings_events() {
    auto watcher = SettingsWatcher::open();
    if (!watcher) return Failure{std::move(watcher).error()};
    settings_ = std::move(*watcher);
    watch_settings();
    settings_->watch_legacy();
    return settings_->duplicate();
}

}  // namespace vmrouter
