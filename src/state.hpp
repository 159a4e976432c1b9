#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"

namespace vmrouter {

/// A port that was on our bridge when the bridge went.
struct RememberedPort {
    std::string name;
    int index = 0;  ///< the same device has the same number until the next boot
    friend bool operator==(const RememberedPort&, const RememberedPort&) = default;
};

/// What an instance remembers beyond its life: /var/lib/vmrouter/NAME/state.
struct State {
    std::optional<Cidr> address;  ///< the one that `address = "auto"` chose
    std::string boot;             ///< boot id of `ports` and `taps`: they mean nothing after a reboot
    std::vector<RememberedPort> ports;
    std::vector<RememberedPort> taps = {};  ///< ours that a process had open when we stopped, of the same boot
    friend bool operator==(const State&, const State&) = default;
};

/// Whether a port that was on our bridge goes onto it again. False when the device is gone, or there already; an error,
/// for the log, when somebody else uses it by now: it has another master or an address, or carries the host's default
/// route.
Result<bool> may_return(const RememberedPort& port, const link::HostFacts& facts, std::string_view bridge);

/// The taps of the state that are still there and still ours, whoever's master they have; none after a reboot.
std::vector<std::string> kept_taps(const State& state, const std::vector<link::Link>& links);

/// `folder`/state; an empty State when there is none. The file is opened without following links, and one that is not a
/// plain file, is larger than 1 MiB or does not parse is an error.
Result<State> load_state(const std::string& folder);
/// Creates the folder when it is missing (parents too); the file is replaced as a whole.
Result<void> save_state(const std::string& folder, const State& state);

/// This boot's id (/proc/sys/kernel/random/boot_id); empty when unknown.
std::string boot_id();

}  // namespace vmrouter
