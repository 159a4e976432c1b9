#include <algorithm>

#include "src/commands/completions.hpp"

namespace vmrouter {
namespace {

using Source = Candidates::Source;

constexpr std::string_view middle = R"(
# __vmrouter_at COMMAND...: whether the line so far is one of these commands, "" for none yet.
function __vmrouter_at
    set -l command
    set -l takes_value no
    for word in (commandline -opc)[2..]
        if test $takes_value = yes
            set takes_value no
        else if string match -q -- '-*' $word
            contains -- $word $__vmrouter_valued; and set takes_value yes
        else if contains -- (string trim "$command $word") $__vmrouter_commands
            set -a command $word
        end
    end
    contains -- "$command" $argv
end

# The same candidates after what a list has already.
function __vmrouter_list
    set -l before (string match -r '^.*,' -- (commandline -ct | string replace -r '^--[a-z-]+=' ''))
    printf '%s\n' "$before"$argv
end

)";

/// The candidates as an argument of -a.
std::string arguments(const Candidates& values) {
    std::string words;
    for (const auto& word : values.words) words += (words.empty() ? "" : " ") + word;
    if (values.source != Source::None && values.source != Source::Files)
        words += (words.empty() ? "(__vmrouter_" : " (__vmrouter_") + std::string(name_of(values.source)) + ')';
    if (words.empty() || !values.is_list) return words;
    return "(__vmrouter_list " + words + ')';
}

/// "-s c -l config -r -F -d 'The configuration'"
std::string described(const cli::OptionText& option) {
    std::string out;
    for (const auto& name : option.names) {
        const bool is_long = name.starts_with("--");
        out += (is_long ? " -l " : " -s ") + name.substr(is_long ? 2 : 1);
    }
    const Candidates values = candidates(option);
    if (values.source == Source::Files)
        out += " -r -F";
    else if (!option.form.empty())
        out += " -x";
    if (const auto list = arguments(values); !list.empty()) out += " -a " + quoted(list);
    return out + " -d " + quoted(option.help);
}

std::string condition(const std::vector<std::string>& commands) {
    std::string out = "__vmrouter_at";
    for (const auto& command : commands) out += " \"" + command + '"';
    return "complete -c vmrouter -n " + quoted(out);
}

}  // namespace

std::string fish_completions(const std::vector<cli::CommandText>& commands) {
    std::string names;
    std::string valued;
    std::vector<std::pair<std::string, std::vector<std::string>>> options;  // text, and the commands that have it
    std::string words;
    for (const auto& command : commands) {
        if (!command.name.empty()) names += ' ' + quoted(command.name);
        for (const auto& option : options_of(command, commands)) {
            const std::string text = described(option);
            auto found =
                std::find_if(options.begin(), options.end(), [&text](const auto& o) { return o.first == text; });
            if (found == options.end()) {
                found = options.insert(found, {text, {}});
                for (const auto& name : option.names)
                    if (!option.form.empty()) valued += ' ' + name;
            }
            found->second.push_back(command.name);
        }
        for (const auto* sub : cli::below(command.name, commands))
            words += condition({command.name}) + " -a " + quoted(sub->name.substr(sub->name.rfind(' ') + 1)) + " -d " +
                     quoted(sub->help) + '\n';
        for (const auto& option : command.options) {
            if (!cli::is_position(option)) continue;
            const Candidates values = candidates(option);
            if (values.source == Source::Files) words += condition({command.name}) + " -F\n";
            if (const auto list = arguments(values); !list.empty())
                words += condition({command.name}) + " -a " + quoted(list) + '\n';
        }
    }
    std::string out = "# fish completions for vmrouter; made by `vmrouter completions fish`.\n\n";
    out += "set -g __vmrouter_commands" + names + "\nset -g __vmrouter_valued" + valued + '\n' + std::string(middle);
    for (const auto& [source, command] : source_texts())
        out += "function __vmrouter_" + std::string(name_of(source)) + "; sh -c " + quoted(command) + "; end\n";
    out += "\ncomplete -c vmrouter -f\n" + words;
    for (const auto& [text, where] : options) out += condition(where) + text + '\n';
    return out;
}

}  // namespace vmrouter
