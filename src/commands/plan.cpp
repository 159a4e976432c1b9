#include "src/commands/plan.hpp"

#include <ostream>

#include <unistd.h>

#include "dhcp/hosts_file.hpp"
#include "firewall/foreign.hpp"
#include "firewall/nft.hpp"
#include "firewall/ruleset.hpp"
#include "src/app.hpp"
#include "src/base/file.hpp"
#include "src/commands/plan_recipe.hpp"
#include "src/commands/plan_script.hpp"
#include "src/forwards.hpp"
#include "src/guests.hpp"
#include "src/link/host.hpp"

namespace vmrouter {
namespace {

void print_uplinks(std::ostream& out, const Plan& plan) {
    if (plan.uplinks.empty()) out << "  uplink      none now; followed when one appears\n";
    for (const auto& uplink : plan.uplinks) {
        out << "  uplink      " << uplink.name;
        for (const auto gateway : uplink.gateways) out << " via " << to_string(gateway);
        if (uplink.index == 0) out << " (not there yet)";
        out << '\n';
    }
}

void print_segment(std::ostream& out, const Plan& plan) {
    const auto& segment = *plan.segment;
    out << "Segment\n  " << (segment.is_bridge ? "bridge      " : "interface   ") << segment.name
        << (segment.exists ? " (there already: kept on exit)" : " (created; deleted on exit)") << '\n';
    out << "  address     " << to_string(segment.address) << '\n';
    out << "  mtu         " << segment.mtu << (segment.set_mtu ? " (set)" : "") << '\n';
    if (segment.is_bridge && !segment.exists) out << "  mac         " << to_string(segment.mac) << '\n';
    print_uplinks(out, plan);
    out << "\nBlocked for guests, beside the host itself and everything in IPv6\n";
    for (const auto& prefix : plan.lans) out << "  " << to_string(prefix) << '\n';
    out << "\nKernel settings (each restored on exit)\n";
    for (const auto* settings : {&plan.sysctls, &plan.forwarding})
        for (const auto& setting : *settings) out << "  " << setting.path << " = " << setting.value << '\n';
}

/// The reservations of the configuration and the hosts file, before anybody has a lease.
class ReservedGuests final : public GuestDirectory {
public:
    ReservedGuests(const conf::Config& config, const conf::Places& places, const Plan& plan) {
        if (!config.dhcp.enabled || !plan.segment) return;
        std::vector<Error> problems;  // `check` and the log of the running program name them
        std::vector<dhcp::HostEntry> from_file;
        if (const auto text = read_file(plan.hosts_file))
            from_file = dhcp::parse_hosts_file(*text, plan.hosts_file).entries;
        reservations_ = dhcp::Reservations::build(configured_hosts(config, places), std::move(from_file),
                                                  plan.segment->address, plan.segment->name, problems);
    }
    [[nodiscard]] const dhcp::LeaseTable* leases() const override { return nullptr; }
    [[nodiscard]] const dhcp::Reservations* reservations() const override { return &reservations_; }

private:
    dhcp::Reservations reservations_;
};

/// What the rules know of guests before the first lease.
void add_guests(Plan& plan, const conf::Loaded& loaded, const link::HostFacts& facts, const PlanContext& context) {
    if (!plan.segment) return;
    const ReservedGuests directory(loaded.config, loaded.places, plan);
    Guests guests;
    guests.bindings = bindings(directory, facts);
    guests.forwards = translations(loaded.config.firewall.forward,
                                   [&](const auto& guest) { return resolve_guest(directory, guest); });
    plan.policy = make_policy(loaded.config, plan.segment, facts, context, guests);
}

/// Whether vmrouter, which runs as root, would recognise the bridge's ports by its name; who may not ask is shown the
/// form that every kernel takes.
bool knows_bridge_names() {
    if (geteuid() != 0) return false;  // libnftables ends the process when it may not open its socket
    auto nft = firewall::Nft::open();
    return nft && firewall::knows_bridge_names(*nft);
}

/// Chains of others, as far as we may read them.
ScriptFacts script_facts(const link::HostFacts& facts, const Plan& plan) {
    ScriptFacts out{facts, {}, false};
    if (geteuid() != 0) return out;  // libnftables ends the process when it may not open its socket
    auto nft = firewall::Nft::open();
    if (!nft) return out;
    if (auto foreign = firewall::scan_foreign(*nft, plan.policy.mark)) {
        out.chains = std::move(foreign->chains);
        out.chains_known = true;
    }
    return out;
}

}  // namespace

void print_plan(std::ostream& out, const Plan& plan) {
    for (const auto& warning : plan.warnings) out << "warning: " << warning << '\n';
    if (plan.segment) print_segment(out, plan);
    out << "\nFiles\n  " << plan.leases_file << "\n  " << plan.hosts_file << "\n";
    out << "\nFirewall\n" << firewall::ruleset(plan.policy);
}

int plan(const cli::Plan& options, std::ostream& out, std::ostream& err) {
    const auto loaded = cli::load(options.source);
    if (!report(loaded)) return 2;
    const auto fail = [&err](const Error& error) {
        err << "vmrouter: " << to_string(error) << '\n';
        return 1;
    };
    auto netlink = link::Netlink::open();
    if (!netlink) return fail(netlink.error());
    auto facts = link::read_host_facts(*netlink, conf::segment_name(loaded.config), loaded.config.firewall.mark);
    if (!facts) return fail(facts.error());
    auto context = make_context(loaded.config, {});
    if (!context) return fail(context.error());
    if (loaded.config.network.bridge) context->match_bridge_name = knows_bridge_names();
    std::vector<std::string> warnings;
    auto uids = usermode_uids(loaded.config, loaded.places, warnings);
    if (!uids) return fail(uids.error());
    context->usermode_uids = std::move(*uids);
    auto made = make_plan(loaded.config, loaded.places, *facts, *context);
    if (!made) return fail(made.error());
    made->warnings.insert(made->warnings.end(), warnings.begin(), warnings.end());
    add_guests(*made, loaded, *facts, *context);
    switch (options.format) {
        case cli::Plan::Format::Text:
            print_plan(out, *made);
            break;
        case cli::Plan::Format::Nft:
            out << firewall::ruleset(made->policy);
            break;
        case cli::Plan::Format::Sh:
            out << plan_script(*made, script_facts(*facts, *made));
            break;
        case cli::Plan::Format::Recipe:
            out << plan_recipe(*made, loaded.config);
            break;
    }
    return 0;
}

}  // namespace vmrouter
