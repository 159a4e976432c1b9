#include <algorithm>
#include <set>

#include "src/commands/completions.hpp"

namespace vmrouter {
namespace {

using Source = Candidates::Source;

// Words come from the line itself and not from COMP_WORDS: that is split at '=' and ':' as well, and would take a MAC
// apart. Candidates are compared as text and never expanded.
constexpr std::string_view head = R"bash(# bash completions for vmrouter; made by `vmrouter completions bash`.

_vmrouter() {
    local word words command="" index before="" candidate is_list="" candidates=() rest
    local IFS=$' \t\n'
    COMPREPLY=()
    # shellcheck disable=SC2162 # a backslash hides a blank
    read -a words <<<"${COMP_LINE:0:COMP_POINT}x" # the x keeps a blank at the end
    word=${words[-1]%x}
    for ((index = 1; index < ${#words[@]} - 1; index++)); do
        case ${words[index]} in
            -*=*) ;;
            -*) ! _vmrouter_takes_value "${words[index]}" || ((++index)) ;;
            *) ! _vmrouter_is_command "${command:+$command }${words[index]}" || command=${command:+$command }${words[index]} ;;
        esac
    done
    if [[ $word == --*=* ]]; then
        before=${word%%=*}=
        _vmrouter_value "${word%%=*}"
    elif ((index == ${#words[@]})); then # the loop went past the word: it is the value of the option before it
        _vmrouter_value "${words[-2]}"
    elif [[ $word == -* ]]; then
        _vmrouter_options "$command"
    else
        _vmrouter_words "$command"
    fi
    if [[ ${candidates[0]-} == files ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${word#"$before"}")
        return 0
    fi
    [[ -z $is_list || ${word#"$before"} != *,* ]] || before=${word%,*},
    for candidate in "${candidates[@]}"; do
        [[ $before$candidate != "$word"* ]] || COMPREPLY+=("$before$candidate")
    done
    # readline replaces only what follows the last of its word breaks.
    rest=${word##*[=:]}
    [[ $rest == "$word" ]] || COMPREPLY=("${COMPREPLY[@]#"${word%"$rest"}"}")
}
)bash";

void add_new(std::vector<std::string>& list, const std::vector<std::string>& more) {
    for (const auto& one : more)
        if (std::find(list.begin(), list.end(), one) == list.end()) list.push_back(one);
}

/// "'a' | 'b'"
std::string pattern(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : " | ") + quoted(word);
    return out;
}

std::string list_of(const std::vector<std::string>& words) {
    std::string out;
    for (const auto& word : words) out += (out.empty() ? "" : " ") + quoted(word);
    return out;
}

/// What sets `candidates` for a value.
std::string assignment(const Candidates& values) {
    if (values.source == Source::Files) return "candidates=(files)";
    std::string out = "candidates=(" + list_of(values.words) + ')';
    if (values.source != Source::None)
        out += "; mapfile -t -O \"${#candidates[@]}\" candidates < <(_vmrouter_" + std::string(name_of(values.source)) +
               ')';
    return values.is_list ? "is_list=yes; " + out : out;
}

/// One line for all options that take the same: `'--lan') candidates=('block' 'allow') ;;`. An option means the same
/// with every command.
std::string value_cases(const std::vector<cli::CommandText>& commands) {
    std::vector<std::pair<std::string, std::vector<std::string>>> lines;  // assignment, names
    std::set<std::string> done;
    for (const auto& command : commands) {
        for (const auto& option : command.options) {
            const Candidates values = candidates(option);
            if (cli::is_position(option) || values == Candidates{}) continue;
            const std::string text = assignment(values);
            auto line = std::find_if(lines.begin(), lines.end(), [&text](const auto& l) { return l.first == text; });
            for (const auto& name : option.names) {
                if (!done.insert(name).second) continue;
                if (line == lines.end()) line = lines.insert(line, {text, {}});
                line->second.push_back(name);
            }
        }
    }
    std::string out;
    for (const auto& [set, names] : lines) out += "        " + pattern(names) + ") " + set + " ;;\n";
    return out;
}

std::string option_names(const std::vector<cli::OptionText>& options) {
    std::vector<std::string> names;
    for (const auto& option : options)
        for (const auto& name : option.names)
            if (name.starts_with("--")) names.push_back(name);
    return list_of(names);
}

}  // namespace

std::string bash_completions(const std::vector<cli::CommandText>& commands) {
    std::vector<std::string> names;
    std::vector<std::string> with_value;
    std::string options;
    std::string words;
    for (const auto& command : commands) {
        if (!command.name.empty()) names.push_back(command.name);
        const auto own = options_of(command, commands);
        for (const auto& option : own)
            if (!option.form.empty()) add_new(with_value, option.names);
        const std::string begin = "        " + quoted(command.name) + ") ";
        options += begin + "candidates=(" + option_names(own) + ") ;;\n";
        words += begin + assignment(words_after(command, commands)) + " ;;\n";
    }
    std::string out(head);
    out += "\n_vmrouter_is_command() { case $1 in " + pattern(names) + ") ;; *) return 1 ;; esac; }\n";
    out += "_vmrouter_takes_value() { case $1 in " + pattern(with_value) + ") ;; *) return 1 ;; esac; }\n";
    out +=
        "\n# These set `candidates`.\n_vmrouter_value() {\n    case $1 in\n" + value_cases(commands) + "    esac\n}\n";
    out += "_vmrouter_options() {\n    case $1 in\n" + options + "    esac\n}\n";
    out += "_vmrouter_words() {\n    case $1 in\n" + words + "    esac\n}\n\n# These print what the machine has.\n";
    for (const auto& [source, command] : source_texts())
        out += "_vmrouter_" + std::string(name_of(source)) + "() { sh -c " + quoted(command) + "; }\n";
    return out + "\ncomplete -F _vmrouter vmrouter\n";
}

}  // namespace vmrouter
