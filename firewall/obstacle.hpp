#pragma once

// What of other programs stands in the way of guests' traffic, as values: for `doctor`, and for the log.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/foreign.hpp"

namespace vmrouter::firewall {

enum class Remedy : std::uint8_t {
    Passed,   ///< a rule of ours in it lets through what our own chains allow
    Bound,    ///< firewalld was told, and has the segment in the zone `trusted`
    Missing,  ///< it can be helped, and is not at present: no instance runs, or was refused
    Nothing,  ///< only the administrator can help; `cure` says how
};

struct Obstacle {
    std::string program;  ///< "ufw", "Docker", "firewalld", "libvirt", "iptables", "nftables", "iptables-legacy", ...
    std::string family;   ///< "ip", "inet", "bridge"
    std::string table;
    std::string chain;
    std::string hook;  ///< "forward", "input", ...; empty for a chain that others call
    int priority = 0;
    std::string rule;  ///< what drops: "policy drop", `iifname "virbr10" drop`
    Remedy remedy = Remedy::Nothing;
    std::string done;               ///< what was done about it, a sentence
    std::vector<std::string> cure;  ///< commands for the administrator, in order; empty when all is well

    [[nodiscard]] bool in_the_way() const { return remedy == Remedy::Missing || remedy == Remedy::Nothing; }
    friend bool operator==(const Obstacle&, const Obstacle&) = default;
};

/// Every chain and rule of others in nftables (iptables-nft included) that drops what guests on `segment` send or get.
std::vector<Obstacle> obstacles(const ForeignRules& rules, std::uint32_t mark, std::string_view segment);

/// "inet filter forward (priority -100): policy drop, of ufw"
std::string to_string(const Obstacle& obstacle);

}  // namespace vmrouter::firewall
