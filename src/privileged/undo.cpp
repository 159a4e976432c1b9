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

Result<void> MachineUndoer::undo_table(const CreatedTable&) {
    return nft_.run(firewall::removal(instance_));
}

Result<void> MachineUndoer::undo_rule(const InsertedRule& change) {
    const auto others = shared_.instances();
    if (others && std::count_if(others->begin(), others->end(), [](const auto& one) { return one.alive; }) > 1)
        return {};  // the pass rules serve every instance; the last one takes them out
    if (change.family == managers::kIptablesLegacy) return managers::IptablesLegacy(runner_).close(change.mark);
    auto closed = firewall::close_foreign(nft_, change.mark);
    if (!closed) return Failure{std::move(closed).error()};
    return {};
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
