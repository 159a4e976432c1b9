#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Has the instance make a tap on its bridge that the user may open; it goes when the instance does. 0, or 1.
int tap(const cli::Tap& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
