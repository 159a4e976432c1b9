#pragma once

// What the contract promises and this version does not have yet. Asking for it is an error at the place where it is
// asked for; a default that would be on is off, and `check` says so. A function that lands is one row less.

#include <span>
#include <string_view>

#include "conf/config.hpp"
#include "conf/load.hpp"
#include "conf/report.hpp"

namespace vmrouter::conf {

/// One function that is not there yet.
struct UnavailableRow {
    std::string_view key;           ///< "control.sandbox"; for arrays of tables its name, "usermode"
    bool (*active)(const Config&);  ///< whether the configuration asks for it
    void (*disable)(Config&);       ///< switches it off
    std::string_view what;          ///< "the sandbox", for messages
};

/// The table itself; rows are removed as functions land.
std::span<const UnavailableRow> unavailable();

/// Errors for rows that the user asks for, in `report`; rows that are active by default are switched off in `config`
/// and returned.
std::vector<Unavailable> apply_availability(std::span<const UnavailableRow> rows, Config& config, const Places& places,
                                            Report& report);

}  // namespace vmrouter::conf
