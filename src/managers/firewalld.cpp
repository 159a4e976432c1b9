#include "src/managers/firewalld.hpp"

#include "src/base/text.hpp"
#include "src/managers/processes.hpp"

namespace vmrouter::managers {
namespace {

/// A call of firewalld's zones over D-Bus takes 20 ms; firewall-cmd, which does the same, 150 ms. A firewalld that is
/// stopped must not be started by the question.
std::vector<std::string> bus_call(const std::string& method, const std::string& signature,
                                  std::vector<std::string> arguments) {
    std::vector<std::string> words{"busctl",
                                   "--auto-start=no",
                                   "call",
                                   "org.fedoraproject.FirewallD1",
                                   "/org/fedoraproject/FirewallD1",
                                   "org.fedoraproject.FirewallD1.zone",
                                   method,
                                   signature};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
}

std::vector<std::string> bus_change(const std::string& interface, const std::string& zone) {
    return bus_call("changeZoneOfInterface", "ss", {zone, interface});
}

std::vector<std::string> command_change(const std::string& interface, const std::string& zone) {
    return {"firewall-cmd", "--zone=" + zone, "--change-interface=" + interface};
}

/// `s "trusted"`, or `trusted` of firewall-cmd; anything else is no zone.
std::string zone_in(std::string_view text) {
    text = trim(text);
    const auto first = text.find('"');
    if (first != std::string_view::npos) {
        const auto last = text.rfind('"');
        return std::string(text.substr(first + 1, last - first - (last > first ? 1 : 0)));
    }
    return text.find(' ') == std::string_view::npos ? std::string(text) : std::string();
}

Result<void> succeeded(const Result<Output>& output, const std::string& what) {
    if (!output) return Failure{output.error()};
    if (output->status == 0) return {};
    return Failure{Error{what + ": " + escape(trim(output->text)), std::string(kFirewalld), {}}};
}

}  // namespace

Result<Output> Firewalld::ask(const std::vector<std::string>& dbus, const std::vector<std::string>& command) {
    auto output = runner_.run(dbus);
    return output ? std::move(output) : runner_.run(command);
}

Result<std::string> Firewalld::zone_of(const std::string& interface) {
    const auto output =
        ask(bus_call("getZoneOfInterface", "s", {interface}), {"firewall-cmd", "--get-zone-of-interface=" + interface});
    if (!output) return Failure{output.error()};
    if (output->status == 2 && trim(output->text) == "no zone") return std::string();
    if (auto said = succeeded(output, "cannot be asked for the zone of " + interface); !said)
        return Failure{std::move(said).error()};
    return zone_in(output->text);
}

Result<void> Firewalld::change_zone(const std::string& interface, const std::string& zone) {
    return succeeded(ask(bus_change(interface, zone), command_change(interface, zone)),
                     "cannot be told to put " + interface + " into the zone " + zone);
}

Result<void> Firewalld::undo(const ToldProgram& told) {
    if (!is_running(processes(proc_), kFirewalld)) return {};
    const auto zone = zone_of(told.link);
    if (!zone) return Failure{zone.error()};
    if (*zone != kTrustedZone) return {};  // somebody else has put it elsewhere
    if (!told.before.empty()) return change_zone(told.link, told.before);
    return succeeded(ask(bus_call("removeInterface", "ss", {std::string(kTrustedZone), told.link}),
                         {"firewall-cmd", "--zone=" + std::string(kTrustedZone), "--remove-interface=" + told.link}),
                     "cannot be told to take " + told.link + " out of the zone " + std::string(kTrustedZone));
}

std::vector<std::string> change_zone_command(const std::string& interface, const std::string& zone) {
    return find_program("busctl").empty() ? command_change(interface, zone) : bus_change(interface, zone);
}

}  // namespace vmrouter::managers
