#pragma once

// What a client may ask the control socket for: one table for the program, its documentation and their test.

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace vmrouter {

enum class ControlCommand { Leases, Drop, Pin, Status, Traffic, Guest, Enforced, Monitor, Reload, Tap };

struct ControlCommandName {
    std::string_view name;
    ControlCommand command;
};

/// In the order of ARCHITECTURE.md, "The control socket".
inline constexpr std::array control_commands = {
    ControlCommandName{"leases", ControlCommand::Leases},     ControlCommandName{"drop", ControlCommand::Drop},
    ControlCommandName{"pin", ControlCommand::Pin},           ControlCommandName{"status", ControlCommand::Status},
    ControlCommandName{"traffic", ControlCommand::Traffic},   ControlCommandName{"guest", ControlCommand::Guest},
    ControlCommandName{"enforced", ControlCommand::Enforced}, ControlCommandName{"monitor", ControlCommand::Monitor},
    ControlCommandName{"reload", ControlCommand::Reload},     ControlCommandName{"tap", ControlCommand::Tap},
};

/// nullopt: there is none of that name.
inline std::optional<ControlCommand> control_command(std::string_view name) {
    const auto found = std::find_if(control_commands.begin(), control_commands.end(),
                                    [name](const auto& one) { return one.name == name; });
    return found == control_commands.end() ? std::nullopt : std::optional(found->command);
}

}  // namespace vmrouter
