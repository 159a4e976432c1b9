#pragma once

#include <cstdint>
#include <string>

#include "firewall/nft.hpp"
#include "src/managers/runner.hpp"
#include "src/undo.hpp"

namespace vmrouter {

/// The name of systemd-resolved in the record of changes.
inline constexpr const char* resolved_program = "systemd-resolved";

/// Our rules in chains of others, as what instances with the same mark count on together; see InsertedRule.
std::string pass_rules(const std::string& family, std::uint32_t mark);

/// The rules of instances that do not run, killed or kept, know nothing of one that came later: they let pass what
/// comes to its segment from outside, or no longer.
void admit_in_idle_tables(firewall::Nft& nft, const Shared& shared, const std::string& instance, bool admitted);

/// Undoes what the kernel's links, our tables and other programs were given.
class MachineUndoer final : public KernelUndoer {
public:
    MachineUndoer(link::Netlink& netlink, Shared& shared, firewall::Nft& nft, managers::Runner& runner,
                  std::string instance)
        : KernelUndoer(netlink, shared), shared_(shared), nft_(nft), runner_(runner), instance_(std::move(instance)) {}

private:
    Result<void> undo_table(const CreatedTable& change) override;
    Result<void> undo_rule(const InsertedRule& change) override;
    Result<void> undo_checksums(const FilledChecksums& change) override;
    Result<void> undo_told(const ToldProgram& change) override;

    Shared& shared_;
    firewall::Nft& nft_;
    managers::Runner& runner_;
    std::string instance_;
};

}  // namespace vmrouter
