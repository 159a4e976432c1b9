// Everything that was set up, read back from where it is: not from what we believe.

#include <unistd.h>

#include <algorithm>

#include "firewall/checksum_fill.hpp"
#include "firewall/foreign.hpp"
#include "firewall/ruleset.hpp"
#include "src/base/text.hpp"
#include "src/link/bridge.hpp"
#include "src/link/port_owner.hpp"
#include "src/link/rule.hpp"
#include "src/managers/iptables_legacy.hpp"
#include "src/privileged/local.hpp"
#include "src/privileged/undo.hpp"
#include "src/resolved.hpp"

namespace vmrouter {
namespace {

/// "lan0, lan1"
std::string listed(const std::vector<std::string>& names) {
    std::string text;
    for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

/// A listener of ours on our address, as the kernel lists it.
HealthItem listener(const std::string& what, link::Protocol protocol, Ipv4 address, std::uint16_t port, pid_t us) {
    const auto owners = link::port_owners(protocol, address, port);
    const bool ours = std::any_of(owners.begin(), owners.end(), [us](const auto& one) { return one.pid == us; });
    return {what, ours, ours ? "" : owners.empty() ? "nobody listens" : link::describe(owners)};
}

}  // namespace

std::vector<HealthItem> LocalPrivileged::health() {
    std::vector<HealthItem> items;
    add_table_health(items);
    if (!plan_.segment) return items;
    const auto facts = link::read_host_facts(netlink_, plan_.segment->name);
    if (!facts) {
        items.push_back({"the kernel's networks", false, to_string(facts.error())});
        return items;
    }
    add_link_health(items, *facts);
    const bool guarded =
        link::guard_changes(facts->rules, plan_.segment->name, plan_.policy.mark, plan_.lans) == link::RuleChanges{};
    items.push_back({"routing rules of the dead man's switch", guarded,
                     guarded ? std::to_string(plan_.lans.size()) + " networks" : "not those that there should be"});
    for (const auto* settings : {&plan_.sysctls, &plan_.forwarding}) {
        for (const auto& setting : *settings) {
            const auto value = sysctls_.read(setting.path);
            if (!value && setting.optional) continue;
            items.push_back({setting.path, value && *value == setting.value, value ? "is " + *value : "not there"});
        }
    }
    add_pass_health(items);
    add_service_health(items);
    return items;
}

/// Each table by itself, and all of them word by word.
void LocalPrivileged::add_table_health(std::vector<HealthItem>& items) {
    const auto name = firewall::table_name(plan_.instance);
    std::vector<std::string> families{"inet"};
    if (plan_.segment) {
        families.emplace_back("arp");
        if (plan_.segment->is_bridge) families.emplace_back("bridge");
        if (plan_.policy.segment && plan_.policy.segment->ingress_guard) families.emplace_back("netdev");
    }
    for (const auto& family : families) {
        const bool there = nft_.list("list table " + family + " " + name).has_value();
        items.push_back({"firewall table " + family + " " + name, there, there ? "" : "not there"});
    }
    const auto stands = live_.in_force();
    items.push_back({"firewall rules and sets", stands && *stands,
                     !stands   ? to_string(stands.error())
                     : *stands ? "unchanged"
                               : "somebody has changed them"});
}

void LocalPrivileged::add_link_health(std::vector<HealthItem>& items, const link::HostFacts& facts) {
    const auto& segment = *plan_.segment;
    const auto* present = facts.find(segment.name);
    items.push_back({"interface " + segment.name, present != nullptr && present->up(),
                     present == nullptr ? "not there"
                     : present->up()    ? "up"
                                        : "down"});
    const bool addressed =
        present != nullptr && std::any_of(facts.addresses.begin(), facts.addresses.end(), [&](const auto& one) {
            return one.link == present->index && one.local == segment.address.address &&
                   one.network == segment.address.network();
        });
    items.push_back({"address " + to_string(segment.address), addressed, addressed ? "" : "not there"});
    if (present == nullptr) return;
    if (segment.set_mtu || owns_bridge()) {
        std::string detail = "is " + std::to_string(present->mtu);
        for (const auto* port : facts.ports_of(segment.name))
            if (present->mtu < segment.mtu && port->mtu == present->mtu)
                detail += ": " + escape(port->name) + " takes no more";
        items.push_back({"mtu of " + segment.name, present->mtu == segment.mtu, std::move(detail)});
    }
    if (owns_bridge()) {
        const bool has_mac = present->mac == segment.mac;
        items.push_back({"mac of " + segment.name, has_mac, present->mac ? "is " + to_string(*present->mac) : "none"});
        const auto options = link::read_bridge_options(netlink_, segment.name);
        const bool right = options && options->stp == segment.stp && !options->snooping && !options->querier;
        items.push_back({"options of the bridge " + segment.name, right,
                         !options ? to_string(options.error())
                         : right  ? (segment.stp ? "with spanning tree" : "no spanning tree, no snooping")
                                  : "somebody has changed spanning tree or multicast snooping"});
    }
    if (!segment.is_bridge) return;
    const auto ports = link::ports(netlink_, segment.name);
    if (!ports) return items.push_back({"ports of " + segment.name, false, to_string(ports.error())});
    std::vector<std::string> open;
    for (const auto& port : *ports)
        if (!port.isolated) open.push_back(port.name);
    std::vector<std::string> speaking;
    for (const Change& change : changes_->all()) {
        const auto* setting = std::get_if<SetSysctl>(&change);
        if (setting == nullptr) continue;
        const std::string port(link::interface_in(setting->path));
        if (port == segment.name || setting->path != link::port_silence(port).path) continue;
        if (const auto value = sysctls_.read(setting->path); value && *value != setting->ours) speaking.push_back(port);
    }
    items.push_back({"no IPv6 of this host on the ports", speaking.empty(),
                     speaking.empty() ? std::string{} : "on: " + listed(speaking)});
    if (segment.isolate_guests)
        items.push_back({"isolation of the ports", open.empty(),
                         open.empty() ? std::to_string(ports->size()) + " ports" : "not isolated: " + listed(open)});
}

/// The rule of ours in each chain of others that would drop our traffic.
void LocalPrivileged::add_pass_health(std::vector<HealthItem>& items) {
    const auto rules = firewall::scan_foreign(nft_, plan_.policy.mark);
    if (!rules) return items.push_back({"rules of other firewalls", false, to_string(rules.error())});
    for (const auto& chain : rules->chains) {
        const auto what = "pass rule in " + chain.family + " " + chain.table + " " + chain.insert_into;
        if (chain.before_ours)
            items.push_back({what, false, "the chain drops before ours are asked (" + chain.verdict + ")"});
        else
            items.push_back({what, chain.has_our_rule, chain.has_our_rule ? "" : "not there"});
    }
    managers::IptablesLegacy legacy(runner_);
    const auto legacy_rules = legacy.scan(plan_.policy.mark);
    if (!legacy_rules) items.push_back({"rules of iptables-legacy", false, to_string(legacy_rules.error())});
    if (legacy_rules)
        for (const auto& chain : legacy_rules->chains)
            items.push_back({"pass rule in iptables-legacy " + chain.insert_into, chain.has_our_rule,
                             chain.has_our_rule ? "" : "not there"});
    for (const Change& change : changes_->all()) {
        if (!std::holds_alternative<FilledChecksums>(change)) continue;
        const auto chain = nft_.list("list chain ip mangle POSTROUTING");
        items.push_back({"checksums of other programs' DHCP replies", chain.has_value(), chain ? "" : "not there"});
    }
}

/// What other programs were told, and our listeners.
void LocalPrivileged::add_service_health(std::vector<HealthItem>& items) {
    std::optional<Result<managers::ManagedDevices>> devices;
    for (const Change& change : changes_->all()) {
        const auto* told = std::get_if<ToldProgram>(&change);
        if (told == nullptr) continue;
        if (told->program == managers::kNetworkManager) {
            if (!devices) devices = managers::network_manager_devices(runner_);
            const bool runs =
                managers::is_running(managers::processes(managers::Places{}.proc), managers::kNetworkManager);
            auto [leaves, why] = managers::leaves_alone(*devices, runs, told->link);
            items.push_back({"NetworkManager leaves " + told->link + " alone", leaves, std::move(why)});
        } else if (told->program == resolved_program) {
            items.push_back({"systemd-resolved knows the guests' names", resolved_runs(),
                             resolved_runs() ? "" : "it does not run"});
        } else {
            items.push_back({std::string(told->program) + " leaves " + told->link + " alone", true, "told by a file"});
        }
    }
    const auto address = plan_.segment->address.address;
    if (plan_.policy.segment->dhcp)
        items.push_back(listener("DHCP socket", link::Protocol::Udp, address, 67, getpid()));
    if (!plan_.policy.segment->dns) return;
    items.push_back(listener("DNS over UDP", link::Protocol::Udp, address, 53, getpid()));
    items.push_back(listener("DNS over TCP", link::Protocol::Tcp, address, 53, getpid()));
}

Result<std::vector<firewall::Obstacle>> LocalPrivileged::obstacles() {
    if (!plan_.segment) return std::vector<firewall::Obstacle>{};
    auto rules = firewall::scan_foreign(nft_, plan_.policy.mark);
    if (!rules) return Failure{std::move(rules).error()};
    return firewall::obstacles(*rules, plan_.policy.mark, plan_.segment->name);
}

}  // namespace vmrouter
