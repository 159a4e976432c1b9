#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Proves the isolation of a running instance with throw-away guests: what was tried, what was expected, what happened.
/// 0 when nothing surprised, 1 for a surprise or when it could not be tried, 2 for a wrong configuration. With --repeat
/// it goes on, once more for each line of `in`.
int verify(const cli::Verify& options, std::istream& in, std::ostream& out, std::ostream& err,
           const Folders& folders = {});

}  // namespace vmrouter
