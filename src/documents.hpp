#pragma once

// The JSON that crosses the control socket and that --json prints: one shape for both. Keys are snake_case and only
// ever added; unknown is null.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "dhcp/lease.hpp"
#include "dhcp/service.hpp"
#include "dns/service.hpp"
#include "firewall/blocked.hpp"
#include "firewall/live.hpp"
#include "src/guests.hpp"
#include "src/plan.hpp"
#include "src/privileged.hpp"

namespace vmrouter {

/// {"address", "mac", "name", "client_id", "expires", "state", "last_seen"}
nlohmann::json lease_document(const dhcp::Lease& lease);
nlohmann::json leases_document(std::span<const dhcp::Lease> leases);

/// {"time", "event": "query", ...}
nlohmann::json query_event(const dns::QueryEvent& event, std::string_view guest, Time now);
nlohmann::json lease_event(const dhcp::AppliedChange& change, Time now);
nlohmann::json blocked_event(const firewall::Attempt& attempt, std::string_view guest, Time now);

/// What `status` is made of.
struct StatusParts {
    const Plan& plan;
    std::vector<HealthItem> health;
    std::vector<firewall::Counter> counters;
    std::vector<dhcp::Lease> leases;
    std::vector<firewall::Tally> blocked;
    const GuestNames* names = nullptr;  ///< of those who were blocked
    const dhcp::Service* dhcp = nullptr;
    const dns::Service* dns = nullptr;
};
nlohmann::json status_document(const StatusParts& parts);

/// Seconds since the epoch, or null.
nlohmann::json seconds_or_null(const std::optional<Time>& time);

}  // namespace vmrouter
