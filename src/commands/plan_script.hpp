#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firewall/foreign.hpp"
#include "src/link/facts.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// A word for a POSIX shell: as it is when it is harmless, else in single quotes.
std::string shell_word(std::string_view text);

/// What the shell script is made of beside the plan.
struct ScriptFacts {
    const link::HostFacts& host;
    std::vector<firewall::ForeignChain> chains;  ///< of others, that would drop our traffic
    bool chains_known = false;                   ///< false: the rules of the kernel could not be read
};

/// The plan as a POSIX script that takes `up` or `down`: the same links, addresses, settings, rules and routing rules
/// as vmrouter makes, in its order, with the old values kept in a file below /run for the way down. Pure.
std::string plan_script(const Plan& plan, const ScriptFacts& facts);

}  // namespace vmrouter
