#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Undoes what an instance that was killed left behind, newest change first, and says what. 0 when the machine is as it
/// was before the first start, 1 when something could not be undone or the instance still runs.
int down(const cli::Down& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

}  // namespace vmrouter
