#include <catch2/catch.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/cli.hpp"

using namespace vmrouter;

namespace {

/// "$ sudo vmrouter leases   # who is there" to "leases"; nullopt for lines that are something else.
std::optional<std::string> arguments_of(std::string_view line) {
    line = trim(line);
    for (const std::string_view before : {"$ ", "sudo "})
        if (line.starts_with(before)) line.remove_prefix(before.size());
    constexpr std::string_view program = "vmrouter ";
    if (!line.starts_with(program)) return std::nullopt;
    line.remove_prefix(program.size());
    return std::string(trim(line.substr(0, line.find(" #"))));
}

/// A sentence may name a command without the configuration that it would take.
void check_use(const std::string& arguments, bool is_sentence = false) {
    CAPTURE(arguments);
    std::vector<std::string> words;
    for (const auto word : split(arguments, ' '))
        if (!word.empty()) words.emplace_back(word);
    const auto parsed = cli::parse(words);
    const auto* finished = std::get_if<cli::Finished>(&parsed);
    if (finished == nullptr) return;
    if (is_sentence && finished->err.starts_with("vmrouter: there is no configuration")) return;
    CHECK(finished->err == "");
}

std::string page(const std::string& name) {
    const auto text = read_file(VMROUTER_SOURCE_DIR "/" + name);
    REQUIRE(text);
    return *text;
}

}  // namespace

TEST_CASE("The commands that the documentation shows are right use") {
    std::size_t found = 0;
    for (const std::string name : {"README.md", "SECURITY.md", "ARCHITECTURE.md"}) {
        CAPTURE(name);
        const std::string text = page(name);
        for (const auto line : split(text, '\n')) {
            if (const auto arguments = line.starts_with("    ") ? arguments_of(line) : std::nullopt) {
                check_use(*arguments);
                ++found;
            }
            const auto parts = split(line, '`');  // every other one is code
            for (std::size_t i = 1; i < parts.size(); i += 2) {
                if (const auto arguments = arguments_of(parts[i])) {
                    check_use(*arguments, true);
                    ++found;
                }
            }
        }
    }
    CHECK(found >= 20);
}

TEST_CASE("The commands that the manual's own prose shows are right use") {
    std::string text = page("src/manual/vmrouter.8.in");
    for (auto at = text.find("\\-"); at != std::string::npos; at = text.find("\\-")) text.erase(at, 1);
    std::size_t found = 0;
    for (const auto line : split(text, '\n')) {
        const auto arguments = arguments_of(line);
        if (!arguments) continue;
        check_use(*arguments);
        ++found;
    }
    CHECK(found >= 4);
}
