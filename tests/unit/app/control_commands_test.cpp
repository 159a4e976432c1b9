#include "src/control_commands.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

using namespace vmrouter;

namespace {

std::string section() {
    std::ifstream file(VMROUTER_SOURCE_DIR "/ARCHITECTURE.md");
    std::stringstream text;
    text << file.rdbuf();
    const auto all = text.str();
    const auto begin = all.find("\n## The control socket\n");
    REQUIRE(begin != std::string::npos);
    return all.substr(begin, all.find("\n## ", begin + 4) - begin);
}

/// The commands of the rows `| {"command": "NAME"... | result |`, in their order.
std::vector<std::string> documented() {
    std::vector<std::string> names;
    std::istringstream lines(section());
    const std::string before = "| `{\"command\": \"";
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(before))
            names.push_back(line.substr(before.size(), line.find('"', before.size()) - before.size()));
    return names;
}

}  // namespace

TEST_CASE("The commands of the control socket are those that ARCHITECTURE.md lists") {
    std::vector<std::string> known;
    for (const auto& one : control_commands) known.emplace_back(one.name);
    CHECK(documented() == known);
}

TEST_CASE("A command is found by its whole name only") {
    for (const auto& one : control_commands) CHECK(control_command(one.name) == one.command);
    CHECK_FALSE(control_command(""));
    CHECK_FALSE(control_command("lease"));
    CHECK_FALSE(control_command("leases "));
}
