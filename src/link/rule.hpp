#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// Where the dead man's switch sits: before the rules of VPNs (which are near 5000 and 32765), after the local table.
inline constexpr std::uint32_t guard_priority = 100;

/// `iif SEGMENT fwmark 0/MARK to PREFIX prohibit`: refuses guests' packets for the LAN whenever our prerouting chain,
/// which marks them, is gone.
Rule guard_rule(std::string_view segment, std::uint32_t mark, const Cidr& prefix);
/// Those among `rules` that have the form of guard_rule() for this segment and mark.
std::vector<Rule> guard_rules(std::span<const Rule> rules, std::string_view segment, std::uint32_t mark);

/// `prefixes`, made wider until at most `limit` are left: every packet walks the list of rules, and a router with the
/// internet's routes has a million prefixes. The guard bites only when our rules are gone, so that refusing too much
/// then is the safe side. None of the result is the default route.
std::vector<Cidr> guard_prefixes(std::span<const Cidr> prefixes, std::size_t limit = 64);

/// What brings the guard rules of a segment from `present` to one for each of `prefixes`.
struct RuleChanges {
    std::vector<Rule> add;
    std::vector<Rule> remove;
    friend bool operator==(const RuleChanges&, const RuleChanges&) = default;
};
RuleChanges guard_changes(std::span<const Rule> present, std::string_view segment, std::uint32_t mark,
                          std::span<const Cidr> prefixes);

/// Reads the rules back and makes those changes: after every event about networks, and when somebody else's clean-up
/// took ours. What was changed; on an error some may have been made.
Result<RuleChanges> sync_guard_rules(Netlink& netlink, std::string_view segment, std::uint32_t mark,
                                     std::span<const Cidr> prefixes);

/// Success also when the rule is there already.
Result<void> add_rule(Netlink& netlink, const Rule& rule);
/// Success also when it is not there.
Result<void> remove_rule(Netlink& netlink, const Rule& rule);

}  // namespace vmrouter::link
