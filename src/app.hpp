#pragma once

#include <functional>

#include "conf/load.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// How to get the configuration, at the start and at every reload.
using LoadConfig = std::function<conf::Loaded()>;

/// Runs one instance in the foreground until SIGTERM or SIGINT, then leaves the machine as it was found. The exit
/// status: 0 after a clean stop, 1 for a failure, 2 for a configuration that is wrong.
int run(const LoadConfig& load, const Folders& folders = {});

/// What the plan needs to know beside the configuration: the address chosen earlier, the machine's id.
Result<PlanContext> make_context(const conf::Config& config, const Folders& folders);

/// Prints errors and warnings of a configuration to stderr; true when it can be used.
bool report(const conf::Loaded& loaded);

}  // namespace vmrouter
