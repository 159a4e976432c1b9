#include "firewall/foreign.hpp"

#include <algorithm>

#include "firewall/obstacle.hpp"
#include "src/managers/firewalld.hpp"
#include "src/managers/iptables_legacy.hpp"
#include "src/privileged/local.hpp"
#include "src/privileged/undo.hpp"

namespace vmrouter {
namespace {

/// The comment that names our rules in chains of others.
std::string pass_comment(const std::string& instance) {
    return "vmrouter:" + instance;
}

}  // namespace

/// What others would drop gets through. Idempotent; called at start and after every change of others' rules.
Result<void> LocalPrivileged::make_passes() {
    if (!plan_.segment) return {};
    auto rules = firewall::scan_foreign(nft_, plan_.policy.mark);
    if (!rules) return Failure{rules.error()};
    // A rule that is there already may be another instance's, which may end before us.
    if (std::any_of(rules->chains.begin(), rules->chains.end(), [](const auto& one) { return !one.before_ours; })) {
        const auto is_new = shared_->count_on(pass_rules("nftables", plan_.policy.mark));
        if (!is_new) return Failure{is_new.error()};
        if (*is_new) rules = firewall::scan_foreign(nft_, plan_.policy.mark);
        if (!rules) return Failure{rules.error()};
    }
    for (const auto& chain : rules->chains) {
        if (chain.before_ours) continue;
        const InsertedRule change{chain.family, chain.table, chain.insert_into, pass_comment(plan_.instance),
                                  plan_.policy.mark};
        if (auto recorded = changes_->record(change); !recorded) return recorded;
    }
    const auto outcome = firewall::open_foreign(nft_, *rules, plan_.policy.mark, plan_.instance);
    for (const auto& chain : outcome.opened)
        host_logger.info("PASS our traffic in {} {} {} of {}, which would drop it ({})", chain.family, chain.table,
                         chain.chain, chain.program, chain.verdict);
    for (const auto& error : outcome.refused) warn_once("PASS " + to_string(error));
    for (const auto& obstacle : firewall::obstacles(*rules, plan_.policy.mark, plan_.segment->name))
        if (obstacle.remedy == firewall::Remedy::Nothing)
            warn_once("PASS " + to_string(obstacle) + ", stands in the way of guests; `vmrouter doctor` says more");
    if (auto bound = make_zone(rules->firewalld); !bound) return bound;
    return make_legacy_passes();
}

/// firewalld has the segment in its zone `trusted`.
Result<void> LocalPrivileged::make_zone(const firewall::Firewalld& firewalld) {
    if (!firewalld.present) return {};
    const auto& name = plan_.segment->name;
    const auto zone = firewalld.zones.find(name);
    const std::string before = zone == firewalld.zones.end() ? "" : zone->second;
    if (before == managers::kTrustedZone || background_.running()) return {};
    const auto is_this = [&](const Change& change) {
        const auto* told = std::get_if<ToldProgram>(&change);
        return told != nullptr && told->program == managers::kFirewalld && told->link == name;
    };
    const auto& recorded = changes_->all();
    const bool known = std::any_of(recorded.begin(), recorded.end(), is_this);
    if (!known) {
        const ToldProgram change{std::string(managers::kFirewalld), name, before};
        if (auto noted = changes_->record(change); !noted) return noted;
    }
    // Its answer may take as long as its reload does; guests are served meanwhile, and our rule lets them through.
    const auto started = background_.start(
        managers::change_zone_command(name, std::string(managers::kTrustedZone)), [this, name, known](int status) {
            if (status != 0)
                warn_once("ZONE firewalld could not be told to put " + name + " into the zone trusted");
            else
                host_logger.info("ZONE {} is in firewalld's zone trusted{}", name, known ? " again" : "");
        });
    if (!started) warn_once("ZONE " + to_string(started.error()));
    return {};
}

/// The same for iptables-legacy, where it is in use. A table that cannot be opened is said, with what to run.
Result<void> LocalPrivileged::make_legacy_passes() {
    const LegacyPause pause(settings_);  // over both, so that nothing is missed between them
    managers::IptablesLegacy legacy(runner_);
    const std::string family(managers::kIptablesLegacy);
    auto rules = legacy.scan(plan_.policy.mark);
    if (rules && !rules->chains.empty()) {
        const auto is_new = shared_->count_on(pass_rules(family, plan_.policy.mark));
        if (!is_new) return Failure{is_new.error()};
        if (*is_new) rules = legacy.scan(plan_.policy.mark);
    }
    if (!rules) {
        warn_once("PASS " + to_string(rules.error()));
        return {};
    }
    const auto comment = pass_comment(plan_.instance);
    for (const auto& chain : rules->chains) {
        const InsertedRule change{family, "filter", chain.insert_into, comment, plan_.policy.mark};
        if (auto recorded = changes_->record(change); !recorded) return recorded;
        if (chain.has_our_rule) continue;
        if (auto opened = legacy.open(chain, plan_.policy.mark, comment); !opened)
            warn_once("PASS " + to_string(opened.error()));
        else
            host_logger.info("PASS our traffic in {} of {}, which would drop it ({})", chain.chain, chain.program,
                             chain.verdict);
    }
    return {};
}

/// Others' rules change often; what cannot be helped is said when it is new.
void LocalPrivileged::warn_once(const std::string& line) {
    if (is_new(line)) host_logger.warn("{}", line);
}

bool LocalPrivileged::is_new(const std::string& line) {
    constexpr std::size_t most = 256;
    return said_.size() < most && said_.insert(line).second;
}

}  // namespace vmrouter
