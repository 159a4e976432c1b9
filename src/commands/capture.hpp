#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Records what passes the ports of the segment (or of one guest) as pcapng, until it is interrupted. 0; 1 when that is
/// not possible; 2 for a filter that does not compile.
int capture(const cli::Capture& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
