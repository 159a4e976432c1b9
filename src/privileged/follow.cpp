#include "src/privileged/local.hpp"

#include <algorithm>

#include "src/link/rule.hpp"

namespace vmrouter {

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
    if (*cut > 0) host_logger.info("CUT {} connections that are forbidden now", *cut);
    return {};
}

std::vector<std::string> LocalPrivileged::other_segments() {
    std::vector<std::string> names;
    const auto instances = shared_->instances();
    if (!instances) return names;
    for (const auto& one : *instances)
        if (one.alive && one.name != plan_.instance && !one.segment.empty()) names.push_back(one.segment);
    return names;
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
        if (link::interface_in(setting.path) == plan_.segment->name && !is_same_segment()) continue;  // set anew soon
        if (auto written = need(setting); !written) return Failure{std::move(written).error()};
        mended.push_back(setting.path);
    }
    for (const auto& port : ports_) silence(port.name);
    return mended;
}

Result<void> LocalPrivileged::repair_passes() {
    if (!changes_ || !plan_.segment) return {};
    if (auto passed = make_passes(); !passed) return passed;
    return repair_checksums();
}

}  // namespace vmrouter
