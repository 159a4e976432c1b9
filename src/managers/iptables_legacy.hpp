#pragma once

// iptables-legacy: tables of the kernel's older packet filter, which nftables does not show. They drop our guests'
// packets all the same. Its own program is the only way in; where it is installed our pass rule goes in by it, where it
// is not, the commands are said. The kernel tells nobody of changes to these tables; SettingsWatcher tells of every run
// of that program.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/obstacle.hpp"
#include "src/base/result.hpp"
#include "src/managers/runner.hpp"

namespace vmrouter::managers {

/// A base chain of the legacy table `filter` that drops what reaches its end.
struct LegacyChain {
    std::string chain;        ///< "FORWARD", "INPUT"
    std::string program;      ///< whose it is, by the names of the chains it calls
    std::string verdict;      ///< "policy drop", "reject", "jump X, reject"
    std::string insert_into;  ///< this one, or DOCKER-USER where that is called
    bool has_our_rule = false;

    friend bool operator==(const LegacyChain&, const LegacyChain&) = default;
};

struct LegacyRules {
    std::vector<LegacyChain> chains;  ///< that drop
    std::vector<std::string> ours;    ///< rules of ours as the program prints them: "FORWARD -m mark ... -j ACCEPT"

    friend bool operator==(const LegacyRules&, const LegacyRules&) = default;
};

/// What `iptables-legacy -S` prints. Pure.
LegacyRules read_legacy(std::string_view printed, std::uint32_t mark);

inline constexpr std::string_view kIptablesLegacy = "iptables-legacy";

class IptablesLegacy {
public:
    /// `names`: the file of the kernel that lists the tables; without `filter` in it nothing is run, since looking
    /// would make the table.
    explicit IptablesLegacy(Runner& runner, std::string names = "/proc/net/ip_tables_names")
        : runner_(runner), names_(std::move(names)) {}

    /// Whether there is a table `filter` at all.
    [[nodiscard]] bool in_use() const;
    /// Nothing when it is not in use; an error when it is and its program cannot be run, or says more than can be
    /// read, with what to run by hand. Takes a lock of its own: whoever watches that of the tables (SettingsWatcher) is
    /// not told of somebody who only looks.
    Result<LegacyRules> scan(std::uint32_t mark);
    /// Our rule at the head of a chain that drops.
    Result<void> open(const LegacyChain& chain, std::uint32_t mark, std::string_view comment);
    /// Every rule of ours out again, in whatever chain.
    Result<void> close(std::uint32_t mark);

private:
    Result<void> run(std::vector<std::string> words);

    Runner& runner_;
    std::string names_;
};

/// The commands that do by hand what open() does.
std::vector<std::string> legacy_cure(std::uint32_t mark);

/// For doctor, see firewall/obstacle.hpp; empty when it is not in use.
std::vector<firewall::Obstacle> legacy_obstacles(IptablesLegacy& legacy, std::uint32_t mark);

}  // namespace vmrouter::managers
