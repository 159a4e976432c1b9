#include "src/cli.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <memory>

#include "src/base/text.hpp"
#include "src/cli_commands.hpp"

namespace vmrouter::cli {
namespace {

/// The command of a row, or the program itself for the row without a name.
CLI::App& command_of(CLI::App& app, std::string_view name) {
    CLI::App* command = &app;
    if (name.empty()) return *command;
    for (const auto word : split(name, ' ')) command = command->get_subcommand(std::string(word));
    return *command;
}

/// The parser for all commands; it writes into `draft`.
std::unique_ptr<CLI::App> make_app(Draft& draft) {
    auto app = std::make_unique<CLI::App>("", "vmrouter");
    app->set_version_flag("--version", "vmrouter " VMROUTER_VERSION, "Print the version");
    for (const Row& row : rows()) {
        const auto space = row.name.rfind(' ');
        if (!row.name.empty()) {
            CLI::App& parent = command_of(*app, space == std::string_view::npos ? "" : row.name.substr(0, space));
            parent.add_subcommand(std::string(row.name.substr(space + 1)));
            parent.require_subcommand(0, 1);
        }
        CLI::App& command = command_of(*app, row.name);
        command.description(std::string(row.help));
        row.add(command, draft);
        command.get_help_ptr()->description("Print this help");
        if (!row.name.empty()) command.final_callback([&row, &draft] { row.choose(draft); });
    }
    return app;
}

/// Everything that may stand where `word` stood: options of the command that was chosen, or commands.
std::string suggestion(const CLI::App& app, const std::string& word) {
    std::vector<std::string> names;
    const auto chosen = app.get_subcommands();
    const CLI::App& command = chosen.empty() ? app : *chosen.front();
    for (const auto* option : command.get_options())
        for (const auto& name : option->get_lnames()) names.push_back("--" + name);
    for (const auto* sub : command.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(sub->get_name());
    const std::vector<std::string_view> views(names.begin(), names.end());
    const auto near = nearest(word.substr(0, word.find('=')), views);
    return near ? "\n  hint: did you mean " + std::string(*near) + "?" : "";
}

Finished wrong_use(const std::string& what) {
    return {2, "", "vmrouter: " + what + "\n"};
}

/// CLI11's own words, but for the ones that read as if the user had written too much.
std::string complaint(const CLI::ParseError& error) {
    std::string text = error.what();
    constexpr std::string_view missing = ": 1 required ";
    const auto at = text.find(missing);
    if (at != std::string::npos && text.ends_with(" missing"))
        text =
            text.substr(0, at) + " needs a value: " +
            text.substr(at + missing.size(), text.size() - at - missing.size() - std::string_view(" missing").size());
    return escape(text, 1000);
}

Finished unexpected(const CLI::App& app, const std::string& word) {
    return wrong_use("unexpected argument '" + escape(word) + "'" + suggestion(app, word));
}

Finished finish(const CLI::App& app, const CLI::ParseError& error) {
    if (dynamic_cast<const CLI::CallForHelp*>(&error)) {
        // Help for what is no command: CLI11 would pass over it.
        if (const auto extras = app.remaining(true); !extras.empty()) return unexpected(app, extras.front());
        std::string name;
        for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
            at = at->get_subcommands().front();
            name += (name.empty() ? "" : " ") + at->get_name();
        }
        const auto all = commands();
        const auto command = std::find_if(all.begin(), all.end(), [&name](const auto& c) { return c.name == name; });
        return {0, help(*command, all), ""};
    }
    if (error.get_exit_code() == 0) return {0, std::string(error.what()) + "\n", ""};
    if (dynamic_cast<const CLI::ExtrasError*>(&error)) {
        const auto extras = app.remaining(true);
        const std::string word = extras.empty() ? "" : extras.front();
        return unexpected(app, word);
    }
    return wrong_use(complaint(error));
}

bool names_segment(const Source& source) {
    return std::any_of(source.overrides.begin(), source.overrides.end(), [](const conf::Override& override) {
        return override.key == "network.bridge" || override.key == "network.interface";
    });
}

/// `vmrouter --config vm.toml leases` means the same as `vmrouter leases --config vm.toml`. Other flags before a
/// command would have no effect, and are refused.
std::optional<std::string> inherit(const Source& before, Command& command) {
    const auto adopt = [&before](auto& chosen) -> std::optional<std::string> {
        if constexpr (requires { chosen.source; }) {
            if (chosen.source.file.empty()) chosen.source.file = before.file;
            chosen.source.overrides.insert(chosen.source.overrides.begin(), before.overrides.begin(),
                                           before.overrides.end());
        } else if constexpr (requires { chosen.instance; }) {
            const bool is_named = !chosen.instance.name.empty() || !chosen.instance.file.empty();
            if (!is_named) chosen.instance.file = before.file;
            for (const conf::Override& override : before.overrides) {
                if (!names_segment({"", {override}})) return override.flag;
                if (!is_named) chosen.instance.name = override.value;
            }
        } else if (!before.overrides.empty()) {
            return before.overrides.front().flag;
        }
        return std::nullopt;
    };
    return std::visit(adopt, command);
}

/// A command that works on a configuration needs a file, or at least a segment to go with the defaults.
bool lacks_configuration(const Command& command) {
    return std::visit(
        [](const auto& chosen) {
            if constexpr (requires { chosen.source; })
                return chosen.source.file.empty() && !names_segment(chosen.source);
            return false;
        },
        command);
}

OptionText text_of(const CLI::Option& option) {
    OptionText text;
    for (const auto& name : option.get_snames()) text.names.push_back('-' + name);
    for (const auto& name : option.get_lnames()) text.names.push_back("--" + name);
    if (text.names.empty()) text.names.push_back(option.get_name(true));
    if (option.get_type_size() != 0) text.form = option.get_type_name();
    text.help = option.get_description();
    text.group = option.get_group();
    return text;
}

CommandText text_of(const CLI::App& app, std::string name) {
    CommandText text{std::move(name), app.get_description(), {}, {}};
    for (const auto* option : app.get_options()) text.options.push_back(text_of(*option));
    return text;
}

}  // namespace

conf::Loaded load(const Source& source) {
    if (source.file.empty()) return conf::load_defaults(source.overrides);
    return conf::load_file(source.file, source.overrides);
}

std::variant<Command, Finished> parse(std::vector<std::string> arguments) {
    Draft draft;
    const auto app = make_app(draft);
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    try {
        app->parse(arguments);
    } catch (const CLI::ParseError& error) {
        return finish(*app, error);
    }
    Command command = draft.chosen ? *draft.chosen : Command(draft.run);
    if (draft.chosen)
        if (const auto flag = inherit(draft.run.source, command))
            return wrong_use(*flag + " has no effect before this command");
    if (lacks_configuration(command))
        return wrong_use(
            "there is no configuration\n  hint: name a file with --config FILE, or a segment with --bridge NAME or "
            "--iface "
            "NAME; `vmrouter --help` shows the rest");
    return command;
}

std::vector<CommandText> commands() {
    Draft draft;
    const auto app = make_app(draft);
    std::vector<CommandText> list;
    for (const Row& row : rows()) {
        list.push_back(text_of(command_of(*app, row.name), std::string(row.name)));
        list.back().examples.assign(row.examples.begin(), row.examples.end());
    }
    return list;
}

}  // namespace vmrouter::cli
