#pragma once

// NetworkManager and systemd-networkd are told at run time to leave our links alone, and untold on exit. Which road
// does no harm was measured: NetworkManager's `managed` property keeps address and master (a changed unmanaged-devices
// list flushes them); networkd's Unmanaged=yes keeps both, but on the way back networkd flushes every address that it
// does not know, so that ours has to be gone before. A bridge and its ports go together: NetworkManager takes a port
// that it manages off a bridge that it does not.

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/result.hpp"
#include "src/changes.hpp"
#include "src/managers/processes.hpp"
#include "src/managers/runner.hpp"
#include "src/shared.hpp"

namespace vmrouter::managers {

/// Where things are; tests put theirs.
struct Places {
    std::string proc = "/proc";
    std::string systemd = "/run/systemd/system";  ///< there when systemd runs this machine
    std::string networkd_files = "/run/systemd/network";
    std::string network_manager = "/etc/NetworkManager";  ///< there when NetworkManager is installed
    std::string network_manager_files = "/run/NetworkManager/conf.d";
};

inline constexpr std::string_view kNetworkManager = "NetworkManager";
inline constexpr std::string_view kNetworkd = "systemd-networkd";

class Managers {
public:
    explicit Managers(Runner& runner, Places places = {}) : runner_(runner), places_(std::move(places)) {}

    /// Tells the managers that run, or could be started later, to leave `links` alone: the segment and the ports of a
    /// bridge of ours. To be called before the segment gets its address, and again whenever the ports have changed;
    /// what is told already is not told again. Each step is recorded before it is made. Errors are for the log: service
    /// does not depend on them.
    std::vector<Error> leave_alone(Changes& changes, Shared& shared, std::string_view instance,
                                   std::span<const std::string> links);

    /// Whether one of the two runs on this machine's network.
    [[nodiscard]] bool is_any_running() const;

    /// The undo of ToldProgram about these two; our address must be gone from the link. Success also when the manager
    /// or the link is gone.
    Result<void> undo(const ToldProgram& told);

    /// What else configures `link` and will take our address or set another: DHCP clients and ifupdown, one sentence
    /// each with what to do.
    [[nodiscard]] std::vector<Error> obstacles(std::string_view link) const;

private:
    std::vector<Error> tell_network_manager(Changes& changes, Shared& shared, std::string_view instance,
                                            std::span<const std::string> links, bool running);
    std::vector<Error> tell_networkd(Changes& changes, Shared& shared, std::string_view instance,
                                     std::span<const std::string> links, bool running);
    Result<void> reload_networkd();

    Runner& runner_;
    Places places_;
};

/// By name, whether NetworkManager manages the device.
using ManagedDevices = std::map<std::string, bool, std::less<>>;
/// What `nmcli -t -f GENERAL.DEVICE,GENERAL.STATE device show` prints. Pure.
ManagedDevices read_devices(std::string_view printed);
/// All that it knows, in one run; none when it does not run. An error when it does not answer.
Result<ManagedDevices> network_manager_devices(Runner& runner);
/// Whether NetworkManager leaves `link` alone by what it has answered, and why. Pure.
std::pair<bool, std::string> leaves_alone(const Result<ManagedDevices>& devices, bool runs, std::string_view link);
/// For a NetworkManager that starts after us; one that runs takes no notice.
std::string network_manager_file(std::string_view instance, std::span<const std::string> links);
std::string networkd_file(std::span<const std::string> links);

}  // namespace vmrouter::managers
