#pragma once

#include <string>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/managers/runner.hpp"

namespace vmrouter {

/// Written by systemd-resolved when it starts.
inline constexpr const char* resolved_stub_file = "/run/systemd/resolve/stub-resolv.conf";

/// systemd-resolved runs here, so that the host's own look-ups can be pointed at us.
bool resolved_runs();

/// Has systemd-resolved ask `server` for names under `domain`, on the link `interface`, and for nothing else: the host
/// then resolves guests by name. At run time only; goes with the link or with forget_in_resolved().
Result<void> tell_resolved(managers::Runner& runner, const std::string& interface, Ipv4 server,
                           const std::string& domain);
/// Success also when the link or systemd-resolved is gone.
Result<void> forget_in_resolved(managers::Runner& runner, const std::string& interface);

}  // namespace vmrouter
