#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/clock.hpp"
#include "src/base/terminal.hpp"
#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// What the instance serves, to whom, through what, and whether it is healthy. 0, or 1 when it cannot be asked.
int status(const cli::Status& options, Time now, std::ostream& out, std::ostream& err, const Folders& folders = {});

/// The screen for people; `document` is what `status --json` prints.
std::string status_screen(const nlohmann::json& document, Time now, const Terminal& terminal);

}  // namespace vmrouter
