#pragma once

// Base chains of others. An accept of ours cannot save a packet that somebody else's chain drops, so each chain that
// would drop gets one rule of ours at its head: "accept what carries our mark". Only our own chains set that mark.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/nft.hpp"
#include "firewall/policy.hpp"
#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// A base chain of somebody else on forward or input.
struct ForeignChain {
    std::string family;  ///< "ip" or "inet"
    std::string table;
    std::string chain;
    std::string hook;  ///< "forward" or "input"
    int priority = 0;
    bool drops = false;        ///< by its policy, or by a last rule that drops or rejects whatever arrives there
    bool before_ours = false;  ///< comes before our chains: our mark is not set yet, nothing can be done
    std::string insert_into;   ///< the chain that gets our rule: this one, or DOCKER-USER where that exists
    std::vector<std::uint64_t> our_rules;  ///< handles of rules of ours in it, found by what they say

    friend bool operator==(const ForeignChain&, const ForeignChain&) = default;
};

/// The chains of others in the JSON text of `list ruleset`. `ours`: prefix of table names to leave out ("vmrouter_").
/// Pure.
Result<std::vector<ForeignChain>> foreign_chains(std::string_view ruleset_json, std::uint32_t mark);

/// The nft text that brings our rule into every chain that needs it and removes it from those that do not; empty when
/// all is as it should be. `instance` is named in the rule's comment. Pure.
std::string pass_rules(const std::vector<ForeignChain>& chains, std::uint32_t mark, const std::string& instance);
/// The nft text that removes every rule of ours from chains of others; empty when there is none. Pure.
std::string pass_rules_removal(const std::vector<ForeignChain>& chains);

/// Reads the rule set of the kernel.
Result<std::vector<ForeignChain>> scan_foreign(Nft& nft, std::uint32_t mark);
/// scan, then pass_rules; true when something was changed. A chain that vanishes in between is tried again.
Result<bool> open_foreign(Nft& nft, std::uint32_t mark, const std::string& instance);
/// Takes every rule of ours out again. Call it only when no other instance uses the same mark.
Result<void> close_foreign(Nft& nft, std::uint32_t mark);

/// Tables of iptables-legacy that would drop our traffic and that nftables cannot see ("filter"), from
/// /proc/net/ip_tables_names.
std::vector<std::string> legacy_tables();

}  // namespace vmrouter::firewall
