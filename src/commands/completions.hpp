#pragma once

// Completions for shells, made from the table of commands, so that they offer what this very program takes.

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "src/cli.hpp"

namespace vmrouter {

/// Prints the completions for a shell.
int completions(const cli::Completions& options, std::ostream& out);

/// The script, for a table of commands.
std::string bash_completions(const std::vector<cli::CommandText>& commands);
std::string zsh_completions(const std::vector<cli::CommandText>& commands);
std::string fish_completions(const std::vector<cli::CommandText>& commands);

/// What may stand for a value, as its form says: "block|allow", "INTERFACE,...|auto", "FILE".
struct Candidates {
    enum class Source { None, Files, Interfaces, Bridges, Instances, Guests, Leases, Users };

    std::vector<std::string> words;
    Source source = Source::None;  ///< what the machine has
    bool is_list = false;          ///< several, separated by commas

    bool operator==(const Candidates&) const = default;
};
Candidates candidates(const cli::OptionText& option);

/// The options of a command, and those of the command above it, which it takes too; positions are not among them.
std::vector<cli::OptionText> options_of(const cli::CommandText& command, const std::vector<cli::CommandText>& commands);
/// What may stand where no option stands: the commands below it and its position.
Candidates words_after(const cli::CommandText& command, const std::vector<cli::CommandText>& commands);

/// Part of the names of the shell functions that print what the machine has: "interfaces"; "" for None and Files.
std::string_view name_of(Candidates::Source source);

/// How the machine is asked, for `sh -c '...'`: lines of one candidate each. Nothing that a guest chose gets through
/// but letters, digits and ". _ : -".
struct SourceText {
    Candidates::Source source;
    std::string_view command;
};
const std::vector<SourceText>& source_texts();

/// 'text' as one word of sh, bash, zsh and fish; without backslashes, which fish would read.
std::string quoted(std::string_view text);

}  // namespace vmrouter
