#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/clock.hpp"
#include "src/base/terminal.hpp"
#include "src/cli.hpp"
#include "src/commands/vendor.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// The leases of the instance that is meant, or of a leases file that needs no instance; or drops or pins one. 0; 1
/// with the reason on `err` when that cannot be done.
int leases(const cli::Leases& options, Time now, std::ostream& out, std::ostream& err, const Folders& folders = {});

/// The table for people: `list` is what `leases --json` prints.
std::string leases_table(const nlohmann::json& list, Time now, const Terminal& terminal);

/// Gives each object of a list with a "mac" its "vendor", or null.
void add_vendors(nlohmann::json& list, Vendors& vendors);

}  // namespace vmrouter
