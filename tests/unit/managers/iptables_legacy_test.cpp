#include "src/managers/iptables_legacy.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::managers;
using test::TemporaryFolder;

constexpr std::uint32_t mark = 0x100000;
constexpr std::string_view pass = "-m mark --mark 0x100000/0x100000 -m comment --comment vmrouter_virbr10 -j ACCEPT";

std::string line(std::string_view chain, std::string_view rule) {
    return "-A " + std::string(chain) + " " + std::string(rule) + "\n";
}

std::vector<std::string> shown(const LegacyRules& rules) {
    std::vector<std::string> lines;
    for (const auto& chain : rules.chains)
        lines.push_back(chain.program + " " + chain.chain + ": " + chain.verdict + " > " + chain.insert_into +
                        (chain.has_our_rule ? " (ours)" : ""));
    return lines;
}

using Lines = std::vector<std::string>;

/// A machine with a legacy table, whose program a test plays.
class FakeLegacy final : public Runner {
    TemporaryFolder folder_;

public:
    explicit FakeLegacy(const std::string& tables) : names(folder_.path() + "/ip_tables_names") {
        std::ofstream(names) << tables;
    }
    Result<Output> run(const std::vector<std::string>& words) override {
        std::string text;
        for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
        asked.push_back(text);
        if (!installed) return Failure{Error{"there is no such program", words[0], {}}};
        return text.ends_with(" -S") ? said(64 * 1024) : Output{};
    }
    Result<Output> run_up_to(std::size_t limit, const std::vector<std::string>& words) override {
        auto output = run(words);
        return output ? Result<Output>(said(limit)) : std::move(output);
    }

    std::string rules;
    std::string names;
    bool installed = true;
    Lines asked;

private:
    [[nodiscard]] Output said(std::size_t limit) const { return {0, rules.substr(0, limit), rules.size() > limit}; }
};

}  // namespace

TEST_CASE("A legacy policy that drops and a last rule that rejects are found") {
    const auto rules =
        read_legacy("-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n" + line("INPUT", "-i lo -j ACCEPT") +
                        line("INPUT", "-j REJECT --reject-with icmp-host-prohibited"),
                    mark);
    CHECK(shown(rules) ==
          Lines{"iptables-legacy FORWARD: policy drop > FORWARD", "iptables-legacy INPUT: reject > INPUT"});
    CHECK(rules.ours.empty());
    CHECK(
        read_legacy("-P INPUT ACCEPT\n-P FORWARD ACCEPT\n" + line("FORWARD", "-i eth0 -j DROP"), mark).chains.empty());
}

TEST_CASE("Docker's legacy chains get the rule in DOCKER-USER") {
    const auto rules =
        read_legacy("-P FORWARD DROP\n-N DOCKER-USER\n" + line("FORWARD", "-j DOCKER-USER") +
                        line("FORWARD", "-i docker0 ! -o docker0 -j ACCEPT") + line("DOCKER-USER", "-j RETURN"),
                    mark);
    CHECK(shown(rules) == Lines{"Docker (iptables-legacy) FORWARD: policy drop > DOCKER-USER"});
}

TEST_CASE("A rule of ours is known by what it says, with whatever comment") {
    for (const std::string& rule :
         {std::string(pass), std::string("-m mark --mark 0x100000/0x100000 -j ACCEPT"),
          std::string("-m mark --mark 0x100000/0x100000 -m comment --comment \"a -j DROP\" -j ACCEPT")}) {
        const auto rules = read_legacy("-P FORWARD DROP\n" + line("FORWARD", rule), mark);
        CHECK(shown(rules) == Lines{"iptables-legacy FORWARD: policy drop > FORWARD (ours)"});
        CHECK(rules.ours == Lines{"FORWARD " + rule});
    }
    for (const char* other : {"-m mark --mark 0x200000/0x200000 -j ACCEPT", "-m mark --mark 0x100000/0x100000 -j DROP",
                              "-i eth0 -m mark --mark 0x100000/0x100000 -j ACCEPT"})
        CHECK(read_legacy("-P FORWARD DROP\n" + line("FORWARD", other), mark).ours.empty());
}

TEST_CASE("The legacy program is not run where there is no legacy filter table, since that would make it") {
    for (const char* tables : {"", "nat\nmangle\n"}) {
        FakeLegacy machine(tables);
        IptablesLegacy legacy(machine, machine.names);
        const auto rules = legacy.scan(mark);
        REQUIRE(rules);
        CHECK(*rules == LegacyRules{});
        CHECK(legacy_obstacles(legacy, mark).empty());
        CHECK(machine.asked.empty());
    }
}

TEST_CASE("Our legacy rule is put in and taken out by its words") {
    FakeLegacy machine("nat\nfilter\n");
    machine.rules = "-P FORWARD DROP\n";
    IptablesLegacy legacy(machine, machine.names);
    const auto rules = legacy.scan(mark);
    REQUIRE(rules);
    REQUIRE(rules->chains.size() == 1);
    CHECK(machine.asked.back() == "XTABLES_LOCKFILE=/dev/null iptables-legacy -w 5 -S");
    REQUIRE(legacy.open(rules->chains[0], mark, "vmrouter_virbr10"));
    CHECK(machine.asked.back() ==
          "iptables-legacy -w 5 -I FORWARD -m comment --comment vmrouter_virbr10 -m mark --mark 0x100000/0x100000 -j "
          "ACCEPT");
    machine.rules = "-P FORWARD DROP\n" + line("FORWARD", pass) + line("FORWARD", "-i eth0 -j ACCEPT");
    REQUIRE(legacy.close(mark));
    CHECK(machine.asked.back() == "iptables-legacy -w 5 -D FORWARD " + std::string(pass));
}

TEST_CASE("A legacy rule of ours is seen behind many others, and that there are too many is said") {
    FakeLegacy machine("filter\n");
    const auto many = [](int count) {
        std::string text = "-P FORWARD DROP\n";
        for (int i = 0; i < count; ++i) text += line("INPUT", "-s 192.0.2." + std::to_string(i % 256) + "/32 -j DROP");
        return text + line("FORWARD", pass);
    };
    machine.rules = many(100000);
    IptablesLegacy legacy(machine, machine.names);
    const auto rules = legacy.scan(mark);
    REQUIRE(rules);
    REQUIRE_FALSE(rules->chains.empty());
    CHECK(rules->chains[0].has_our_rule);

    machine.rules = many(1000000);
    const auto cut = legacy.scan(mark);
    REQUIRE_FALSE(cut);
    CHECK(cut.error().what.ends_with("they cannot be read: they are more than 16 MiB"));
    CHECK(cut.error().hint.find(legacy_cure(mark)[0]) != std::string::npos);
}

TEST_CASE("Without the legacy program the commands are said") {
    FakeLegacy machine("filter\n");
    machine.installed = false;
    IptablesLegacy legacy(machine, machine.names);
    const auto rules = legacy.scan(mark);
    REQUIRE_FALSE(rules);
    CHECK(rules.error().hint ==
          "if guests get nothing, run: iptables-legacy -I FORWARD -m mark --mark 0x100000/0x100000 -j ACCEPT; "
          "iptables-legacy -I INPUT -m mark --mark 0x100000/0x100000 -j ACCEPT");
    const auto found = legacy_obstacles(legacy, mark);
    REQUIRE(found.size() == 1);
    CHECK(found[0].in_the_way());
    CHECK(found[0].cure == legacy_cure(mark));
}
