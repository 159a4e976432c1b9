// The files in tests/data/firewall/others are what `nft -j list ruleset` says on machines where the real programs run
// (without their IPv6 tables); firewalld's has virbr10 in the zone trusted.

#include "firewall/foreign.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "firewall/obstacle.hpp"
#include "src/base/file.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::firewall;

ForeignRules rules_in(std::string_view json) {
    auto rules = read_foreign(json, default_mark);
    REQUIRE(rules);
    return *rules;
}

ForeignRules rules_of(const std::string& program) {
    const auto json = read_file(VMROUTER_TEST_DATA "/firewall/others/" + program + ".json");
    REQUIRE(json);
    return rules_in(*json);
}

/// "ufw ip filter FORWARD: policy drop > FORWARD"
std::string shown(const ForeignChain& chain) {
    return chain.program + " " + chain.family + " " + chain.table + " " + chain.chain + ": " + chain.verdict + " > " +
           chain.insert_into + (chain.has_our_rule ? " (ours)" : "");
}

std::vector<std::string> shown(const std::vector<ForeignChain>& chains) {
    std::vector<std::string> lines;
    for (const auto& chain : chains) lines.push_back(shown(chain));
    return lines;
}

using Lines = std::vector<std::string>;

/// A rule set of one table `ip filter` with a chain FORWARD; `rules` are the JSON objects of rules and further chains.
ForeignRules with_forward(const std::string& policy, const std::string& rules) {
    return rules_in(R"({"nftables":[{"chain":{"family":"ip","table":"filter","name":"FORWARD","handle":1,
        "type":"filter","hook":"forward","prio":0,"policy":")" +
                    policy + "\"}}" + (rules.empty() ? "" : "," + rules) + "]}");
}

std::string rule(const std::string& chain, const std::string& expressions, int handle = 7) {
    return R"({"rule":{"family":"ip","table":"filter","chain":")" + chain + R"(","handle":)" + std::to_string(handle) +
           R"(,"expr":[)" + expressions + "]}}";
}

std::string chain(const std::string& name) {
    return R"({"chain":{"family":"ip","table":"filter","name":")" + name + R"(","handle":2}})";
}

const std::string pass =
    R"({"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},1048576]},"right":1048576}},{"accept":null})";

}  // namespace

TEST_CASE("ufw's chains are recognised and get the rule themselves") {
    CHECK(shown(rules_of("ufw").chains) ==
          Lines{"ufw ip filter FORWARD: policy drop > FORWARD", "ufw ip filter INPUT: policy drop > INPUT"});
}

TEST_CASE("firewalld's chains are recognised although their policies accept, and its zones are read") {
    const auto rules = rules_of("firewalld");
    CHECK(shown(rules.chains) == Lines{"firewalld inet firewalld filter_FORWARD: reject > filter_FORWARD",
                                       "firewalld inet firewalld filter_INPUT: reject > filter_INPUT"});
    CHECK(rules.firewalld.present);
    CHECK(rules.firewalld.zones == std::map<std::string, std::string>{{"virbr10", "trusted"}});
    CHECK_FALSE(rules_of("ufw").firewalld.present);
}

TEST_CASE("Docker's forward chain gets the rule in DOCKER-USER") {
    CHECK(shown(rules_of("docker").chains) == Lines{"Docker ip filter FORWARD: policy drop > DOCKER-USER"});
}

TEST_CASE("A DOCKER-USER that nothing leads to any more gets no rule, and a rule in it counts for nothing") {
    // after `iptables -F FORWARD`
    const auto rules = with_forward("drop", chain("DOCKER-USER") + "," + rule("DOCKER-USER", pass));
    CHECK(shown(rules.chains) == Lines{"iptables ip filter FORWARD: policy drop > FORWARD"});
    CHECK(rules.ours.size() == 1);
}

TEST_CASE("A chain that rejects by a jump is found, and one whose last rule is conditional is not") {
    const auto jumps =
        with_forward("accept", chain("END") + "," + rule("END", R"({"xt":{"type":"target","name":"REJECT"}})") + "," +
                                   rule("FORWARD", R"({"jump":{"target":"END"}})"));
    CHECK(shown(jumps.chains) == Lines{"iptables ip filter FORWARD: jump END, reject > FORWARD"});
    const std::string tcp = R"({"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":"tcp"}},{"drop":null})";
    CHECK(with_forward("accept", rule("FORWARD", tcp)).chains.empty());
}

TEST_CASE("A loop of jumps in what nftables lists ends") {
    const auto rules = with_forward("accept", chain("A") + "," + rule("A", R"({"jump":{"target":"A"}})") + "," +
                                                  rule("FORWARD", R"({"jump":{"target":"A"}})"));
    CHECK(rules.chains.empty());
}

TEST_CASE("A rule that drops everything of an interface is told and left alone") {
    const auto rules = with_forward(
        "accept",
        rule("FORWARD", R"({"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"virbr10"}},{"drop":null})"));
    REQUIRE(rules.drops.size() == 1);
    CHECK(rules.chains.empty());
    const auto found = obstacles(rules, default_mark, "virbr10");
    REQUIRE(found.size() == 1);
    CHECK(to_string(found[0]) == "ip filter FORWARD: iifname \"virbr10\" drop, of iptables");
    CHECK(found[0].in_the_way());
    CHECK(found[0].cure == Lines{"nft delete rule ip filter FORWARD handle 7"});
    CHECK(obstacles(rules, default_mark, "enp6s0").empty());
}

TEST_CASE("What drops before our rules or where none are asked is told with a cure") {
    const auto rules = rules_in(R"({"nftables":[
        {"chain":{"family":"inet","table":"mine","name":"early","type":"filter","hook":"forward","prio":-100,"policy":"drop"}},
        {"chain":{"family":"ip","table":"raw","name":"PREROUTING","type":"filter","hook":"prerouting","prio":-300,"policy":"drop"}},
        {"chain":{"family":"bridge","table":"mine","name":"b","type":"filter","hook":"forward","prio":0,"policy":"drop"}},
        {"chain":{"family":"inet","table":"vmrouter_other","name":"x","type":"filter","hook":"forward","prio":-100,"policy":"drop"}},
        {"chain":{"family":"ip6","table":"filter","name":"FORWARD","type":"filter","hook":"forward","prio":0,"policy":"drop"}}]})");
    const auto found = obstacles(rules, default_mark, "virbr10");
    Lines lines;
    for (const auto& one : found) {
        lines.push_back(to_string(one));
        CHECK(one.remedy == Remedy::Nothing);
    }
    CHECK(lines == Lines{"inet mine early (forward, priority -100): policy drop, of nftables",
                         "bridge mine b (forward, priority 0): policy drop, of nftables",
                         "ip raw PREROUTING (prerouting, priority -300): policy drop, of iptables"});
    REQUIRE_FALSE(found.empty());
    CHECK(found[0].cure == Lines{"nft insert rule inet mine early iifname '\"virbr10\"' accept",
                                 "nft insert rule inet mine early oifname '\"virbr10\"' accept"});
}

TEST_CASE("An obstacle says whether a rule of ours or firewalld's zone lets guests through") {
    const auto missing = obstacles(rules_of("docker"), default_mark, "virbr10");
    REQUIRE(missing.size() == 1);
    CHECK(missing[0].remedy == Remedy::Missing);
    CHECK(missing[0].cure ==
          Lines{"nft insert rule ip filter DOCKER-USER 'meta mark & 0x100000 == 0x100000' counter accept"});

    const auto passed = obstacles(with_forward("drop", rule("FORWARD", pass)), default_mark, "virbr10");
    REQUIRE(passed.size() == 1);
    CHECK(passed[0].remedy == Remedy::Passed);
    CHECK(passed[0].cure.empty());

    for (const auto& bound : obstacles(rules_of("firewalld"), default_mark, "virbr10"))
        CHECK(bound.remedy == Remedy::Bound);
    for (const auto& other : obstacles(rules_of("firewalld"), default_mark, "virbr11"))
        CHECK(other.remedy == Remedy::Missing);
}
