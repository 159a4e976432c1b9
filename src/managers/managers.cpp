#include "src/managers/managers.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::managers {
namespace {

bool exists(const std::string& path) {
    return access(path.c_str(), F_OK) == 0;
}

/// Before the file that matches the link now, which the administrator has called "10-..." or later.
std::string networkd_path(const Places& places, std::string_view instance) {
    return places.networkd_files + "/00-vmrouter-" + std::string(instance) + ".network";
}

std::string network_manager_path(const Places& places, std::string_view instance) {
    return places.network_manager_files + "/90-vmrouter-" + std::string(instance) + ".conf";
}

/// `path` and the folder around it, outer one first; what is above them is there on every machine.
std::array<std::string, 2> with_parent(const std::string& path) {
    return {path.substr(0, path.rfind('/')), path};
}

/// Several instances may write there: the last one removes what the first one made.
Result<void> make_recorded_folders(Changes& changes, Shared& shared, const std::string& path) {
    for (const std::string& folder : with_parent(path)) {
        const auto was_there = shared.found_before("folder " + folder, exists(folder));
        if (!was_there) return Failure{was_there.error()};
        if (!*was_there) {
            if (auto noted = changes.record(CreatedFolder{folder}); !noted) return noted;
        }
        if (mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
            return Failure{system_error("cannot create the folder", errno, folder)};
    }
    return {};
}

/// Whether the file had to be written: it was not there, or said something else.
Result<bool> write_if_different(const std::string& path, const std::string& content) {
    const auto present = read_own_file(path);
    if (!present) return Failure{present.error()};
    if (*present == content) return false;
    if (auto written = replace_file_unsynced(path, content); !written) return Failure{std::move(written).error()};
    return true;
}

Error failed(std::string what, const Output& output, std::string_view program, std::string hint) {
    const std::string said = escape(trim(output.text));
    return {std::move(what) + (said.empty() ? "" : ": " + said), std::string(program), std::move(hint)};
}

Result<Output> set_managed(Runner& runner, const std::string& link, bool managed) {
    return runner.run({"nmcli", "device", "set", link, "managed", managed ? "yes" : "no"});
}

/// "100 (connected)", "10 (unmanaged)": the words may be translated, the numbers are not.
std::optional<bool> is_managed(std::string_view state) {
    const auto number = parse_number(split(trim(state), ' ').front());
    return number ? std::optional(*number != 10) : std::nullopt;
}

}  // namespace

ManagedDevices read_devices(std::string_view printed) {
    constexpr std::string_view name = "GENERAL.DEVICE:";
    constexpr std::string_view state = "GENERAL.STATE:";
    ManagedDevices devices;
    std::string device;
    for (const auto line : split(printed, '\n')) {
        if (line.starts_with(name)) {
            device = line.substr(name.size());
            for (auto at = device.find('\\'); at != std::string::npos; at = device.find('\\', at + 1))
                device.erase(at, 1);
        }
        if (!line.starts_with(state)) continue;
        const auto managed = is_managed(line.substr(state.size()));
        if (managed) devices[device] |= *managed;  // Open vSwitch has several devices of one name
    }
    return devices;
}

Result<ManagedDevices> network_manager_devices(Runner& runner) {
    const auto output = runner.run({"nmcli", "-t", "-f", "GENERAL.DEVICE,GENERAL.STATE", "device", "show"});
    if (!output) return Failure{output.error()};
    return output->status == 0 ? read_devices(output->text) : ManagedDevices{};
}

std::pair<bool, std::string> leaves_alone(const Result<ManagedDevices>& devices, bool runs, std::string_view link) {
    if (!runs) return {true, "it does not run"};
    if (!devices) return {false, to_string(devices.error())};
    const auto device = devices->find(link);
    if (device == devices->end()) return {true, "it does not know it"};
    return {!device->second, device->second ? "it manages it" : ""};
}

std::string network_manager_file(std::string_view instance, std::span<const std::string> links) {
    std::string text =
        "# Written by vmrouter; removed when it ends.\n[device-vmrouter-" + std::string(instance) + "]\nmatch-device=";
    for (const std::string& link : links) text += (&link == links.data() ? "" : ",") + ("interface-name:" + link);
    return text + "\nmanaged=0\n";
}

std::string networkd_file(std::span<const std::string> links) {
    std::string text = "# Written by vmrouter; removed when it ends.\n[Match]\nName=";
    for (const std::string& link : links) text += (&link == links.data() ? "" : " ") + link;
    return text + "\n\n[Link]\nUnmanaged=yes\n";
}

std::vector<Error> Managers::leave_alone(Changes& changes, Shared& shared, std::string_view instance,
                                         std::span<const std::string> links) {
    const auto all = processes(places_.proc);
    auto errors = tell_network_manager(changes, shared, instance, links, is_running(all, kNetworkManager));
    auto more = tell_networkd(changes, shared, instance, links, is_running(all, kNetworkd));
    errors.insert(errors.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    return errors;
}

bool Managers::is_any_running() const {
    const auto all = processes(places_.proc);
    return is_running(all, kNetworkManager) || is_running(all, kNetworkd);
}

std::vector<Error> Managers::tell_network_manager(Changes& changes, Shared& shared, std::string_view instance,
                                                  std::span<const std::string> links, bool running) {
    std::vector<Error> errors;
    if (!running && !exists(places_.network_manager)) return errors;
    const auto write_file = [&]() -> Result<void> {
        if (auto made = make_recorded_folders(changes, shared, places_.network_manager_files); !made) return made;
        const auto path = network_manager_path(places_, instance);
        if (auto noted = changes.record(CreatedFile{path}); !noted) return noted;
        const auto written = write_if_different(path, network_manager_file(instance, links));
        return written ? Result<void>{} : Failure{written.error()};
    };
    if (auto written = write_file(); !written) errors.push_back(std::move(written).error());
    if (!running) return errors;

    const auto devices = network_manager_devices(runner_);
    if (!devices) errors.push_back(devices.error());
    if (!devices) return errors;
    for (const std::string& link : links) {
        const auto device = devices->find(link);
        if (device == devices->end() || !device->second) continue;
        if (auto noted = changes.record(ToldProgram{std::string(kNetworkManager), link, "managed"}); !noted) {
            errors.push_back(std::move(noted).error());
            continue;
        }
        const auto output = set_managed(runner_, link, false);
        if (!output) {
            errors.push_back(output.error());
            break;  // it hangs, and would for each of them
        }
        if (output->status != 0)
            errors.push_back(failed("cannot be told to leave " + link + " alone", *output, kNetworkManager, {}));
    }
    return errors;
}

std::vector<Error> Managers::tell_networkd(Changes& changes, Shared& shared, std::string_view instance,
                                           std::span<const std::string> links, bool running) {
    if (!running && !exists(places_.systemd)) return {};
    const auto tell = [&]() -> Result<void> {
        if (auto made = make_recorded_folders(changes, shared, places_.networkd_files); !made) return made;
        if (auto noted = changes.record(ToldProgram{std::string(kNetworkd), std::string(instance), {}}); !noted)
            return noted;
        const auto written = write_if_different(networkd_path(places_, instance), networkd_file(links));
        if (!written) return Failure{written.error()};
        return *written && running ? reload_networkd() : Result<void>{};
    };
    std::vector<Error> errors;
    if (auto told = tell(); !told) errors.push_back(std::move(told).error());
    return errors;
}

Result<void> Managers::reload_networkd() {
    const auto output = runner_.run({"networkctl", "reload"});
    if (!output) return Failure{output.error()};
    if (output->status == 0) return {};
    return Failure{failed("cannot be told to read its files again", *output, kNetworkd, "run: networkctl reload")};
}

Result<void> Managers::undo(const ToldProgram& told) {
    if (told.program == kNetworkManager) {
        if (!is_running(processes(places_.proc), kNetworkManager)) return {};
        const auto devices = network_manager_devices(runner_);
        if (!devices) return Failure{devices.error()};
        const auto device = devices->find(told.link);
        if (device == devices->end() || device->second) return {};  // gone, or managed again by somebody
        const auto output = set_managed(runner_, told.link, true);
        if (!output) return Failure{output.error()};
        if (output->status == 0) return {};
        return Failure{failed("cannot give " + told.link + " back", *output, kNetworkManager,
                              "nmcli device set " + told.link + " managed yes")};
    }
    const auto path = networkd_path(places_, told.link);
    if (unlink(path.c_str()) != 0) {
        if (errno == ENOENT || errno == ENOTDIR) return {};
        return Failure{system_error("cannot remove the file", errno, path)};
    }
    return is_running(processes(places_.proc), kNetworkd) ? reload_networkd() : Result<void>{};
}

std::vector<Error> Managers::obstacles(std::string_view link) const {
    std::vector<Error> found;
    const std::string name(link);
    for (const Process& client : dhcp_clients(processes(places_.proc), link)) {
        const bool for_all = client.words.size() == 1 && client.words[0].find('[') != std::string::npos &&
                             client.words[0].find(name) == std::string::npos;
        found.push_back({client.program + " (pid " + std::to_string(client.pid) + ") asks for an address on " + name +
                             " and may take ours away",
                         name,
                         for_all ? "write `denyinterfaces " + name + "` into /etc/dhcpcd.conf and restart dhcpcd"
                                 : "stop it: kill " + std::to_string(client.pid)});
    }
    for (const std::string& mention : ifupdown_mentions(link)) {
        found.push_back({"ifupdown configures " + name + " as well", mention,
                         "remove it there, or make it: iface " + name + " inet manual"});
    }
    return found;
}

}  // namespace vmrouter::managers
