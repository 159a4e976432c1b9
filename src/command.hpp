#pragma once

#include <string>
#include <vector>

#include "src/base/clock.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// Runs a program to its end, without a shell, stdin from /dev/null, and returns what it printed on stdout. `arguments`
/// begins with the program's name, looked up in the usual system folders only. Fails when it is not there, ends with
/// another status than 0 (then the error has the last line that it printed on stderr), or takes longer than `limit`
/// (then it is killed). Blocks: for start-up, shutdown and the commands.
Result<std::string> run_command(const std::vector<std::string>& arguments, Milliseconds limit = Milliseconds{5000});

/// Where the program is, "/usr/bin/nmcli"; empty when it is not there.
std::string find_program(const std::string& name);

}  // namespace vmrouter
