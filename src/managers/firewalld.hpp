#pragma once

// firewalld is told at run time that the segment belongs to its zone `trusted`, which lets everything pass that other
// chains (ours) have let pass. It forgets that with every reload and restart, so it is told again; nothing permanent is
// changed. Our pass rule in its chains does the same as long as firewalld lets others write into its table, which newer
// versions refuse, and bridges the time until it answers.

#include <string>
#include <vector>

#include "src/base/result.hpp"
#include "src/changes.hpp"
#include "src/managers/runner.hpp"

namespace vmrouter::managers {

inline constexpr std::string_view kFirewalld = "firewalld";
inline constexpr std::string_view kTrustedZone = "trusted";

class Firewalld {
public:
    explicit Firewalld(Runner& runner, std::string proc = "/proc") : runner_(runner), proc_(std::move(proc)) {}

    /// The zone that `interface` was put into; empty: none. An error when firewalld cannot be asked.
    Result<std::string> zone_of(const std::string& interface);
    /// Puts it into the zone, whatever zone it is in. Waits for the end of a reload.
    Result<void> change_zone(const std::string& interface, const std::string& zone);
    /// The undo of ToldProgram, also when the interface is gone: the zone from before, if it is in ours. Success when
    /// firewalld does not run: what it was told went with it.
    Result<void> undo(const ToldProgram& told);

private:
    Result<Output> ask(const std::vector<std::string>& dbus, const std::vector<std::string>& command);

    Runner& runner_;
    std::string proc_;
};

/// The command line of change_zone(), for running it in the background.
std::vector<std::string> change_zone_command(const std::string& interface, const std::string& zone);

}  // namespace vmrouter::managers
