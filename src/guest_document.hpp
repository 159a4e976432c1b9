#pragma once

// What an instance knows of one guest, for doctor: what it asked for, what came of it, what of it was blocked.

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "dhcp/history.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dns/policy.hpp"
#include "firewall/blocked.hpp"
#include "src/base/clock.hpp"
#include "src/link/facts.hpp"

namespace vmrouter {

/// Where to look.
struct GuestSources {
    std::span<const dhcp::Lease> leases;
    const dhcp::Reservations* reservations = nullptr;
    const dhcp::GuestHistory* history = nullptr;
    const link::HostFacts* facts = nullptr;  ///< names the ports
    std::vector<firewall::Tally> blocked;
    std::vector<dns::GuestQueries> queries;
    bool dns = false;
};

/// {"mac", "address", "state", "expired", "port", "events": [{"message", "verb", "silence", "detail", "count"}],
/// "forged", "queries", "blocked": ["..."]} of the guest that a name, a MAC or an address stands for; unknown is null.
nlohmann::json guest_document(const std::string& guest, const GuestSources& sources, Time now);

}  // namespace vmrouter
