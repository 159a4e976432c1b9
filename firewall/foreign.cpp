#include "firewall/foreign.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

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

/// "drop", "reject"; empty for every other statement.
std::string dropping_verdict(const json& statement) {
    for (const char* verdict : {"drop", "reject"})
        if (is_statement(statement, verdict)) return verdict;
    if (!is_statement(statement, "xt")) return {};
    const auto target = text(statement["xt"], "name");
    if (target == "REJECT") return "reject";
    return target == "DROP" ? "drop" : "";
}

/// The verdict of a rule that drops or rejects everything which reaches it, in words; empty when it does not. Follows
/// jumps; `depth` ends loops (there are none in a valid rule set).
std::string dropping_end(const Rules& all, const ChainName& name, int depth = 16) {
    const auto found = all.rules.find(name);
    if (found == all.rules.end() || found->second.empty() || depth == 0) return {};
    const auto expressions = substance(found->second.back());
    if (expressions.size() != 1) return {};
    const json& last = expressions.front();
    if (const auto verdict = dropping_verdict(last); !verdict.empty()) return verdict;
    for (const char* verdict : {"jump", "goto"}) {
        if (!is_statement(last, verdict)) continue;
        const auto target = text(last[verdict], "target");
        const auto end = dropping_end(all, {std::get<0>(name), std::get<1>(name), target}, depth - 1);
        return end.empty() ? "" : std::string(verdict) + " " + target + ", " + end;
    }
    return {};
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
    return std::get<1>(name).compare(0, our_tables.size(), our_tables) != 0;
}

/// The family of our pass rules; IPv6 is none of the segment's business.
bool is_ipv4(const ChainName& name) {
    return std::get<0>(name) == "ip" || std::get<0>(name) == "inet";
}

std::string jump_target(const json& expression) {
    for (const char* verdict : {"jump", "goto"})
        if (is_statement(expression, verdict)) return text(expression[verdict], "target");
    return {};
}

/// The chains that the rules of this one lead to, whatever their conditions; `always`: only without any.
std::vector<std::string> targets(const Rules& all, const ChainName& name, bool always = false) {
    std::vector<std::string> names;
    const auto found = all.rules.find(name);
    if (found == all.rules.end()) return names;
    for (const auto& rule : found->second) {
        const auto expressions = substance(rule);
        if (expressions.empty() || (always && expressions.size() != 1)) continue;
        if (auto target = jump_target(expressions.back()); !target.empty()) names.push_back(std::move(target));
    }
    return names;
}

/// Whose chain it is, by the names that each program gives to its own.
std::string program_of(const Rules& all, const ChainName& name) {
    static constexpr std::pair<std::string_view, std::string_view> prefixes[] = {
        {"ufw-", "ufw"},       {"DOCKER", "Docker"},       {"LIBVIRT_", "libvirt"},
        {"nixos-fw", "NixOS"}, {"KUBE-", "kube"},          {"NETAVARK", "podman"},
        {"CNI-", "CNI"},       {"SHOREWALL", "Shorewall"}, {"FIREHOL", "FireHOL"}};
    const auto& [family, table, chain] = name;
    if (table == "firewalld") return "firewalld";
    std::set<std::string_view> programs;
    for (const auto& target : targets(all, name))
        for (const auto& [prefix, program] : prefixes)
            if (target.compare(0, prefix.size(), prefix) == 0) programs.insert(program);
    std::string names;
    for (const auto program : programs) names += (names.empty() ? "" : ", ") + std::string(program);
    if (!names.empty()) return names;
    const bool of_iptables = (family == "ip" || family == "ip6") &&
                             (table == "filter" || table == "mangle" || table == "raw" || table == "security");
    return of_iptables ? "iptables" : "nftables";
}

/// What drops a packet that no rule of the chain has let pass; empty when nothing does.
std::string verdict_of(const Rules& all, const ChainName& name, const json& chain) {
    return text(chain, "policy") == "drop" ? "policy drop" : dropping_end(all, name);
}

ForeignChain describe(const Rules& all, const ChainName& name, const json& chain) {
    ForeignChain foreign;
    foreign.program = program_of(all, name);
    std::tie(foreign.family, foreign.table, foreign.chain) = name;
    foreign.hook = text(chain, "hook");
    foreign.priority = chain.value("prio", 0);
    foreign.verdict = verdict_of(all, name, chain);
    foreign.before_ours = foreign.priority <= our_priority;
    foreign.insert_into = foreign.chain;
    // Docker puts its jumps back at the top of FORWARD again and again, and leaves this chain to the administrator.
    // After `iptables -F` it is there and nothing leads to it.
    const auto always = targets(all, name, true);
    if (std::find(always.begin(), always.end(), "DOCKER-USER") != always.end()) foreign.insert_into = "DOCKER-USER";
    return foreign;
}

/// `iifname "virbr10"`: the name, and the words.
std::optional<std::pair<std::string, std::string>> interface_match(const json& expression) {
    if (!is_statement(expression, "match")) return std::nullopt;
    const auto& match = expression["match"];
    const auto left = match.find("left");
    const auto right = match.find("right");
    if (text(match, "op") != "==" || left == match.end() || right == match.end()) return std::nullopt;
    if (!is_statement(*left, "meta") || !right->is_string()) return std::nullopt;
    const auto key = text((*left)["meta"], "key");
    if (key != "iifname" && key != "oifname") return std::nullopt;
    const auto name = right->get<std::string>();
    return std::pair{name, key + " \"" + name + "\""};
}

/// A rule of two parts: an interface, and what is done with all of its packets.
void read_interface_rule(const Rules& all, const ChainName& name, const json& rule, ForeignRules& result) {
    const auto expressions = substance(rule);
    if (expressions.size() != 2) return;
    const auto interface = interface_match(expressions[0]);
    if (!interface) return;
    const auto& [family, table, chain] = name;
    if (const auto verdict = dropping_verdict(expressions[1]); !verdict.empty()) {
        result.drops.push_back({program_of(all, name), family, table, chain, interface->first,
                                interface->second + " " + verdict, rule.value("handle", std::uint64_t{0})});
        return;
    }
    // filter_INPUT_ZONES: iifname "virbr10" goto filter_IN_trusted
    static constexpr std::string_view zone_chain = "filter_IN_";
    const auto target = jump_target(expressions[1]);
    if (table == "firewalld" && target.compare(0, zone_chain.size(), zone_chain) == 0)
        result.firewalld.zones[interface->first] = target.substr(zone_chain.size());
}

/// Where a packet of a guest passes on its way, and no rule of ours can help it.
bool is_hopeless(const ChainName& name, const std::string& hook) {
    if (std::get<0>(name) == "bridge") return hook != "postrouting" && hook != "output";
    return is_ipv4(name) && (hook == "prerouting" || hook == "postrouting");
}

}  // namespace

Result<ForeignRules> read_foreign(std::string_view ruleset_json, std::uint32_t mark) {
    const auto listing = json::parse(ruleset_json, nullptr, false);
    if (listing.is_discarded()) return Failure{Error{"nftables lists in a form that is not JSON", {}, {}}};
    const Rules all = read_rules(listing);

    ForeignRules result;
    std::set<ChainName> with_our_rule;
    for (const auto& [name, rules] : all.rules) {
        if (!is_foreign(name) || !is_ipv4(name)) continue;
        if (name == ChainName{"inet", "firewalld", "filter_INPUT"}) result.firewalld.present = true;
        for (const auto& rule : rules) {
            read_interface_rule(all, name, rule, result);
            if (!is_ours(rule, mark)) continue;
            with_our_rule.insert(name);
            result.ours.push_back(
                {std::get<0>(name), std::get<1>(name), std::get<2>(name), rule.value("handle", std::uint64_t{0})});
        }
    }
    for (const auto& [name, chain] : all.base_chains) {
        if (!is_foreign(name) || text(chain, "type") != "filter" || verdict_of(all, name, chain).empty()) continue;
        const auto hook = text(chain, "hook");
        auto foreign = describe(all, name, chain);
        if (is_hopeless(name, hook)) {
            result.hopeless.push_back(std::move(foreign));
        } else if (is_ipv4(name) && (hook == "forward" || hook == "input")) {
            foreign.has_our_rule = with_our_rule.count(name) > 0 ||
                                   with_our_rule.count({foreign.family, foreign.table, foreign.insert_into}) > 0;
            result.chains.push_back(std::move(foreign));
        }
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

ForeignOutcome open_foreign(Nft& nft, const ForeignRules& rules, std::uint32_t mark, const std::string& instance) {
    ForeignOutcome outcome;
    for (const auto& chain : rules.chains) {
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

}  // namespace vmrouter::firewall
