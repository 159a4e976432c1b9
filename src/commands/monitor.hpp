#pragma once

#include <iosfwd>
#include <string>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Prints what happens as it happens, until it is interrupted; goes on when the instance is started again. 1 when it
/// cannot be asked, 2 for a kind of event that there is not.
int monitor(const cli::Monitor& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

/// The full screen of `monitor --top`, until q is pressed; standard output is a terminal.
int monitor_top(const cli::Monitor& options, const std::string& socket, std::ostream& err);

}  // namespace vmrouter
