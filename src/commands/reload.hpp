#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// The instance reads its configuration anew, and says whether it is in force: 0, or 1 with what is wrong with it.
int reload(const cli::Reload& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
