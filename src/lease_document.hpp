#pragma once

// Leases as JSON: what crosses the control socket and what `leases --json` prints.

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "dhcp/lease.hpp"
#include "src/base/clock.hpp"

namespace vmrouter {

/// {"address", "mac", "name", "client_id", "expires", "state", "last_seen"}; unknown is null, and `state` is "expired"
/// for one whose time is over.
nlohmann::json lease_document(const dhcp::Lease& lease, Time now);

/// Seconds since the epoch, or null.
nlohmann::json seconds_or_null(const std::optional<Time>& time);

/// null for empty text.
nlohmann::json text_or_null(std::string_view text);

}  // namespace vmrouter
