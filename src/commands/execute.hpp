#pragma once

#include "src/cli.hpp"

namespace vmrouter {

/// Does what the command line asks for; the exit status: 0 for success, 1 for a failure, 2 for a wrong configuration.
int execute(const cli::Command& command);

}  // namespace vmrouter
