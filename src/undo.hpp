#pragma once

#include <string>
#include <vector>

#include "src/changes.hpp"
#include "src/link/netlink.hpp"
#include "src/shared.hpp"

namespace vmrouter {

/// Undoes what concerns links, addresses, routing rules, sysctls and files. Tables, rules in others' tables and what
/// other programs were told are passed to the functions below, which whoever knows the firewall and those programs
/// overrides.
class KernelUndoer : public Undoer {
public:
    KernelUndoer(link::Netlink& netlink, Shared& shared) : netlink_(netlink), shared_(shared) {}

    Result<void> undo(const Change& change) override;

    /// These links of ours stay: somebody has them open, and the next start takes them back.
    void leave_links(std::vector<std::string> names) { left_ = std::move(names); }

protected:
    virtual Result<void> undo_table(const CreatedTable& change) = 0;
    virtual Result<void> undo_rule(const InsertedRule& change) = 0;
    virtual Result<void> undo_checksums(const FilledChecksums& change) = 0;
    virtual Result<void> undo_told(const ToldProgram& change) = 0;

private:
    link::Netlink& netlink_;
    Shared& shared_;
    std::vector<std::string> left_;
};

}  // namespace vmrouter
