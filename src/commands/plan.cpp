#include "src/commands/plan.hpp"

#include <ostream>

#include "firewall/ruleset.hpp"
#include "src/app.hpp"
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
    auto facts = link::read_host_facts(*netlink, conf::segment_name(loaded.config));
    if (!facts) return fail(facts.error());
    auto context = make_context(loaded.config, {});
    if (!context) return fail(context.error());
    const auto made = make_plan(loaded.config, loaded.places, *facts, *context);
    if (!made) return fail(made.error());
    switch (options.format) {
        case cli::Plan::Format::Text:
            print_plan(out, *made);
            return 0;
        case cli::Plan::Format::Nft:
            out << firewall::ruleset(made->policy);
            return 0;
        case cli::Plan::Format::Sh:
        case cli::Plan::Format::Recipe:
            break;
    }
    return fail({"this version prints the plan as text or nft", "--format", {}});
}

}  // namespace vmrouter
