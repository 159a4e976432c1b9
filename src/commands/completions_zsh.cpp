#include "src/commands/completions.hpp"

namespace vmrouter {
namespace {

using Source = Candidates::Source;

constexpr std::string_view head = R"zsh(#compdef vmrouter
# zsh completions for vmrouter; made by `vmrouter completions zsh`.

# _vmrouter_values SOURCE LIST WORD...: what SOURCE prints, and the words; after the last comma when LIST is "list".
_vmrouter_values() {
    local source=$1 list=$2
    local -a all
    shift 2
    all=("$@")
    [[ $source == none ]] || all+=(${(f)"$(_vmrouter_$source)"})
    [[ $list != list ]] || compset -P '*,'
    compadd -a all
}
)zsh";

/// `text` inside a bracketed description or a message of _arguments.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '[' || c == ']' || c == ':') out += '\\';
        out += c;
    }
    return out;
}

std::string function_of(std::string_view command) {
    std::string name = command.empty() ? "_vmrouter" : "_vmrouter_command_" + std::string(command);
    for (char& c : name)
        if (c == ' ' || c == '-') c = '_';
    return name;
}

/// ":FORM:how to complete it"
std::string value(const cli::OptionText& option) {
    const Candidates values = candidates(option);
    std::string out = ':' + escaped(option.form) + ':';
    if (values.source == Source::Files) return out + "_files";
    if (values == Candidates{}) return out;
    out += " _vmrouter_values " + (values.source == Source::None ? "none" : std::string(name_of(values.source))) +
           (values.is_list ? " list" : " one");
    for (const auto& word : values.words) out += ' ' + word;
    return out;
}

/// `'(-c --config)'{-c,--config=}'[The configuration]:FILE:_files'`
std::string specification(const cli::OptionText& option) {
    const bool is_list = candidates(option).is_list;
    std::string all;
    std::string names;
    for (const auto& name : option.names) {
        all += (all.empty() ? "" : " ") + name;
        const bool is_long = name.starts_with("--");
        names += (names.empty() ? "" : ",") + name + (option.form.empty() ? "" : is_long ? "=" : "+");
    }
    if (option.names.size() > 1) names = '{' + names + '}';
    const std::string before = is_list ? "\\*" : quoted('(' + all + ')');  // a list may be given again
    return before + names + quoted('[' + escaped(option.help) + ']' + (option.form.empty() ? "" : value(option)));
}

/// The function of one command: its options, its position, and the commands below it.
std::string function(const cli::CommandText& command, const std::vector<cli::CommandText>& commands) {
    const auto subs = cli::below(command.name, commands);
    std::string out = '\n' + function_of(command.name) + "() {\n";
    out += "    local curcontext=\"$curcontext\" context state state_descr line\n    local -A opt_args\n";
    out += "    _arguments -C -S";
    for (const auto& option : options_of(command, commands)) out += " \\\n        " + specification(option);
    for (const auto& option : command.options)
        if (cli::is_position(option)) out += " \\\n        " + quoted('1' + value(option));
    if (subs.empty()) return out + "\n}\n";

    out +=
        " \\\n        '(-)1: :->command' '(-)*:: :->rest'\n    case $state in\n        command)\n            local -a "
        "commands\n";
    for (const auto* sub : subs)
        out += "            commands+=(" +
               quoted(sub->name.substr(sub->name.rfind(' ') + 1) + ':' + escaped(sub->help)) + ")\n";
    out += "            _describe command commands\n            ;;\n        rest)\n            case $words[1] in\n";
    for (const auto* sub : subs)
        out +=
            "                " + sub->name.substr(sub->name.rfind(' ') + 1) + ") " + function_of(sub->name) + " ;;\n";
    return out + "            esac\n            ;;\n    esac\n}\n";
}

}  // namespace

std::string zsh_completions(const std::vector<cli::CommandText>& commands) {
    std::string out(head);
    for (const auto& [source, command] : source_texts())
        out += "_vmrouter_" + std::string(name_of(source)) + "() { sh -c " + quoted(command) + " }\n";
    for (const auto& command : commands) out += function(command, commands);
    // Either a file _vmrouter in the fpath, or sourced after compinit.
    return out + "\nif [[ $funcstack[1] == _vmrouter ]]; then _vmrouter \"$@\"; else compdef _vmrouter vmrouter; fi\n";
}

}  // namespace vmrouter
