#include "src/commands/completions.hpp"

#include <algorithm>
#include <ostream>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

using Source = Candidates::Source;

/// A literal word is lower case: "auto", "client-id". Everything else in a form stands for something.
bool is_word(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
}

Source source_of(std::string_view what, bool is_position) {
    if (what == "FILE" || what == "PATH") return Source::Files;
    if (what == "INTERFACE") return Source::Interfaces;
    if (what == "BRIDGE") return Source::Bridges;
    if (what == "INSTANCE") return Source::Instances;
    if (what == "GUEST") return Source::Guests;
    if (what == "USER") return Source::Users;
    if (what == "ADDRESS" && is_position) return Source::Leases;
    return Source::None;
}

}  // namespace

int completions(const cli::Completions& options, std::ostream& out) {
    const auto commands = cli::commands();
    switch (options.shell) {
        case cli::Completions::Shell::Bash:
            out << bash_completions(commands);
            break;
        case cli::Completions::Shell::Zsh:
            out << zsh_completions(commands);
            break;
        case cli::Completions::Shell::Fish:
            out << fish_completions(commands);
            break;
    }
    return 0;
}

Candidates candidates(const cli::OptionText& option) {
    constexpr std::string_view more = ",...";
    Candidates found;
    for (auto part : split(option.form, '|')) {
        if (part.ends_with(more)) {
            found.is_list = true;
            part.remove_suffix(more.size());
        }
        if (is_word(part))
            found.words.emplace_back(part);
        else if (found.source == Source::None)
            found.source = source_of(part, cli::is_position(option));
    }
    return found;
}

std::vector<cli::OptionText> options_of(const cli::CommandText& command,
                                        const std::vector<cli::CommandText>& commands) {
    std::vector<cli::OptionText> options;
    const auto add = [&options](const cli::CommandText& from) {
        for (const auto& option : from.options) {
            const auto is_same = [&option](const cli::OptionText& one) { return one.names == option.names; };
            if (!cli::is_position(option) && std::none_of(options.begin(), options.end(), is_same))
                options.push_back(option);
        }
    };
    add(command);
    const auto space = command.name.rfind(' ');
    if (space == std::string::npos) return options;
    for (const auto& other : commands)
        if (other.name == command.name.substr(0, space)) add(other);
    return options;
}

Candidates words_after(const cli::CommandText& command, const std::vector<cli::CommandText>& commands) {
    Candidates values;
    for (const auto& option : command.options)
        if (cli::is_position(option)) values = candidates(option);
    for (const auto* sub : cli::below(command.name, commands))
        values.words.push_back(sub->name.substr(sub->name.rfind(' ') + 1));
    return values;
}

std::string_view name_of(Source source) {
    switch (source) {
        case Source::None:
        case Source::Files:
            return "";
        case Source::Interfaces:
            return "interfaces";
        case Source::Bridges:
            return "bridges";
        case Source::Instances:
            return "instances";
        case Source::Guests:
            return "guests";
        case Source::Leases:
            return "leases";
        case Source::Users:
            return "users";
    }
    return "";
}

const std::vector<SourceText>& source_texts() {
    static const std::vector<SourceText> texts = {
        {Source::Interfaces, "ls /sys/class/net 2>/dev/null"},
        {Source::Bridges, "cd /sys/class/net && ls -d */bridge 2>/dev/null | cut -d/ -f1"},
        {Source::Instances, "cd /run/vmrouter 2>/dev/null && ls | sed -n \"s/\\.changes\\$//p\""},
        {Source::Guests,
         "cat /var/lib/vmrouter/*/leases 2>/dev/null |"
         " awk \"NF >= 4 { print (\\$4 == \\\"*\\\" ? \\$2 : \\$4) }\" | grep -x \"[A-Za-z0-9._:-]*\""},
        {Source::Leases,
         "cat /var/lib/vmrouter/*/leases 2>/dev/null | awk \"NF >= 4 { print \\$3 }\" | grep -x \"[0-9.]*\""},
        {Source::Users, "getent passwd | cut -d: -f1"},
    };
    return texts;
}

std::string quoted(std::string_view text) {
    std::string out = "'";
    for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + '\'';
}

}  // namespace vmrouter
