#include <algorithm>
#include <utility>

#include "src/base/text.hpp"
#include "src/cli.hpp"

namespace vmrouter::cli {
namespace {

constexpr std::size_t text_column = 32;  // where help texts begin
constexpr std::size_t last_column = 100;

/// Words of `text` between text_column and last_column; the first line is continued, the others are indented.
std::string wrapped(std::string_view text) {
    std::string out;
    std::size_t column = text_column;
    for (const auto word : split(text, ' ')) {
        if (column + 1 + word.size() > last_column) {
            out += '\n' + std::string(text_column, ' ');
            column = text_column;
        } else if (column > text_column) {
            out += ' ';
            ++column;
        }
        out += word;
        column += word.size();
    }
    return out;
}

/// "  -c, --config FILE     The configuration"; a long left side has a line of its own.
std::string line(std::string left, std::string_view text) {
    left.insert(0, "  ");
    if (left.size() + 2 > text_column) left += '\n' + std::string(text_column, ' ');
    if (left.size() < text_column) left.resize(text_column, ' ');
    return left + wrapped(text) + '\n';
}

std::string left_side(const OptionText& option) {
    if (is_position(option)) return option.form;
    std::string text;
    for (const auto& name : option.names) text += (text.empty() ? "" : ", ") + name;
    return option.form.empty() ? text : text + ' ' + option.form;
}

std::string usage(const CommandText& command) {
    std::string text = "Usage: vmrouter";
    if (!command.name.empty()) text += ' ' + command.name;
    for (const auto& option : command.options)
        if (is_position(option)) text += ' ' + option.form;
    text += " [OPTION...]\n";
    if (command.name.empty()) text += "       vmrouter COMMAND [OPTION...]\n";
    return text;
}

}  // namespace

bool is_position(const OptionText& option) {
    return !option.names.front().starts_with('-');
}

std::vector<const CommandText*> below(std::string_view name, const std::vector<CommandText>& all) {
    std::vector<const CommandText*> found;
    for (const CommandText& command : all) {
        const std::string_view own = command.name;
        const auto space = own.rfind(' ');
        const auto parent = space == std::string_view::npos ? std::string_view{} : own.substr(0, space);
        if (!own.empty() && parent == name) found.push_back(&command);
    }
    return found;
}

std::string help(const CommandText& command, const std::vector<CommandText>& all) {
    std::string text = command.help + ".\n\n" + usage(command) + "\nExamples:\n";
    for (const auto& example : command.examples) text += "  " + example + '\n';

    const auto subcommands = below(command.name, all);
    if (!subcommands.empty()) text += "\nCommands (each takes --help):\n";
    for (const CommandText* sub : subcommands) text += line(sub->name, sub->help);

    const bool has_position = std::any_of(command.options.begin(), command.options.end(), is_position);
    if (has_position) text += "\nArguments:\n";
    for (const OptionText& option : command.options)
        if (is_position(option)) text += line(left_side(option), option.help);

    std::string group;
    for (const OptionText& option : command.options) {
        if (is_position(option)) continue;
        if (option.group != group) {
            const bool is_first_section = option.group.starts_with('[') && !group.starts_with('[');
            if (is_first_section) text += "\nInstead of what the configuration says:\n";
            text += '\n' + option.group + (option.group.starts_with('[') ? "\n" : ":\n");
            group = option.group;
        }
        text += line(left_side(option), option.help);
    }
    return text;
}

}  // namespace vmrouter::cli
