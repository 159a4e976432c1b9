#pragma once

#include <iosfwd>

#include "src/cli.hpp"

namespace vmrouter {

/// Validates a configuration: errors and warnings go to `err`, what this version lacks and the verdict to `out`.
/// Touches nothing but the file. 0 when it can be used, 2 when not.
int check(const cli::Check& options, std::ostream& out, std::ostream& err);

}  // namespace vmrouter
