#pragma once

// Events as `monitor --json` prints them: {"time", "event", ...}, "time" in seconds since the epoch. What is about a
// guest has "guest" (its name), "address" and "mac"; unknown is null.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/lease.hpp"
#include "dns/service.hpp"
#include "firewall/blocked.hpp"
#include "firewall/judge.hpp"
#include "src/base/clock.hpp"
#include "src/link/lan.hpp"

namespace vmrouter {

/// Whom an event is about.
struct GuestLabel {
    Ipv4 address;
    std::string name;  ///< may be empty
    std::string mac;   ///< may be empty
};

/// "tcp", "udp", "icmp", or the number.
std::string protocol_name(std::uint8_t protocol);

nlohmann::json lease_event(const dhcp::AppliedChange& change, Time now);
nlohmann::json dns_event(const dns::QueryEvent& query, const GuestLabel& guest, Time now);
/// A connection of a guest began; `name` is what the guest resolved to the other end, if it did.
nlohmann::json flow_event(const firewall::Flow& flow, bool outwards, const GuestLabel& guest, std::string_view name,
                          Time now);
nlohmann::json blocked_event(const firewall::Attempt& attempt, const GuestLabel& guest, std::string_view name,
                             Time now);
nlohmann::json upstream_event(const dns::Endpoint& upstream, dns::Health before, dns::Health after, Time now);
nlohmann::json uplink_event(const std::vector<link::Uplink>& uplinks, Time now);
nlohmann::json port_event(std::string_view port, bool joined, Time now);
/// Somebody changed our rules, or something that was removed is back.
nlohmann::json rules_event(std::string_view what, std::string_view process, std::uint32_t pid, Time now);
/// So many events of a kind were left out, because there were too many of them.
nlohmann::json skipped_event(std::string_view kind, std::uint64_t count, Time now);

}  // namespace vmrouter
