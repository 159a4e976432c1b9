#pragma once

#include <vector>

#include "conf/config.hpp"
#include "conf/load.hpp"
#include "conf/report.hpp"

namespace vmrouter::conf {

/// Rules across keys: contradictions, duplicates, addresses outside their network. Keys that were refused on their own
/// (Report::is_spoiled) are left out, so that one mistake is one message.
void validate(const Config& config, const Places& places, Report& report);

/// The rules that need our address on the segment. validate() applies them to an explicit network.address; once "auto"
/// has been decided, its caller applies them to what it became.
std::vector<Diagnostic> check_addresses(const Config& config, const Cidr& address, const Places& places);

}  // namespace vmrouter::conf
