#pragma once

// What the log says of the isolation when vmrouter starts: one line that is true for every configuration.

#include <cstddef>
#include <string>

#include "conf/config.hpp"

namespace vmrouter {

/// "the LAN (1 network), this host and all IPv6; guests reach the internet and nothing else": what is refused, and what
/// of it the configuration opens. `networks`: of the host, which are refused as the LAN now.
std::string isolation_line(const conf::Config& config, std::size_t networks);

}  // namespace vmrouter
