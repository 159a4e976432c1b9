#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vmrouter {

/// Prometheus' text exposition (version 0.0.4) of what `status --json` says: `status` is that document. Guests' bytes
/// are escaped.
std::string metrics_text(const nlohmann::json& status);

}  // namespace vmrouter
