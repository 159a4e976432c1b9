#include "src/commands/completions.hpp"

#include <catch2/catch.hpp>
#include <sstream>

using namespace vmrouter;
using Source = Candidates::Source;

namespace {

Candidates candidates_of(const std::string& form, const std::string& name = "--x") {
    return candidates({{name}, form, "", ""});
}

}  // namespace

TEST_CASE("The form of a value says what may stand for it") {
    CHECK(candidates_of("block|allow") == Candidates{{"block", "allow"}, Source::None, false});
    CHECK(candidates_of("INTERFACE,...|auto") == Candidates{{"auto"}, Source::Interfaces, true});
    CHECK(candidates_of("FILE") == Candidates{{}, Source::Files, false});
    CHECK(candidates_of("DURATION|infinite") == Candidates{{"infinite"}, Source::None, false});
    CHECK(candidates_of("NETWORK[:PROTOCOL/PORT],...") == Candidates{{}, Source::None, true});
    CHECK(candidates_of("ADDRESS") == Candidates{});
    CHECK(candidates_of("ADDRESS", "address") == Candidates{{}, Source::Leases, false});
    CHECK(candidates_of("") == Candidates{});
}

TEST_CASE("A word of a shell is what it was") {
    CHECK(quoted("plain") == "'plain'");
    CHECK(quoted("the host's $(x)") == "'the host'\\''s $(x)'");
}

TEST_CASE("Every command and option of the table is in the completions of every shell") {
    const auto commands = cli::commands();
    for (const auto& script : {bash_completions(commands), zsh_completions(commands), fish_completions(commands)}) {
        for (const auto& command : commands) {
            CAPTURE(command.name);
            CHECK(script.find(command.name.substr(command.name.rfind(' ') + 1)) != std::string::npos);
            for (const auto& option : command.options) {
                for (const auto& name : option.names) {
                    if (!name.starts_with("--")) continue;
                    const bool is_fish = script.starts_with("# fish");
                    CAPTURE(name);
                    CHECK(script.find(is_fish ? "-l " + name.substr(2) + ' ' : name) != std::string::npos);
                }
            }
        }
    }
}

TEST_CASE("What is offered below a command takes its options too") {
    const auto commands = cli::commands();
    for (const auto& command : commands) {
        if (command.name != "leases drop") continue;
        bool has_instance = false;
        for (const auto& option : options_of(command, commands)) {
            CHECK_FALSE(cli::is_position(option));
            has_instance = has_instance || option.names.front() == "--instance";
        }
        CHECK(has_instance);
    }
}

TEST_CASE("The command prints the completions of the shell that was asked for") {
    for (const auto& [shell, begin] : {std::pair{cli::Completions::Shell::Bash, "# bash"},
                                       std::pair{cli::Completions::Shell::Zsh, "#compdef vmrouter"},
                                       std::pair{cli::Completions::Shell::Fish, "# fish"}}) {
        std::ostringstream out;
        CHECK(completions({shell}, out) == 0);
        CHECK(out.str().starts_with(begin));
    }
}
