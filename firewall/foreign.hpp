#pragma once

// Base chains of others. An accept of ours cannot save a packet that somebody else's chain drops, so each chain that
// would drop gets one rule of ours at its head: "accept what carries our mark". Only our own chains let the mark pass
// there. The rule uses nothing that iptables could not print back, or the administrator's iptables would stop working.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/nft.hpp"
#include "firewall/policy.hpp"
#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// A base chain of somebody else that drops what reaches its end.
struct ForeignChain {
    std::string program;  ///< whose it is, by what it says: "ufw", "Docker", "firewalld", "iptables", "nftables"...
    std::string family;   ///< "ip", "inet"; "bridge" only among those that cannot be helped
    std::string table;
    std::string chain;
    std::string hook;  ///< "forward", "input"; others only among those that cannot be helped
    int priority = 0;
    std::string verdict;       ///< what drops: "policy drop", "reject", "jump ufw-reject-forward, reject"
    bool before_ours = false;  ///< runs before our chains decided: it cannot be helped, only named
    std::string insert_into;   ///< the chain that gets our rule: this one, or DOCKER-USER where that is called first
    bool has_our_rule = false;

    friend bool operator==(const ForeignChain&, const ForeignChain&) = default;
};

/// A rule of ours in a table of somebody else, found by what it says.
struct PassRule {
    std::string family;
    std::string table;
    std::string chain;
    std::uint64_t handle = 0;

    friend bool operator==(const PassRule&, const PassRule&) = default;
};

/// A rule of somebody else that drops all that comes from, or goes to, one interface. Left alone: it says what its
/// author wants.
struct ForeignDrop {
    std::string program;
    std::string family;
    std::string table;
    std::string chain;
    std::string interface;
    std::string rule;  ///< `iifname "virbr10" drop`
    std::uint64_t handle = 0;

    friend bool operator==(const ForeignDrop&, const ForeignDrop&) = default;
};

/// What the rules of firewalld (its nftables backend) say about zones.
struct Firewalld {
    bool present = false;
    std::map<std::string, std::string> zones;  ///< by interface; those of the default zone are not named

    friend bool operator==(const Firewalld&, const Firewalld&) = default;
};

struct ForeignRules {
    std::vector<ForeignChain> chains;    ///< on forward and input that drop
    std::vector<ForeignChain> hopeless;  ///< that drop where no mark of ours is asked: other hooks, the bridge family
    std::vector<ForeignDrop> drops;
    std::vector<PassRule> ours;  ///< wherever they are
    Firewalld firewalld;
};

/// What the JSON text of `list ruleset` says about tables that are not vmrouter's. Pure.
Result<ForeignRules> read_foreign(std::string_view ruleset_json, std::uint32_t mark);

/// The nft text that puts our rule at the head of a chain; nothing when it is there or cannot help. Pure.
std::optional<std::string> pass_rule(const ForeignChain& chain, std::uint32_t mark, const std::string& instance);
/// The nft text that takes a rule of ours out. Pure.
std::string pass_rule_removal(const PassRule& rule);

struct ForeignOutcome {
    std::vector<ForeignChain> opened;  ///< got our rule just now
    std::vector<Error> refused;        ///< the table's owner lets nobody in, or the chain vanished meanwhile
};

/// Puts our rule where `rules`, which were just read, say that it is missing.
ForeignOutcome open_foreign(Nft& nft, const ForeignRules& rules, std::uint32_t mark, const std::string& instance);
/// Takes every rule of ours out again; how many. Only when no other instance uses the same mark.
Result<std::size_t> close_foreign(Nft& nft, std::uint32_t mark);
/// What read_foreign() says about the kernel's rules now.
Result<ForeignRules> scan_foreign(Nft& nft, std::uint32_t mark);

}  // namespace vmrouter::firewall
