#include "src/manual/manual.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

/// Text for a line of its own: nothing in it is a request or an escape.
std::string plain(std::string_view text) {
    std::string out = text.starts_with('.') || text.starts_with('\'') ? "\\&" : "";
    for (const char c : text) out += c == '\\' ? std::string("\\e") : std::string(1, c);
    return out;
}

/// Text that is typed: hyphens stay what they are when they are copied.
std::string typed(std::string_view text) {
    std::string out;
    for (const char c : plain(text)) out += c == '-' ? std::string("\\-") : std::string(1, c);
    return out;
}

/// One argument of a macro, whatever is in it.
std::string argument(std::string_view text) {
    std::string out = "\"\\&";
    for (const char c : typed(text)) out += c == '"' ? std::string("\\(dq") : std::string(1, c);
    return out + '"';
}

std::string sentence(std::string_view text) {
    return plain(text) + ".\n";
}

bool is_override(const cli::OptionText& option) {
    return option.group.starts_with('[');
}

/// ".Fl o , Fl -output Ar FILE"
std::string item(const cli::OptionText& option) {
    std::string out = ".It";
    if (cli::is_position(option)) return out + " Ar " + argument(option.form) + '\n';
    for (const auto& name : option.names) out += (out == ".It" ? " Fl " : " , Fl ") + argument(name.substr(1));
    if (!option.form.empty()) out += " Ar " + argument(option.form);
    return out + '\n';
}

std::string option_list(const cli::CommandText& command) {
    std::string out = ".Bl -tag -width indent\n";
    for (const auto& option : command.options)
        if (!is_override(option)) out += item(option) + sentence(option.help);
    return out + ".El\n";
}

/// The options that stand for keys, a list for each section of the configuration.
std::string override_lists(const cli::CommandText& run) {
    std::string out;
    std::string group;
    for (const auto& option : run.options) {
        if (!is_override(option)) continue;
        if (option.group != group) {
            if (!group.empty()) out += ".El\n";
            group = option.group;
            out += ".Pp\n.Em " + argument(group) + "\n.Bl -tag -width indent -compact\n";
        }
        out += item(option) + sentence(option.help);
    }
    return group.empty() ? out : out + ".El\n";
}

std::string example_list(const cli::CommandText& command) {
    std::string out = ".Bd -literal -offset indent\n";
    for (const auto& example : command.examples) out += typed(example) + '\n';
    return out + ".Ed\n";
}

std::string heading(const cli::CommandText& command) {
    std::string out = ".Ss " + argument(command.name) + "\n.Nm Ic " + argument(command.name);
    for (const auto& option : command.options)
        if (cli::is_position(option)) out += " Ar " + argument(option.form);
    return out + " Op Ar option ...\n.Pp\n" + sentence(command.help);
}

const cli::CommandText* find(const std::vector<cli::CommandText>& commands, std::string_view name) {
    const auto found = std::find_if(commands.begin(), commands.end(), [name](const auto& c) { return c.name == name; });
    return found == commands.end() ? nullptr : &*found;
}

std::string key_entry(const conf::KeyText& key) {
    std::string out = ".It Ic " + argument(key.name) + " = Ar " + argument(key.form) + '\n' + sentence(key.help);
    if (key.fallback == "required")
        out += "Required.\n";
    else if (!key.fallback.empty())
        out += "The default is\n.Li " + argument(key.fallback) + " .\n";
    if (!key.flag.empty()) out += "Option:\n.Fl " + argument('-' + std::string(key.flag)) + " .\n";
    return out;
}

/// The lines of `text`; each that begins with '@' must be one of `wanted`, and each of those must be there once. It is
/// replaced by what `expand` makes of its two words.
template <class Expand>
Result<std::string> fill(std::string_view text, std::set<std::string> wanted, Expand expand) {
    const auto wrong = [](std::size_t number, const std::string& what) {
        return Failure{Error{what, "line " + std::to_string(number), {}}};
    };
    if (text.ends_with('\n')) text.remove_suffix(1);
    std::string out;
    std::size_t number = 0;
    for (const auto line : split(text, '\n')) {
        ++number;
        if (!line.starts_with('@')) {
            out += std::string(line) + '\n';
            continue;
        }
        if (wanted.erase(std::string(line)) == 0) return wrong(number, "unknown or repeated: " + std::string(line));
        const auto space = std::min(line.find(' '), line.size());
        out += expand(line.substr(0, space), trim(line.substr(space)));
    }
    if (!wanted.empty()) return wrong(number, "the page lacks " + *wanted.begin());
    return out;
}

}  // namespace

Result<std::string> command_manual(std::string_view text, const std::vector<cli::CommandText>& commands) {
    std::set<std::string> wanted = {"@overrides", "@options -", "@examples -"};
    for (const auto& command : commands)
        for (const std::string verb : {"@command ", "@options ", "@examples "})
            if (!command.name.empty()) wanted.insert(verb + command.name);
    return fill(text, std::move(wanted), [&](std::string_view verb, std::string_view name) {
        if (verb == "@overrides") return override_lists(*find(commands, ""));
        const auto& command = *find(commands, name == "-" ? "" : name);
        return verb == "@command"   ? heading(command)
               : verb == "@options" ? option_list(command)
                                    : example_list(command);
    });
}

Result<std::string> configuration_manual(std::string_view text, const std::vector<conf::SectionText>& sections) {
    std::set<std::string> wanted;
    std::map<std::string, std::string, std::less<>> entries;  // by what comes after @section and @key
    for (const auto& section : sections) {
        const std::string name(section.name);
        wanted.insert("@section " + name);
        entries[name] =
            ".Ss " + argument(section.repeated ? "[[" + name + "]]" : '[' + name + ']') + '\n' + sentence(section.help);
        for (const auto& key : section.keys) {
            const std::string full = name + '.' + std::string(key.name);
            wanted.insert("@key " + full);
            entries["key " + full] = key_entry(key);
        }
    }
    return fill(text, std::move(wanted), [&](std::string_view verb, std::string_view name) {
        return entries.at(verb == "@key" ? "key " + std::string(name) : std::string(name));
    });
}

}  // namespace vmrouter
