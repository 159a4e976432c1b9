#include "src/manual/manual.hpp"

#include <catch2/catch.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

using namespace vmrouter;

namespace {

std::string source(const std::string& name) {
    const auto text = read_file(VMROUTER_SOURCE_DIR "/src/manual/" + name);
    REQUIRE(text);
    return *text;
}

cli::CommandText small_command(const std::string& name) {
    return {
        name,
        "Does " + (name.empty() ? "nothing" : name),
        {"vmrouter " + name},
        {{{"-j", "--json"}, "", "Print it as JSON", "Options"}, {{"--lan"}, "block|allow", "The LAN", "[firewall]"}}};
}

constexpr std::string_view small_page =
    ".Sh NAME\n@options -\n@overrides\n@examples -\n.Sh COMMANDS\n"
    "@command one\nProse of one.\n@options one\n@examples one\n.Sh FILES\nThe end.\n";

}  // namespace

TEST_CASE("The page of commands has every command, option and example of the table") {
    const auto all = cli::commands();
    const auto page = command_manual(source("vmrouter.8.in"), all);
    if (!page) FAIL(to_string(page.error()));
    for (const auto& command : all) {
        CAPTURE(command.name);
        if (!command.name.empty()) CHECK(page->find(".Ss \"\\&" + command.name.substr(0, 4)) != std::string::npos);
        if (!command.name.empty()) CHECK(page->find(command.help + ".\n") != std::string::npos);
        for (const auto& option : command.options)
            for (const auto& name : option.names)
                if (name.starts_with("--")) {
                    std::string typed;
                    for (const char c : name.substr(1)) typed += c == '-' ? "\\-" : std::string(1, c);
                    CAPTURE(name);
                    CHECK(page->find("Fl \"\\&" + typed + '"') != std::string::npos);
                }
    }
}

TEST_CASE("The page of the configuration has every section, key and default of the table") {
    const auto page = configuration_manual(source("vmrouter.toml.5.in"), conf::sections());
    if (!page) FAIL(to_string(page.error()));
    for (const auto& section : conf::sections()) {
        CAPTURE(section.name);
        const auto at = page->find((section.repeated ? "&[[" : "&[") + std::string(section.name) + ']');
        REQUIRE(at != std::string::npos);
        const std::string_view text = std::string_view(*page).substr(at, page->find("\n.Ss", at) - at);
        for (const auto& key : section.keys) {
            CAPTURE(key.name);
            const auto entry = text.find(".It Ic \"\\&" + std::string(key.name) + '"');
            REQUIRE(entry != std::string::npos);
            const auto rest = text.substr(entry, text.find("\n.It", entry) - entry);
            CHECK(rest.find(std::string(key.help) + ".") != std::string::npos);
            if (key.fallback != "required" && !key.fallback.empty())
                CHECK(rest.find("The default is\n") != std::string::npos);
        }
    }
}

TEST_CASE("What the tables have and the page lacks does not build, nor what the page has and the tables lack") {
    const std::vector<cli::CommandText> commands = {small_command(""), small_command("one")};
    REQUIRE(command_manual(small_page, commands));

    auto more = commands;
    more.push_back(small_command("two"));
    const auto lacking = command_manual(small_page, more);
    REQUIRE_FALSE(lacking);
    CHECK(lacking.error().what == "the page lacks @command two");

    const auto unknown = command_manual(std::string(small_page) + "@command three\n", commands);
    REQUIRE_FALSE(unknown);
    CHECK(to_string(unknown.error()) == "line 12: unknown or repeated: @command three");
    CHECK_FALSE(command_manual(std::string(small_page) + "@command one\n", commands));
    CHECK_FALSE(configuration_manual("@section network\n", conf::sections()));
    CHECK_FALSE(configuration_manual(source("vmrouter.toml.5.in") + "@key network.brigde\n", conf::sections()));
}

TEST_CASE("What overrides the configuration stands once, in lists of its own") {
    const std::vector<cli::CommandText> all = {small_command(""), small_command("one")};
    const auto page = command_manual(small_page, all);
    REQUIRE(page);
    CHECK(page->find("\\-lan") == page->rfind("\\-lan"));
    CHECK(page->find(".It Fl \"\\&j\" , Fl \"\\&\\-json\"\nPrint it as JSON.\n") != std::string::npos);
}

TEST_CASE("Nothing in a table is taken for a request or an escape of the page") {
    auto command = small_command("one");
    command.help = ".Sh \\fBX";
    command.examples = {"'quoted\\n", "a-b"};
    command.options.front().form = "\"A\" \\B";
    const std::vector<cli::CommandText> all = {small_command(""), command};
    const auto page = command_manual(small_page, all);
    REQUIRE(page);
    CHECK(page->find("\n\\&.Sh \\efBX.\n") != std::string::npos);
    CHECK(page->find("\n\\&'quoted\\en\na\\-b\n") != std::string::npos);
    CHECK(page->find("Ar \"\\&\\(dqA\\(dq \\eB\"\n") != std::string::npos);
}
