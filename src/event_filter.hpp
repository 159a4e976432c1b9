#pragma once

// Which events a client of `monitor` gets: filtered by the instance, so that what nobody wants costs nothing.

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter {

/// What there is to follow: the `event` of each object. "skipped" says that some were left out for their number.
inline constexpr std::array event_kinds = {"lease", "dns", "flow", "blocked", "upstream", "uplink", "port", "rules"};

/// Whether a document with "guest" (or "name"), "mac" and "address" is about the guest that somebody named: by its host
/// name with or without a domain, its MAC address or its address.
bool is_guest(const nlohmann::json& document, std::string_view wanted);

class EventFilter {
public:
    /// From the members of a `monitor` request: "only" (a list of kinds, also in the plural) and "guest". Fails with
    /// the kinds that there are.
    static Result<EventFilter> from_request(const nlohmann::json& request);

    /// Whether events of this kind are worth making.
    [[nodiscard]] bool wants(std::string_view kind) const;
    [[nodiscard]] bool admits(const nlohmann::json& event) const;

private:
    std::vector<std::string> only_;  ///< empty: all
    std::string guest_;              ///< empty: all
};

}  // namespace vmrouter
