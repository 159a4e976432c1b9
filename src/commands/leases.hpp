#pragma once

#include <iosfwd>
#include <string>

#include "src/base/clock.hpp"
#include "src/cli.hpp"

namespace vmrouter {

/// Where instances keep their files; other folders in tests.
struct LeaseFolders {
    std::string run = "/run/vmrouter";
    std::string state = "/var/lib/vmrouter";
};

/// The lease table as it stands in a leases file: the one that is named, or the one of the instance that is meant. A
/// running instance keeps it at most a second behind. 0; 1 when it cannot be read, with the reason on `err`; 2 when the
/// configuration that names the instance is wrong.
int leases(const cli::Leases& options, Time now, std::ostream& out, std::ostream& err,
           const LeaseFolders& folders = {});

}  // namespace vmrouter
