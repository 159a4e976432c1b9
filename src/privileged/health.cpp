#include "src/privileged/local.hpp"

#include <algorithm>

#include "src/link/rule.hpp"

namespace vmrouter {

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

Result<std::vector<firewall::Obstacle>> LocalPrivileged::obstacles() {
    if (!plan_.segment) return std::vector<firewall::Obstacle>{};
    auto rules = firewall::scan_foreign(nft_, plan_.policy.mark);
    if (!rules) return Failure{std::move(rules).error()};
    return firewall::obstacles(*rules, plan_.policy.mark, plan_.segment->name);
}

}  // namespace vmrouter
