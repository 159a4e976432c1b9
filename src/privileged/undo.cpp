#include "src/privileged/undo.hpp"

#include <algorithm>

#include "firewall/checksum_fill.hpp"
#include "firewall/foreign.hpp"
#include "firewall/ruleset.hpp"
#include "src/managers/firewalld.hpp"
#include "src/managers/iptables_legacy.hpp"
#include "src/managers/managers.hpp"
#include "src/resolved.hpp"

namespace vmrouter {

void admit_in_idle_tables(firewall::Nft& nft, const Shared& shared, const std::string& instance, bool admitted) {
    const auto instances = shared.instances();
    if (!instances) return;
    const auto self = std::find_if(instances->begin(), instances->end(),
                                   [&](const SharedInstance& one) { return one.name == instance; });
    if (self == instances->end() || self->segment.empty()) return;
    for (const auto& one : *instances)
        if (!one.runs) static_cast<void>(nft.run(firewall::admission(one.name, self->segment, admitted)));
}

Result<void> MachineUndoer::undo_table(const CreatedTable&) {
    admit_in_idle_tables(nft_, shared_, instance_, false);
    return nft_.run(firewall::removal(instance_));
}

std::string pass_rules(const std::string& family, std::uint32_t mark) {
    const bool legacy = family == managers::kIptablesLegacy;
    return "pass rules of " + (legacy ? family : "nftables") + " for the mark " + std::to_string(mark);
}

Result<void> MachineUndoer::undo_rule(const InsertedRule& change) {
    return shared_.release(pass_rules(change.family, change.mark), [&]() -> Result<void> {
        if (change.family == managers::kIptablesLegacy) return managers::IptablesLegacy(runner_).close(change.mark);
        auto closed = firewall::close_foreign(nft_, change.mark);
        if (!closed) return Failure{std::move(closed).error()};
        return {};
    });
}

Result<void> MachineUndoer::undo_checksums(const FilledChecksums& change) {
    return firewall::stop_filling_checksums(change.link, {change.created_table, change.created_chain});
}

Result<void> MachineUndoer::undo_told(const ToldProgram& change) {
    if (change.program == resolved_program) return forget_in_resolved(runner_, change.link);
    if (change.program == managers::kFirewalld) return managers::Firewalld(runner_).undo(change);
    return managers::Managers(runner_).undo(change);
}

}  // namespace vmrouter
