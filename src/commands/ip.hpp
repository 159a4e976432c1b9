#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// A guest's address, alone on its line: found by its name or MAC among the leases, or waited for. 0, or 1 when there
/// is none.
int ip(const cli::Ip& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
