#include "firewall/foreign.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::firewall {

namespace {

using nlohmann::json;

constexpr std::string_view our_tables = "vmrouter_";
constexpr int our_priority = -10;

/// Family, table, chain.
using ChainName = std::tuple<std::string, std::string, std::string>;

std::string text(const json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string{};
}

ChainName chain_name(const json& object, const char* chain_key) {
    return {text(object, "family"), text(object, "table"), text(object, chain_key)};
}

/// Names go into nft text: only what nft itself reads as a name, and not as anything else.
bool printable(const std::string& name) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
               c == '.';
    };
    return !name.empty() && std::all_of(name.begin(), name.end(), plain) && !(name[0] >= '0' && name[0] <= '9');
}

struct Rules {
    std::map<ChainName, json> base_chains;
    std::map<ChainName, std::vector<json>> rules;  ///< in order
};

bool is_statement(const json& expression, const char* name) {
    return expression.is_object() && expression.contains(name);
}

/// Matches nothing and changes nothing: counters, comments, logs.
bool is_decoration(const json& expression) {
    if (is_statement(expression, "counter") || is_statement(expression, "log")) return true;
    return is_statement(expression, "xt") && text(expression["xt"], "name") == "comment";
}

/// What the rule does to every packet that reaches it.
std::vector<json> substance(const json& rule) {
    std::vector<json> expressions;
    for (const auto& expression : rule.value("expr", json::array())) {
        if (!is_decoration(expression)) expressions.push_back(expression);
    }
    return expressions;
}

/// Whether a packet that falls through the other rules of the chain is dropped or rejected by the last one. Follows
/// jumps; `depth` ends loops (there are none in a valid rule set).
bool ends_in_drop(const Rules& all, const ChainName& name, int depth = 16) {
    const auto found = all.rules.find(name);
    if (found == all.rules.end() || found->second.empty() || depth == 0) return false;
    const auto expressions = substance(found->second.back());
    if (expressions.size() != 1) return false;
    const json& last = expressions.front();
    if (is_statement(last, "drop") || is_statement(last, "reject")) return true;
    if (is_statement(last, "xt")) {
        const auto target = text(last["xt"], "name");
        return target == "REJECT" || target == "DROP";
    }
    for (const char* verdict : {"jump", "goto"}) {
        if (!is_statement(last, verdict)) continue;
        return ends_in_drop(all, {std::get<0>(name), std::get<1>(name), text(last[verdict], "target")}, depth - 1);
    }
    return false;
}

/// Exactly one match, on our bit, and accept. Not by comment or handle: both are lost when iptables rewrites the table.
bool is_ours(const json& rule, std::uint32_t mark) {
    const auto expressions = substance(rule);
    if (expressions.size() != 2 || !is_statement(expressions[1], "accept") || !is_statement(expressions[0], "match"))
        return false;
    const json wanted = {
        {"op", "=="}, {"left", {{"&", json::array({{{"meta", {{"key", "mark"}}}}, mark})}}}, {"right", mark}};
    return expressions[0]["match"] == wanted;
}

Rules read_rules(const json& listing) {
    Rules all;
    for (const auto& object : listing.value("nftables", json::array())) {
        if (const auto chain = object.find("chain"); chain != object.end()) {
            const auto name = chain_name(*chain, "name");
            all.rules[name];
            if (chain->contains("hook")) all.base_chains[name] = *chain;
        } else if (const auto rule = object.find("rule"); rule != object.end()) {
            all.rules[chain_name(*rule, "chain")].push_back(*rule);
        }
    }
    return all;
}

bool is_foreign(const ChainName& name) {
    const auto& [family, table, chain] = name;
    return (family == "ip" || family == "inet") && table.compare(0, our_tables.size(), our_tables) != 0;
}

ForeignChain describe(const Rules& all, const ChainName& name, const json& chain) {
    ForeignChain foreign;
    std::tie(foreign.family, foreign.table, foreign.chain) = name;
    foreign.hook = text(chain, "hook");
    foreign.priority = chain.value("prio", 0);
    foreign.before_ours = foreign.priority <= our_priority;
    foreign.insert_into = foreign.chain;
    // Docker puts its jumps back at the top of FORWARD again and again, and leaves this chain to the administrator.
    const bool docker = foreign.hook == "forward" && foreign.table == "filter" &&
                        all.rules.count({foreign.family, foreign.table, "DOCKER-USER"}) > 0;
    if (docker) foreign.insert_into = "DOCKER-USER";
    return foreign;
}

}  // namespace

Result<ForeignRules> read_foreign(std::string_view ruleset_json, std::uint32_t mark) {
    const auto listing = json::parse(ruleset_json, nullptr, false);
    if (listing.is_discarded()) return Failure{Error{"nftables lists in a form that is not JSON", {}, {}}};
    const Rules all = read_rules(listing);

    ForeignRules result;
    std::set<ChainName> with_our_rule;
    for (const auto& [name, rules] : all.rules) {
        if (!is_foreign(name)) continue;
        for (const auto& rule : rules) {
            if (!is_ours(rule, mark)) continue;
            with_our_rule.insert(name);
            result.ours.push_back(
                {std::get<0>(name), std::get<1>(name), std::get<2>(name), rule.value("handle", std::uint64_t{0})});
        }
    }
    for (const auto& [name, chain] : all.base_chains) {
        const auto hook = text(chain, "hook");
        if (!is_foreign(name) || (hook != "forward" && hook != "input") || text(chain, "type") != "filter") continue;
        if (text(chain, "policy") != "drop" && !ends_in_drop(all, name)) continue;
        auto foreign = describe(all, name, chain);
        foreign.has_our_rule = with_our_rule.count(name) > 0 ||
                               with_our_rule.count({foreign.family, foreign.table, foreign.insert_into}) > 0;
        result.chains.push_back(std::move(foreign));
    }
    return result;
}

std::optional<std::string> pass_rule(const ForeignChain& chain, std::uint32_t mark, const std::string& instance) {
    if (chain.has_our_rule || chain.before_ours) return std::nullopt;
    if (!printable(chain.table) || !printable(chain.insert_into)) return std::nullopt;
    char bit[16];
    std::snprintf(bit, sizeof bit, "0x%08x", mark);
    return "insert rule " + chain.family + " " + chain.table + " " + chain.insert_into + " meta mark & " + bit +
           " == " + bit + " counter accept comment \"" + table_name(instance) + "\"\n";
}

std::string pass_rule_removal(const PassRule& rule) {
    return "delete rule " + rule.family + " " + rule.table + " " + rule.chain + " handle " +
           std::to_string(rule.handle) + "\n";
}

Result<ForeignRules> scan_foreign(Nft& nft, std::uint32_t mark) {
    const auto listing = nft.list("list ruleset");
    if (!listing) return Failure{listing.error()};
    return read_foreign(*listing, mark);
}

Result<ForeignOutcome> open_foreign(Nft& nft, std::uint32_t mark, const std::string& instance) {
    const auto rules = scan_foreign(nft, mark);
    if (!rules) return Failure{rules.error()};
    ForeignOutcome outcome;
    for (const auto& chain : rules->chains) {
        if (chain.before_ours) outcome.before_ours.push_back(chain);
        const auto text = pass_rule(chain, mark, instance);
        if (!text) continue;
        // One by one: a table that lets nobody in must not keep us out of the others.
        if (auto done = nft.run(*text); done)
            outcome.opened.push_back(chain);
        else
            outcome.refused.push_back(std::move(done.error()));
    }
    return outcome;
}

Result<std::size_t> close_foreign(Nft& nft, std::uint32_t mark) {
    const auto rules = scan_foreign(nft, mark);
    if (!rules) return Failure{rules.error()};
    std::size_t count = 0;
    std::optional<Error> first;
    for (const auto& rule : rules->ours) {
        auto done = nft.run(pass_rule_removal(rule));
        if (done)
            ++count;
        else if (!first)
            first = std::move(done.error());
    }
    if (first) return Failure{std::move(*first)};
    return count;
}

std::vector<std::string> legacy_tables() {
    std::vector<std::string> tables;
    const auto names = read_file("/proc/net/ip_tables_names");
    if (!names) return tables;
    for (const auto name : split(*names, '\n')) {
        if (!trim(name).empty()) tables.emplace_back(trim(name));
    }
    return tables;
}

}  // namespace vmrouter::firewall
