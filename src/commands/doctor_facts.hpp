#pragma once

// Looking at the machine for doctor. Reads, asks the running instance and the name servers, sends one DISCOVER and one
// ARP question into the segment; changes nothing.

#include <optional>
#include <string>

#include "src/base/result.hpp"
#include "src/cli.hpp"
#include "src/commands/doctor_findings.hpp"
#include "src/plan.hpp"

namespace vmrouter::diagnosis {

/// What doctor is about: a running instance, a configuration, or the machine in general. An error for a configuration
/// that cannot be used.
Result<Facts> gather(const cli::Instance& instance, const Folders& folders);

/// One guest, by name, MAC or address. `facts` are gather()'s.
GuestFacts gather_guest(const std::string& guest, const Facts& facts, const Folders& folders);

}  // namespace vmrouter::diagnosis
