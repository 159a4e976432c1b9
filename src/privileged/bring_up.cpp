#include "src/privileged/local.hpp"

#include <algorithm>

#include "firewall/checksum_fill.hpp"
#include "src/base/text.hpp"
#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/route6.hpp"
#include "src/link/rule.hpp"
#include "src/privileged/undo.hpp"
#include "src/resolved.hpp"

namespace vmrouter {
namespace {

/// Runs each step until one fails.
template <class... Steps>
Result<void> in_order(Steps... steps) {
    Result<void> result;
    const auto run = [&result](auto& step) {
        result = step();
        return result.has_value();
    };
    (run(steps) && ...);
    return result;
}

Error no_interface(const std::string& name) {
    return {"there is no interface " + name, name, "`ip link` lists those of this machine"};
}

}  // namespace

Result<void> LocalPrivileged::bring_up(const Plan& plan) {
    plan_ = plan;
    auto lock = InstanceLock::take(folders_.run, plan.instance);
    if (!lock) return Failure{std::move(lock).error()};
    if (auto made = make_directories(plan.state_folder); !made) return made;
    lock_.emplace(std::move(*lock));
    auto changes = Changes::open(changes_path(folders_, plan.instance));
    if (!changes) {
        lock_.reset();
        return Failure{std::move(changes).error()};
    }
    changes_ = std::move(*changes);
    shared_.emplace(folders_.run, plan.instance, sysctls_);
    if (!changes_->all().empty()) host_logger.info("TAKE OVER what an earlier vmrouter on {} left", plan.instance);

    const auto taken_over = changes_->all().size();
    auto made = make(plan);
    segment_served_ = made.has_value();
    if (made) return made;
    background_.finish(std::chrono::seconds(10));
    MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance);
    undoer.leave_links(taken_back_);  // the state still names them, so that the next start takes them back
    auto errors = changes_->undo_down_to(taken_over, undoer);
    if (!errors.empty()) errors = changes_->undo_down_to(taken_over, undoer);
    for (const auto& error : errors) host_logger.error("UNDO {}", to_string(error));
    if (auto left = shared_->leave(); !left) host_logger.error("UNDO {}", to_string(left.error()));
    lock_.reset();
    return made;
}

Result<void> LocalPrivileged::make(const Plan& plan) {
    return in_order([&] { return join(); }, [&] { return make_tables(); }, [&] { return make_passes(); },
                    [&] { return make_link(); }, [&] { return make_guard(plan.lans); },
                    [&]() -> Result<void> {
                        tell_managers({});  // before the address: a manager that does not know it would take it away
                        return make_address();
                    },
                    [&] { return make_up(); },
                    [&]() -> Result<void> {
                        auto state = load_state(plan_.state_folder);
                        if (!state || state->boot != boot_id()) return {};
                        if (auto taken = take_back_taps(*state); !taken) return taken;
                        return attach_ports(state->ports);
                    },
                    [&] { return make_checksums(); }, [&] { return tell_host_resolver(); },
                    [&] { return make_forwarding(plan.forwarding); },
                    [&]() -> Result<void> {
                        auto cut = firewall::cut_forbidden(plan_.policy);
                        if (!cut) return Failure{std::move(cut).error()};
                        if (*cut > 0) host_logger.info("CUT {} connections from before that are not allowed", *cut);
                        forget_remembered();
                        return {};
                    });
}

Result<void> LocalPrivileged::join() {
    if (!plan_.segment) return shared_->join("", std::nullopt);
    return shared_->join(plan_.segment->name, plan_.segment->address.network());
}

/// The tables are in place before anything of the segment is up.
Result<void> LocalPrivileged::make_tables() {
    const CreatedTable change{"inet", firewall::table_name(plan_.instance)};  // and those of the same name beside it
    if (auto recorded = changes_->record(change); !recorded) return recorded;
    admit_in_idle_tables(nft_, *shared_, plan_.instance, true);
    return live_.apply(plan_.policy, clock_.monotonic());
}

Result<void> LocalPrivileged::make_link() {
    if (!plan_.segment) return {};
    const auto& segment = *plan_.segment;
    if (segment.is_bridge && !segment.exists) {
        if (auto recorded = changes_->record(CreatedLink{segment.name, segment.mac}); !recorded) return recorded;
        const link::BridgeOptions options{segment.mac, segment.stp, segment.mtu};
        auto created = link::create_bridge(netlink_, segment.name, options);
        if (!created) return Failure{std::move(created).error()};
    }
    if (segment.set_mtu) {
        auto links = link::read_links(netlink_);
        if (!links) return Failure{std::move(links).error()};
        for (const auto& one : *links) {
            if (one.name != segment.name || one.mtu == segment.mtu) continue;
            if (auto recorded = changes_->record(SetMtu{one.name, one.mtu, segment.mtu}); !recorded) return recorded;
            if (auto done = link::set_mtu(netlink_, one.name, segment.mtu); !done) return done;
        }
    }
    segment_index_ = netlink_.index_of(segment.name);
    if (segment_index_ == 0) return Failure{no_interface(segment.name)};
    if (auto done = record_ipv6(segment.name); !done) return done;
    for (const auto& setting : plan_.sysctls)
        if (auto done = need(setting); !done) return done;
    if (!segment.isolate_guests) return {};
    auto ports = link::ports(netlink_, segment.name);
    if (!ports) return Failure{std::move(ports).error()};
    for (const auto& port : *ports)
        if (!port.isolated)
            if (auto done = isolate(port.name); !done) return done;
    return {};
}

/// NetworkManager and systemd-networkd leave the segment and the ports of our bridge alone from here on: those that are
/// on it, and those of `newcomers` that will be put back.
void LocalPrivileged::tell_managers(const std::vector<RememberedPort>& newcomers) {
    if (!plan_.segment) return;
    std::vector<std::string> links{plan_.segment->name};
    if (owns_bridge()) {
        if (const auto ports = link::ports(netlink_, plan_.segment->name))
            for (const auto& port : *ports) links.push_back(port.name);
        if (const auto facts = link::read_host_facts(netlink_, plan_.segment->name); facts && !newcomers.empty())
            for (const auto& port : taken_off(newcomers, *facts))
                if (const auto may = may_return(port, *facts, plan_.segment->name); may && *may)
                    links.push_back(port.name);
    }
    managers::Managers managers(runner_);
    for (const auto& error : managers.leave_alone(*changes_, *shared_, plan_.instance, links))
        host_logger.warn("MANAGER {}", to_string(error));
    if (!plan_.segment->exists || warned_of_managers_) return;  // nobody knows a bridge that we make
    warned_of_managers_ = true;
    for (const auto& error : managers.obstacles(plan_.segment->name)) host_logger.warn("MANAGER {}", to_string(error));
}

/// disable_ipv6 takes the interface's IPv6 addresses and routes away; those that do not come back by themselves are
/// recorded.
Result<void> LocalPrivileged::record_ipv6(const std::string& name) {
    auto facts = link::read_host_facts(netlink_, name);
    if (!facts) return Failure{std::move(facts).error()};
    const auto* link = facts->find(name);
    auto routes = link::read_set_routes6(netlink_, name);
    if (!routes) return Failure{std::move(routes).error()};
    for (const auto& one : *routes) {
        const RemovedRoute6 change{name, one.destination, one.length, one.message};
        if (auto recorded = changes_->record(change); !recorded) return recorded;
    }
    for (const auto& one : facts->addresses6) {
        // Those of a router advertisement come back with the next one.
        if (link == nullptr || one.link != link->index || !one.permanent) continue;
        const RemovedAddress6 change{name, one.local, one.length, one.flags};
        if (auto recorded = changes_->record(change); !recorded) return recorded;
    }
    return {};
}

Result<void> LocalPrivileged::make_address() {
    if (!plan_.segment) return {};
    const auto& segment = *plan_.segment;
    auto facts = link::read_host_facts(netlink_, segment.name);
    if (!facts) return Failure{std::move(facts).error()};
    const auto* present = facts->find(segment.name);
    if (present == nullptr) return Failure{no_interface(segment.name)};
    const auto has_address = [&](const link::Address4& one) {
        return one.link == present->index && one.local == segment.address.address &&
               one.network == segment.address.network();
    };
    if (std::none_of(facts->addresses.begin(), facts->addresses.end(), has_address)) {
        if (auto recorded = changes_->record(AddedAddress{segment.name, segment.address}); !recorded) return recorded;
        if (auto added = link::add_address(netlink_, segment.name, segment.address); !added) return added;
    }
    segment_index_ = present->index;
    return {};
}

Result<void> LocalPrivileged::make_up() {
    if (!plan_.segment) return {};
    const auto& segment = *plan_.segment;
    auto links = link::read_links(netlink_);
    if (!links) return Failure{std::move(links).error()};
    const bool is_up = std::any_of(links->begin(), links->end(),
                                   [&](const auto& one) { return one.name == segment.name && one.up(); });
    if (is_up) return {};
    if (segment.exists)
        if (auto recorded = changes_->record(SetLinkUp{segment.name}); !recorded) return recorded;
    return link::set_up(netlink_, segment.name);
}

/// The dead man's switch: one routing rule a prefix, which bites only when our prerouting chain is gone.
Result<void> LocalPrivileged::make_guard(const std::vector<Cidr>& prefixes) {
    if (!plan_.segment) return {};
    const auto& name = plan_.segment->name;
    if (auto recorded = changes_->record(AddedGuardRules{name, plan_.policy.mark}); !recorded) return recorded;
    auto present = link::read_rules(netlink_);
    if (!present) return Failure{std::move(present).error()};
    const auto changes = link::guard_changes(*present, name, plan_.policy.mark, prefixes);
    for (const auto& rule : changes.add)
        if (auto added = link::add_rule(netlink_, rule); !added) return added;
    for (const auto& rule : changes.remove)
        if (auto removed = link::remove_rule(netlink_, rule); !removed) return removed;
    return {};
}

/// Interfaces that the rules have to leave out.
void LocalPrivileged::tell_unnamed() {
    for (const auto& name : firewall::unnamed(plan_.policy)) {
        const auto line = "NAME the interface " + escape(name) +
                          " is left out, because nft cannot express its name; rename it: ip link set ... name";
        if (is_new(line)) host_logger.error("{}", line);
    }
}

Result<void> LocalPrivileged::make_forwarding(const std::vector<link::Sysctl>& settings) {
    tell_unnamed();
    for (const auto& setting : settings) {
        // An uplink that is named but not there yet has no settings; it gets them when it appears.
        if (!sysctls_.read(setting.path)) continue;
        if (auto done = need(setting); !done) return done;
    }
    return {};
}

/// What is set is recorded before, and recorded of the very device that it is set on: one that comes in the segment's
/// place under the same name has values of its own.
Result<void> LocalPrivileged::need(const link::Sysctl& setting) {
    if (!plan_.segment || link::interface_in(setting.path) != plan_.segment->name)
        return shared_->need_sysctl(*changes_, setting);
    return shared_->need_sysctl(*changes_, setting, [this] { return is_same_segment(); });
}

bool LocalPrivileged::is_same_segment() {
    return segment_index_ != 0 && netlink_.index_of(plan_.segment->name) == segment_index_;
}

Result<void> LocalPrivileged::make_checksums() {
    if (!plan_.segment || !plan_.fill_checksums) return {};
    const auto& name = plan_.segment->name;
    // Several instances put their rules there; the last one removes what the first one made.
    const auto table = shared_->found_before("table ip mangle", nft_.list("list table ip mangle").has_value());
    if (!table) return Failure{table.error()};
    const auto chain =
        shared_->found_before("chain ip mangle POSTROUTING", nft_.list("list chain ip mangle POSTROUTING").has_value());
    if (!chain) return Failure{chain.error()};
    const FilledChecksums change{name, !*table, !*chain};
    if (auto recorded = changes_->record(change); !recorded) return recorded;
    auto filled = firewall::fill_checksums(name);
    if (filled) return {};
    // Our own replies never need it; it only repairs those of other programs on this host.
    host_logger.warn("SKIP dhcp.checksum_fill: {}", to_string(filled.error()));
    return changes_->forget(change);
}

/// firewalld's reload, for one, takes every rule out of the tables of iptables.
Result<void> LocalPrivileged::repair_checksums() {
    const auto& all = changes_->all();
    if (std::none_of(all.begin(), all.end(),
                     [](const auto& one) { return std::holds_alternative<FilledChecksums>(one); }))
        return {};
    const auto& name = plan_.segment->name;
    const auto filled = firewall::fill_checksums(name);
    if (!filled) {
        warn_once("SKIP dhcp.checksum_fill: " + to_string(filled.error()));
        return {};
    }
    if (!filled->created_table && !filled->created_chain) return {};
    // They were there before us and were flushed since, so that those of now are ours.
    return changes_->record(FilledChecksums{name, filled->created_table, filled->created_chain});
}

/// The host resolves guests by name, where it has a resolver that can be told; without one nothing is lost.
Result<void> LocalPrivileged::tell_host_resolver() {
    if (!plan_.segment || plan_.host_lookup_domain.empty() || !resolved_runs()) return {};
    const ToldProgram change{resolved_program, plan_.segment->name, {}};
    if (auto recorded = changes_->record(change); !recorded) return recorded;
    auto told = tell_resolved(runner_, plan_.segment->name, plan_.segment->address.address, plan_.host_lookup_domain);
    if (!told) host_logger.warn("SKIP dns.host_lookup: {}", to_string(told.error()));
    return {};
}

}  // namespace vmrouter
