#pragma once

#include <iosfwd>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Everything that would be done, without root and without doing it. 0, 1 when the machine does not allow it, 2 for a
/// wrong configuration.
int plan(const cli::Plan& options, std::ostream& out, std::ostream& err);

/// The plan for people: what will be created and changed, in the order in which it happens.
void print_plan(std::ostream& out, const Plan& plan);

}  // namespace vmrouter
