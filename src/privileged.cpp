#include "src/privileged.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "dns/transport.hpp"
#include "firewall/blocked.hpp"
#include "firewall/checksum_fill.hpp"
#include "firewall/conntrack.hpp"
#include "firewall/foreign.hpp"
#include "firewall/monitor.hpp"
#include "firewall/nft.hpp"
#include "firewall/ruleset.hpp"
#include "src/base/log.hpp"
#include "src/changes.hpp"
#include "src/control.hpp"
#include "src/instance_lock.hpp"
#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/monitor.hpp"
#include "src/link/port_owner.hpp"
#include "src/link/rule.hpp"
#include "src/managers/managers.hpp"
#include "src/resolved.hpp"
#include "src/shared.hpp"
#include "src/shared_watch.hpp"
#include "src/undo.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"host"};

constexpr const char* resolved = "systemd-resolved";

std::string changes_path(const Folders& folders, const std::string& instance) {
    return folders.run + "/" + instance + ".changes";
}

/// The comment that names our rules in chains of others.
std::string pass_comment(const std::string& instance) {
    return "vmrouter:" + instance;
}

/// Undoes what the kernel's links, our tables and other programs were given.
class MachineUndoer final : public KernelUndoer {
public:
    MachineUndoer(link::Netlink& netlink, Shared& shared, firewall::Nft& nft, managers::Runner& runner,
                  std::string instance, std::uint32_t mark)
        : KernelUndoer(netlink, shared),
          shared_(shared),
          nft_(nft),
          runner_(runner),
          instance_(std::move(instance)),
          mark_(mark) {}

private:
    Result<void> undo_table(const CreatedTable&) override { return nft_.run(firewall::removal(instance_)); }
    Result<void> undo_rule(const InsertedRule&) override {
        const auto others = shared_.instances();
        if (others && std::count_if(others->begin(), others->end(), [](const auto& one) { return one.alive; }) > 1)
            return {};  // the pass rules serve every instance; the last one takes them out
        auto closed = firewall::close_foreign(nft_, mark_);
        if (!closed) return Failure{std::move(closed).error()};
        return {};
    }
    Result<void> undo_checksums(const FilledChecksums& change) override {
        return firewall::stop_filling_checksums(change.link, {change.created_table, change.created_chain});
    }
    Result<void> undo_told(const ToldProgram& change) override {
        if (change.program == resolved) return forget_in_resolved(runner_, change.link);
        return managers::Managers(runner_).undo(change);
    }

    Shared& shared_;
    firewall::Nft& nft_;
    managers::Runner& runner_;
    std::string instance_;
    std::uint32_t mark_;
};

/// A socket error for a port, completed with the name of the process that has it.
Error name_owner(Error error, int errnum, link::Protocol protocol, Ipv4 address, std::uint16_t port) {
    if (errnum != EADDRINUSE) return error;
    const auto owners = link::describe(link::port_owners(protocol, address, port));
    if (!owners.empty()) {
        error.what += " (" + owners + ")";
        error.hint = "stop that program, or have it listen on its own addresses only";
    }
    return error;
}

/// Both halves in one process.
class LocalPrivileged final : public Privileged {
public:
    LocalPrivileged(asio::any_io_executor executor, Folders folders, link::Netlink netlink, firewall::Nft nft)
        : executor_(std::move(executor)),
          folders_(std::move(folders)),
          netlink_(std::move(netlink)),
          nft_(std::move(nft)),
          live_(nft_) {}

    Result<link::HostFacts> facts(const std::string& segment) override {
        return link::read_host_facts(netlink_, segment);
    }
    Result<void> bring_up(const Plan& plan) override;
    std::vector<Error> tear_down(bool keep) override;
    Result<void> follow(const firewall::Policy& policy, const std::vector<link::Uplink>& uplinks) override;
    Result<std::vector<std::string>> repair() override;
    std::vector<HealthItem> health() override;

    Result<void> bind_guest(const firewall::Binding& binding) override { return live_.bind(binding); }
    Result<void> unbind_guest(const MacAddress& mac, Ipv4 address) override {
        auto unbound = live_.unbind(mac, address);
        if (auto cut = firewall::cut_guest(plan_.policy, address); !cut) return Failure{std::move(cut).error()};
        return unbound;
    }
    Result<void> admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now) override {
        return live_.admit(addresses, ttl, now);
    }
    Result<std::vector<firewall::Counter>> counters() override { return live_.counters(); }
    Result<void> welcome_port(const std::string& port) override;
    std::vector<std::string> other_segments() override;

    Result<dhcp::Sockets> open_dhcp_sockets() override;
    Result<FileDescriptor> open_dhcp_port_socket(unsigned interface_index) override {
        return dhcp::open_port_socket(interface_index);
    }
    Result<FileDescriptor> open_dns_udp_socket() override;
    Result<FileDescriptor> open_dns_tcp_socket() override;
    Result<FileDescriptor> open_relay_socket(firewall::Protocol protocol, Ipv4 address, std::uint16_t port) override;
    Result<FileDescriptor> open_control_socket(const std::string& path) override {
        if (auto recorded = changes_->record(CreatedFile{path}); !recorded) return Failure{std::move(recorded).error()};
        return vmrouter::open_control_socket(path);
    }
    Result<FileDescriptor> open_instance_events() override { return open_shared_watch(folders_.run); }
    Result<FileDescriptor> open_link_events() override { return link::open_event_socket(); }
    Result<FileDescriptor> open_rules_events() override { return firewall::open_rules_monitor(); }
    Result<std::uint32_t> rules_process() override { return firewall::own_process(nft_); }
    Result<FileDescriptor> open_blocked_log(std::uint16_t group) override { return firewall::open_blocked_log(group); }
    void run_script(dhcp::ScriptCall call, std::function<void(Result<int>)> done) override {
        dhcp::run_program(executor_, call, std::move(done));
    }

private:
    Result<void> make(const Plan& plan);
    Result<void> join();
    Result<void> make_tables();
    Result<void> make_link();
    Result<void> record_ipv6(const std::string& name);
    Result<void> isolate(const std::string& port);
    void tell_managers();
    Result<void> make_address();
    Result<void> make_guard(const std::vector<Cidr>& prefixes);
    Result<void> make_forwarding(const std::vector<link::Sysctl>& settings);
    Result<void> make_passes();
    Result<void> make_checksums();
    Result<void> make_host_lookup();
    Result<void> attach_remembered_ports();
    void remember_ports();

    asio::any_io_executor executor_;
    Folders folders_;
    link::Netlink netlink_;
    firewall::Nft nft_;
    firewall::Live live_;
    SysctlAccess sysctls_;
    SystemClock clock_;
    Plan plan_;
    std::optional<InstanceLock> lock_;
    std::optional<Shared> shared_;
    std::optional<Changes> changes_;
    managers::SystemRunner runner_;
    bool warned_of_chains_ = false;
    bool warned_of_managers_ = false;
};

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
    if (!changes_->all().empty()) logger.info("TAKE OVER what an earlier vmrouter on {} left", plan.instance);

    const auto taken_over = changes_->all().size();
    auto made = make(plan);
    if (made) return made;
    MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance, plan_.policy.mark);
    auto errors = changes_->undo_down_to(taken_over, undoer);
    if (!errors.empty()) errors = changes_->undo_down_to(taken_over, undoer);
    for (const auto& error : errors) logger.error("UNDO {}", to_string(error));
    if (auto left = shared_->leave(); !left) logger.error("UNDO {}", to_string(left.error()));
    lock_.reset();
    return made;
}

Result<void> LocalPrivileged::make(const Plan& plan) {
    return in_order([&] { return join(); }, [&] { return make_tables(); }, [&] { return make_passes(); },
                    [&] { return make_link(); }, [&] { return make_guard(plan.lans); },
                    [&]() -> Result<void> {
                        tell_managers();  // before the address: a manager that does not know it would take it away
                        return make_address();
                    },
                    [&] { return attach_remembered_ports(); }, [&] { return make_checksums(); },
                    [&] { return make_host_lookup(); }, [&] { return make_forwarding(plan.forwarding); },
                    [&]() -> Result<void> {
                        auto cut = firewall::cut_forbidden(plan_.policy);
                        if (!cut) return Failure{std::move(cut).error()};
                        if (*cut > 0) logger.info("CUT {} connections from before that are not allowed", *cut);
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
    return live_.apply(plan_.policy, clock_.monotonic());
}

Result<void> LocalPrivileged::make_passes() {
    if (!plan_.segment) return {};
    auto rules = firewall::scan_foreign(nft_, plan_.policy.mark);
    if (!rules) return Failure{std::move(rules).error()};
    for (const auto& chain : rules->chains) {
        if (chain.has_our_rule || chain.before_ours) continue;
        const InsertedRule change{chain.family, chain.table, chain.insert_into, pass_comment(plan_.instance)};
        if (auto recorded = changes_->record(change); !recorded) return recorded;
    }
    auto outcome = firewall::open_foreign(nft_, plan_.policy.mark, plan_.instance);
    if (!outcome) return Failure{std::move(outcome).error()};
    for (const auto& chain : outcome->opened)
        logger.info("PASS our traffic in {} {} {}, which would drop it", chain.family, chain.table, chain.chain);
    for (const auto& error : outcome->refused) logger.warn("PASS {}", to_string(error));
    if (!warned_of_chains_)
        for (const auto& chain : outcome->before_ours)
            logger.warn("PASS {} {} {} drops before our rules are asked; guests' traffic may not get through",
                        chain.family, chain.table, chain.chain);
    warned_of_chains_ = true;
    return {};
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
    if (auto done = record_ipv6(segment.name); !done) return done;
    for (const auto& setting : plan_.sysctls)
        if (auto done = shared_->need_sysctl(*changes_, setting); !done) return done;
    if (!segment.isolate_guests) return {};
    auto ports = link::ports(netlink_, segment.name);
    if (!ports) return Failure{std::move(ports).error()};
    for (const auto& port : *ports)
        if (!port.isolated)
            if (auto done = isolate(port.name); !done) return done;
    return {};
}

Result<void> LocalPrivileged::isolate(const std::string& port) {
    if (auto recorded = changes_->record(IsolatedPort{port}); !recorded) return recorded;
    return link::set_isolated(netlink_, port, true);
}

/// A port that joined the bridge while we run.
Result<void> LocalPrivileged::welcome_port(const std::string& port) {
    tell_managers();
    return plan_.segment && plan_.segment->isolate_guests ? isolate(port) : Result<void>{};
}

std::vector<std::string> LocalPrivileged::other_segments() {
    std::vector<std::string> names;
    const auto instances = shared_->instances();
    if (!instances) return names;
    for (const auto& one : *instances)
        if (one.alive && one.name != plan_.instance && !one.segment.empty()) names.push_back(one.segment);
    return names;
}

/// NetworkManager and systemd-networkd leave the segment and the ports of our bridge alone from here on.
void LocalPrivileged::tell_managers() {
    if (!plan_.segment) return;
    std::vector<std::string> links{plan_.segment->name};
    if (plan_.segment->is_bridge && !plan_.segment->exists)
        if (const auto ports = link::ports(netlink_, plan_.segment->name))
            for (const auto& port : *ports) links.push_back(port.name);
    managers::Managers managers(runner_);
    for (const auto& error : managers.leave_alone(*changes_, *shared_, plan_.instance, links))
        logger.warn("MANAGER {}", to_string(error));
    if (plan_.segment->is_bridge || warned_of_managers_) return;
    warned_of_managers_ = true;
    for (const auto& error : managers.obstacles(plan_.segment->name)) logger.warn("MANAGER {}", to_string(error));
}

/// disable_ipv6 takes the interface's IPv6 addresses away; those that do not come back by themselves are recorded.
Result<void> LocalPrivileged::record_ipv6(const std::string& name) {
    auto facts = link::read_host_facts(netlink_, name);
    if (!facts) return Failure{std::move(facts).error()};
    const auto* link = facts->find(name);
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
    if (present == nullptr)
        return Failure{
            Error{"there is no interface " + segment.name, segment.name, "`ip link` lists those of this machine"}};
    const auto has_address = [&](const link::Address4& one) {
        return one.link == present->index && one.local == segment.address.address &&
               one.network == segment.address.network();
    };
    if (std::none_of(facts->addresses.begin(), facts->addresses.end(), has_address)) {
        if (auto recorded = changes_->record(AddedAddress{segment.name, segment.address}); !recorded) return recorded;
        if (auto added = link::add_address(netlink_, segment.name, segment.address); !added) return added;
    }
    if (present->up()) return {};
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

Result<void> LocalPrivileged::make_forwarding(const std::vector<link::Sysctl>& settings) {
    for (const auto& setting : settings) {
        // An uplink that is named but not there yet has no settings; it gets them when it appears.
        if (!sysctls_.read(setting.path)) continue;
        if (auto done = shared_->need_sysctl(*changes_, setting); !done) return done;
    }
    return {};
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
    logger.warn("SKIP dhcp.checksum_fill: {}", to_string(filled.error()));
    return changes_->forget(change);
}

/// The host resolves guests by name, where it has a resolver that can be told; without one nothing is lost.
Result<void> LocalPrivileged::make_host_lookup() {
    if (!plan_.segment || plan_.host_lookup_domain.empty() || !resolved_runs()) return {};
    const ToldProgram change{resolved, plan_.segment->name, {}};
    if (auto recorded = changes_->record(change); !recorded) return recorded;
    auto told = tell_resolved(runner_, plan_.segment->name, plan_.segment->address.address, plan_.host_lookup_domain);
    if (!told) logger.warn("SKIP dns.host_lookup: {}", to_string(told.error()));
    return {};
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
            logger.info("ATTACH {} to {} again", port.name, plan_.segment->name);
        else
            logger.warn("ATTACH {}", to_string(done.error()));
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
    if (auto saved = save_state(plan_.state_folder, state); !saved) logger.warn("STATE {}", to_string(saved.error()));
}

std::vector<Error> LocalPrivileged::tear_down(bool keep) {
    std::vector<Error> errors;
    if (!changes_) return errors;
    if (!keep) {
        remember_ports();
        MachineUndoer undoer(netlink_, *shared_, nft_, runner_, plan_.instance, plan_.policy.mark);
        errors = changes_->undo_all(undoer);
        if (!errors.empty()) errors = changes_->undo_all(undoer);  // what was busy or short of memory may work now
        if (auto left = shared_->leave(); !left) errors.push_back(std::move(left).error());
    }
    changes_.reset();
    lock_.reset();
    return errors;
}

Result<void> LocalPrivileged::follow(const firewall::Policy& policy, const std::vector<link::Uplink>& uplinks) {
    const auto prefixes = guarded_prefixes(policy);
    if (auto updated = live_.update(policy, clock_.monotonic()); !updated) return updated;
    const auto before = forwarding_links(plan_.policy);
    const auto after = forwarding_links(policy);
    plan_.policy = policy;
    plan_.lans = prefixes;
    plan_.uplinks = uplinks;
    plan_.forwarding = forwarding_settings(policy);
    for (const auto& former : before) {
        if (std::binary_search(after.begin(), after.end(), former)) continue;
        if (auto released = shared_->release_interface(*changes_, former); !released) return released;
    }
    if (auto guarded = make_guard(prefixes); !guarded) return guarded;
    if (auto done = make_forwarding(plan_.forwarding); !done) return done;
    auto cut = firewall::cut_forbidden(policy);
    if (!cut) return Failure{std::move(cut).error()};
    if (*cut > 0) logger.info("CUT {} connections that are forbidden now", *cut);
    return {};
}

Result<std::vector<std::string>> LocalPrivileged::repair() {
    std::vector<std::string> mended;
    if (!changes_) return mended;
    auto stands = live_.in_force();
    if (!stands || !*stands) {
        if (auto repaired = live_.repair(clock_.monotonic()); !repaired) return Failure{std::move(repaired).error()};
        mended.push_back("the firewall table " + firewall::table_name(plan_.instance));
        if (auto cut = firewall::cut_forbidden(plan_.policy); !cut) return Failure{std::move(cut).error()};
    }
    if (!plan_.segment) return mended;
    auto rules = link::read_rules(netlink_);
    if (rules &&
        link::guard_changes(*rules, plan_.segment->name, plan_.policy.mark, plan_.lans) != link::RuleChanges{}) {
        if (auto guarded = make_guard(plan_.lans); !guarded) return Failure{std::move(guarded).error()};
        mended.emplace_back("the routing rules that hold the LAN shut");
    }
    auto settings = plan_.sysctls;
    settings.insert(settings.end(), plan_.forwarding.begin(), plan_.forwarding.end());
    for (const auto& setting : settings) {
        const auto value = sysctls_.read(setting.path);
        if (!value || *value == setting.value) continue;
        if (auto written = sysctls_.write(setting.path, setting.value); !written)
            return Failure{std::move(written).error()};
        mended.push_back(setting.path);
    }
    if (auto passed = make_passes(); !passed) return Failure{std::move(passed).error()};
    return mended;
}

std::vector<HealthItem> LocalPrivileged::health() {
    std::vector<HealthItem> items;
    const auto stands = live_.in_force();
    items.push_back({"firewall table " + firewall::table_name(plan_.instance), stands && *stands,
                     stands ? "" : to_string(stands.error())});
    if (!plan_.segment) return items;
    const auto& segment = *plan_.segment;
    const auto facts = link::read_host_facts(netlink_, segment.name);
    const auto* present = facts ? facts->find(segment.name) : nullptr;
    items.push_back({"interface " + segment.name, present != nullptr && present->up(),
                     present == nullptr ? "not there"
                     : present->up()    ? "up"
                                        : "down"});
    const bool addressed =
        present != nullptr && std::any_of(facts->addresses.begin(), facts->addresses.end(), [&](const auto& one) {
            return one.link == present->index && one.local == segment.address.address;
        });
    items.push_back({"address " + to_string(segment.address), addressed, ""});
    const bool guarded =
        facts && link::guard_changes(facts->rules, segment.name, plan_.policy.mark, plan_.lans) == link::RuleChanges{};
    items.push_back({"routing rules of the dead man's switch", guarded, ""});
    auto settings = plan_.sysctls;
    settings.insert(settings.end(), plan_.forwarding.begin(), plan_.forwarding.end());
    for (const auto& setting : settings) {
        const auto value = sysctls_.read(setting.path);
        if (!value && setting.optional) continue;
        items.push_back({setting.path, value && *value == setting.value, value ? "is " + *value : "not there"});
    }
    return items;
}

Result<dhcp::Sockets> LocalPrivileged::open_dhcp_sockets() {
    const auto& name = plan_.segment->name;
    auto sockets = dhcp::open_sockets(name);
    if (sockets) return sockets;
    auto error = std::move(sockets).error();
    const auto owners = link::describe(link::port_owners(link::Protocol::Udp, plan_.segment->address.address, 67));
    if (!owners.empty()) {
        error.what += " (" + owners + ")";
        error.hint = "stop that DHCP server, or set dhcp.enabled = false";
    }
    return Failure{std::move(error)};
}

Result<FileDescriptor> LocalPrivileged::open_dns_udp_socket() {
    auto socket = dns::open_udp_socket(plan_.segment->address.address, plan_.segment->name);
    if (socket) return socket;
    return Failure{
        name_owner(std::move(socket).error(), errno, link::Protocol::Udp, plan_.segment->address.address, 53)};
}

Result<FileDescriptor> LocalPrivileged::open_dns_tcp_socket() {
    auto socket = dns::open_tcp_socket(plan_.segment->address.address, plan_.segment->name);
    if (socket) return socket;
    return Failure{
        name_owner(std::move(socket).error(), errno, link::Protocol::Tcp, plan_.segment->address.address, 53)};
}

Result<FileDescriptor> LocalPrivileged::open_relay_socket(firewall::Protocol protocol, Ipv4 address,
                                                          std::uint16_t port) {
    const bool tcp = protocol == firewall::Protocol::Tcp;
    const auto where = to_string(protocol) + "/" + to_string(address) + ":" + std::to_string(port);
    FileDescriptor socket(::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Failure{system_error("cannot open a socket", errno, where)};
    const int on = 1;
    if (tcp) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(address.value);
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        (tcp && listen(socket.get(), 64) != 0)) {
        const int failed = errno;
        return Failure{name_owner(system_error("cannot listen for a published port", failed, where), failed,
                                  tcp ? link::Protocol::Tcp : link::Protocol::Udp, address, port)};
    }
    return socket;
}

}  // namespace

Result<std::unique_ptr<Privileged>> open_privileged(asio::any_io_executor executor, const Folders& folders) {
    if (geteuid() != 0)
        return Failure{Error{"vmrouter changes bridges and firewall rules, which takes root",
                             {},
                             "run it with sudo; `vmrouter check` and `vmrouter plan` need no root"}};
    auto netlink = link::Netlink::open();
    if (!netlink) return Failure{std::move(netlink).error()};
    auto nft = firewall::Nft::open();
    if (!nft) return Failure{std::move(nft).error()};
    return std::unique_ptr<Privileged>(
        std::make_unique<LocalPrivileged>(std::move(executor), folders, std::move(*netlink), std::move(*nft)));
}

std::vector<Error> undo_instance(const Folders& folders, const std::string& instance) {
    auto lock = InstanceLock::take(folders.run, instance);
    if (!lock) return {std::move(lock).error()};
    auto netlink = link::Netlink::open();
    if (!netlink) return {std::move(netlink).error()};
    auto nft = firewall::Nft::open();
    if (!nft) return {std::move(nft).error()};
    auto changes = Changes::open(changes_path(folders, instance));
    if (!changes) return {std::move(changes).error()};
    std::uint32_t mark = firewall::default_mark;
    for (const auto& change : changes->all())
        if (const auto* rules = std::get_if<AddedGuardRules>(&change)) mark = rules->mark;
    SysctlAccess sysctls;
    Shared shared(folders.run, instance, sysctls);
    managers::SystemRunner runner;
    MachineUndoer undoer(*netlink, shared, *nft, runner, instance, mark);
    auto errors = changes->undo_all(undoer);
    if (auto left = shared.leave(); !left) errors.push_back(std::move(left).error());
    return errors;
}

}  // namespace vmrouter
