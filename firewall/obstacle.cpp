#include "firewall/obstacle.hpp"

#include <algorithm>
#include <cstdio>

#include "src/base/text.hpp"

namespace vmrouter::firewall {
namespace {

std::string insert_rule(const Obstacle& obstacle, const std::string& into, const std::string& rule) {
    return "nft insert rule " + obstacle.family + " " + obstacle.table + " " + into + " " + rule;
}

std::string quoted(std::string_view interface) {
    return "\"" + std::string(interface) + "\"";
}

/// In the shell a quoted name needs quotes around it.
std::vector<std::string> accept_interface(const Obstacle& obstacle, std::string_view segment) {
    return {insert_rule(obstacle, obstacle.chain, "iifname '" + quoted(segment) + "' accept"),
            insert_rule(obstacle, obstacle.chain, "oifname '" + quoted(segment) + "' accept")};
}

Obstacle describe(const ForeignChain& chain) {
    Obstacle obstacle;
    obstacle.program = chain.program;
    obstacle.family = chain.family;
    obstacle.table = escape(chain.table);
    obstacle.chain = escape(chain.chain);
    obstacle.hook = chain.hook;
    obstacle.priority = chain.priority;
    obstacle.rule = escape(chain.verdict);
    return obstacle;
}

Obstacle of_chain(const ForeignChain& chain, const Firewalld& firewalld, std::uint32_t mark, std::string_view segment) {
    auto obstacle = describe(chain);
    const auto zone = firewalld.zones.find(std::string(segment));
    if (chain.before_ours) {
        obstacle.done = "nothing: it drops before the rules of vmrouter are asked";
        // What this lets through is judged by our own chains afterwards.
        obstacle.cure = {accept_interface(obstacle, segment)};
    } else if (chain.has_our_rule) {
        obstacle.remedy = Remedy::Passed;
        obstacle.done = "a rule in " + escape(chain.insert_into) + " accepts what the rules of vmrouter let through";
    } else if (chain.program == "firewalld" && zone != firewalld.zones.end() && zone->second == "trusted") {
        obstacle.remedy = Remedy::Bound;
        obstacle.done = std::string(segment) + " is in the zone trusted";
    } else {
        char bit[16];
        std::snprintf(bit, sizeof bit, "0x%x", mark);
        const std::string mask(bit);
        obstacle.remedy = Remedy::Missing;
        obstacle.done = "nothing: there is no rule of vmrouter in it";
        obstacle.cure = {insert_rule(obstacle, escape(chain.insert_into),
                                     "'meta mark & " + mask + " == " + mask + "' counter accept")};
    }
    return obstacle;
}

}  // namespace

std::vector<Obstacle> obstacles(const ForeignRules& rules, std::uint32_t mark, std::string_view segment) {
    std::vector<Obstacle> found;
    for (const auto& chain : rules.chains) found.push_back(of_chain(chain, rules.firewalld, mark, segment));
    for (const auto& chain : rules.hopeless) {
        auto obstacle = describe(chain);
        obstacle.done = "nothing: no rule of vmrouter is asked there";
        obstacle.cure = {accept_interface(obstacle, segment)};
        found.push_back(std::move(obstacle));
    }
    for (const auto& drop : rules.drops) {
        if (drop.interface != segment) continue;
        Obstacle obstacle;
        obstacle.program = drop.program;
        obstacle.family = drop.family;
        obstacle.table = escape(drop.table);
        obstacle.chain = escape(drop.chain);
        obstacle.rule = escape(drop.rule);
        obstacle.done = "nothing: the rule names the segment, so that somebody wants it";
        obstacle.cure = {"nft delete rule " + obstacle.family + " " + obstacle.table + " " + obstacle.chain +
                         " handle " + std::to_string(drop.handle)};
        found.push_back(std::move(obstacle));
    }
    return found;
}

std::string to_string(const Obstacle& obstacle) {
    std::string text = obstacle.family + " " + obstacle.table + " " + obstacle.chain;
    if (!obstacle.hook.empty()) text += " (" + obstacle.hook + ", priority " + std::to_string(obstacle.priority) + ")";
    return text + ": " + obstacle.rule + ", of " + obstacle.program;
}

}  // namespace vmrouter::firewall
