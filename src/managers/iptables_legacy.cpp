#include "src/managers/iptables_legacy.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::managers {
namespace {

using Words = std::vector<std::string_view>;

constexpr std::size_t kRulesLimit = std::size_t{16} << 20;  // a long list of addresses to block has 100,000 rules

struct Printed {
    std::map<std::string, std::string, std::less<>> policies;
    std::map<std::string, std::vector<Words>, std::less<>> rules;  ///< without "-A CHAIN"; decoration left out
};

/// Words of a line; what is between quotes (a comment) is one word.
Words words_of(std::string_view line) {
    Words words;
    std::size_t at = 0;
    while (at < line.size()) {
        if (line[at] == ' ') {
            ++at;
            continue;
        }
        std::size_t end = at;
        bool quoted = false;
        for (; end < line.size() && (quoted || line[end] != ' '); ++end) {
            if (line[end] == '\\')
                ++end;
            else if (line[end] == '"')
                quoted = !quoted;
        }
        end = std::min(end, line.size());
        words.push_back(line.substr(at, end - at));
        at = end;
    }
    return words;
}

/// `-m comment --comment TEXT` says nothing about a packet.
void leave_out_comment(Words& words) {
    const auto at = std::find(words.begin(), words.end(), "--comment");
    if (at == words.end() || words.end() - at < 2) return;
    const bool named = at - words.begin() >= 2 && *(at - 1) == "comment" && *(at - 2) == "-m";
    words.erase(named ? at - 2 : at, at + 2);
}

Printed read(std::string_view text) {
    Printed printed;
    for (const auto line : split(text, '\n')) {
        auto words = words_of(line);
        if (words.size() >= 3 && words[0] == "-P") printed.policies.emplace(words[1], words[2]);
        if (words.size() < 2 || words[0] != "-A") continue;
        auto& rules = printed.rules[std::string(words[1])];
        words.erase(words.begin(), words.begin() + 2);
        leave_out_comment(words);
        rules.push_back(std::move(words));
    }
    return printed;
}

std::string bit(std::uint32_t mark) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", mark);
    return text;
}

/// As the program prints it, and as it takes it.
std::vector<std::string> our_words(std::uint32_t mark) {
    const auto value = bit(mark);
    return {"-m", "mark", "--mark", value + "/" + value, "-j", "ACCEPT"};
}

bool is_ours(const Words& words, std::uint32_t mark) {
    const auto wanted = our_words(mark);
    return std::equal(words.begin(), words.end(), wanted.begin(), wanted.end());
}

std::string dropping_end(const Printed& all, std::string_view chain, int depth = 16) {
    const auto found = all.rules.find(chain);
    if (found == all.rules.end() || found->second.empty() || depth == 0) return {};
    const Words& last = found->second.back();
    if (last.size() < 2 || (last[0] != "-j" && last[0] != "-g")) return {};
    if (last[1] == "DROP") return "drop";
    if (last[1] == "REJECT") return "reject";
    const auto end = last.size() == 2 ? dropping_end(all, last[1], depth - 1) : std::string();
    return end.empty() ? "" : "jump " + std::string(last[1]) + ", " + end;
}

std::string program_of(const Printed& all, std::string_view chain) {
    const auto found = all.rules.find(chain);
    if (found == all.rules.end()) return std::string(kIptablesLegacy);
    for (const Words& words : found->second) {
        if (words.size() < 2 || words[words.size() - 2] != "-j") continue;
        if (words.back().starts_with("DOCKER")) return "Docker (iptables-legacy)";
        if (words.back().starts_with("ufw-")) return "ufw (iptables-legacy)";
    }
    return std::string(kIptablesLegacy);
}

bool leads_to(const Printed& all, std::string_view chain, std::string_view target) {
    const auto found = all.rules.find(chain);
    const Words wanted{"-j", target};
    return found != all.rules.end() &&
           std::find(found->second.begin(), found->second.end(), wanted) != found->second.end();
}

Result<Output> succeeded(Result<Output> output) {
    if (!output || output->status == 0) return output;
    return Failure{Error{"refused: " + escape(trim(output->text)), std::string(kIptablesLegacy), {}}};
}

bool holds_ours(const Printed& all, std::string_view chain, std::uint32_t mark) {
    const auto found = all.rules.find(chain);
    return found != all.rules.end() && std::any_of(found->second.begin(), found->second.end(),
                                                   [&](const Words& words) { return is_ours(words, mark); });
}

}  // namespace

LegacyRules read_legacy(std::string_view text, std::uint32_t mark) {
    const Printed printed = read(text);
    LegacyRules result;
    for (const std::string_view name : {"FORWARD", "INPUT"}) {
        LegacyChain chain;
        chain.chain = name;
        const auto policy = printed.policies.find(name);
        const bool drops = policy != printed.policies.end() && policy->second == "DROP";
        chain.verdict = drops ? "policy drop" : dropping_end(printed, name);
        if (chain.verdict.empty()) continue;
        chain.program = program_of(printed, name);
        chain.insert_into = leads_to(printed, name, "DOCKER-USER") ? "DOCKER-USER" : chain.chain;
        chain.has_our_rule = holds_ours(printed, name, mark) || holds_ours(printed, chain.insert_into, mark);
        result.chains.push_back(std::move(chain));
    }
    for (const auto line : split(text, '\n')) {
        auto words = words_of(line);
        if (words.size() < 2 || words[0] != "-A") continue;
        words.erase(words.begin(), words.begin() + 2);
        leave_out_comment(words);
        if (is_ours(words, mark)) result.ours.emplace_back(line.substr(3));
    }
    return result;
}

bool IptablesLegacy::in_use() const {
    const auto names = read_file(names_);
    if (!names) return false;
    const auto lines = split(*names, '\n');
    return std::find(lines.begin(), lines.end(), "filter") != lines.end();
}

Result<void> IptablesLegacy::run(std::vector<std::string> words) {
    words.insert(words.begin(), {std::string(kIptablesLegacy), "-w", "5"});
    auto done = succeeded(runner_.run(words));
    if (!done) return Failure{std::move(done).error()};
    return {};
}

Result<LegacyRules> IptablesLegacy::scan(std::uint32_t mark) {
    if (!in_use()) return LegacyRules{};
    const std::vector<std::string> words{"XTABLES_LOCKFILE=/dev/null", std::string(kIptablesLegacy), "-w", "5", "-S"};
    auto printed = succeeded(runner_.run_up_to(kRulesLimit, words));
    if (printed && !printed->truncated) return read_legacy(printed->text, mark);
    auto error =
        printed ? Error{"they are more than 16 MiB", std::string(kIptablesLegacy), {}} : std::move(printed).error();
    error.what =
        "there are rules of iptables-legacy, which nftables cannot see, and they cannot be read: " + error.what;
    for (const auto& command : legacy_cure(mark))
        error.hint += (error.hint.empty() ? "if guests get nothing, run: " : "; ") + command;
    return Failure{std::move(error)};
}

Result<void> IptablesLegacy::open(const LegacyChain& chain, std::uint32_t mark, std::string_view comment) {
    std::vector<std::string> words{"-I", chain.insert_into, "-m", "comment", "--comment", std::string(comment)};
    for (auto& word : our_words(mark)) words.push_back(std::move(word));
    return run(std::move(words));
}

Result<void> IptablesLegacy::close(std::uint32_t mark) {
    const auto rules = scan(mark);
    if (!rules) return Failure{rules.error()};
    for (const auto& line : rules->ours) {
        std::vector<std::string> words{"-D"};
        for (auto word : words_of(line)) {
            if (word.size() >= 2 && word.front() == '"') word = word.substr(1, word.size() - 2);
            words.emplace_back(word);
        }
        if (auto done = run(std::move(words)); !done) return done;
    }
    return {};
}

std::vector<std::string> legacy_cure(std::uint32_t mark) {
    const std::string rule = " -m mark --mark " + bit(mark) + "/" + bit(mark) + " -j ACCEPT";
    return {std::string(kIptablesLegacy) + " -I FORWARD" + rule, std::string(kIptablesLegacy) + " -I INPUT" + rule};
}

std::vector<firewall::Obstacle> legacy_obstacles(IptablesLegacy& legacy, std::uint32_t mark) {
    std::vector<firewall::Obstacle> found;
    if (!legacy.in_use()) return found;
    firewall::Obstacle obstacle;
    obstacle.program = kIptablesLegacy;
    obstacle.family = "ip";
    obstacle.table = "filter";
    const auto rules = legacy.scan(mark);
    if (!rules) {
        obstacle.rule = "cannot be read";
        obstacle.done = "nothing: " + rules.error().what;
        obstacle.cure = legacy_cure(mark);
        found.push_back(std::move(obstacle));
        return found;
    }
    for (const LegacyChain& chain : rules->chains) {
        auto one = obstacle;
        one.program = chain.program;
        one.chain = chain.chain;
        one.hook = to_lower(chain.chain);
        one.rule = escape(chain.verdict);
        one.remedy = chain.has_our_rule ? firewall::Remedy::Passed : firewall::Remedy::Missing;
        if (chain.has_our_rule) {
            one.done = "a rule in " + escape(chain.insert_into) + " accepts what the rules of vmrouter let through";
        } else {
            one.done = "nothing: there is no rule of vmrouter in it";
            one.cure = {std::string(kIptablesLegacy) + " -I " + escape(chain.insert_into) + " -m mark --mark " +
                        bit(mark) + "/" + bit(mark) + " -j ACCEPT"};
        }
        found.push_back(std::move(one));
    }
    return found;
}

}  // namespace vmrouter::managers
