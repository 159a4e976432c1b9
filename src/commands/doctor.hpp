#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// What on this machine gets in the way of guests' network, or why one guest has none; each with where it is and what
/// to do. 0 when nothing is in the way, 1 when something is, 2 for a wrong configuration.
int doctor(const cli::Doctor& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
