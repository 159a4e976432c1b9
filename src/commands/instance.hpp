#pragma once

#include <optional>
#include <string>

#include "src/base/result.hpp"
#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// The instance that --instance, --interface, --bridge or the configuration file names; nullopt when none of them was
/// given.
std::optional<std::string> named_instance(const cli::Instance& instance);

/// The control socket of the instance that is meant: the named one, or the only one that runs. Fails when none runs, or
/// when there are several and none was named.
Result<std::string> control_socket(const cli::Instance& instance, const Folders& folders = {});

}  // namespace vmrouter
