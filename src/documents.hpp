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
#include "firewall/obstacle.hpp"
#include "src/guests.hpp"
#include "src/plan.hpp"
#include "src/privileged.hpp"

namespace vmrouter {

/// lease_document() of each.
nlohmann::json leases_document(std::span<const dhcp::Lease> leases, Time now);

/// What `status` is made of.
struct StatusParts {
    const Plan& plan;
    const link::HostFacts& facts;
    const GuestNames& names;
    Time started;
    Time now;
    std::vector<HealthItem> health;
    std::vector<firewall::Counter> counters;
    std::vector<dhcp::Lease> leases;
    std::vector<firewall::Tally> blocked;
    std::vector<firewall::Traffic> traffic;
    std::vector<firewall::Obstacle> others;
    const dhcp::Service* dhcp = nullptr;
    const dns::Service* dns = nullptr;
};
nlohmann::json status_document(const StatusParts& parts);

/// Everybody who has a lease or was heard, by address: {"address", "mac", "name", "port", "last_seen", "sent",
/// "received", "blocked"}.
nlohmann::json guests_document(const StatusParts& parts);

}  // namespace vmrouter
