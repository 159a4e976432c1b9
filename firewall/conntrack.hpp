#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "firewall/judge.hpp"
#include "firewall/policy.hpp"
#include "src/base/result.hpp"

struct nlmsghdr;

namespace vmrouter::firewall {

/// The flow that a message of ctnetlink is about.
Flow parse_flow(const nlmsghdr& message);

/// Every IPv4 flow that the kernel knows. Needs CAP_NET_ADMIN.
Result<std::vector<Flow>> flows();

/// Deletes the flows for which `doomed` is true; how many. One that ended meanwhile is no error.
Result<std::size_t> cut(const std::function<bool(const Flow&)>& doomed);

/// Deletes every flow of the segment that the policy no longer allows: call it at start, after a repair and after each
/// change of policy, LAN prefixes, bindings or forwards.
Result<std::size_t> cut_forbidden(const Policy& policy);

/// Deletes every flow of these guests (their leases ended or went to somebody else). Reads the whole table once, which
/// takes a second for a million flows.
Result<std::size_t> cut_guests(const Policy& policy, std::span<const Ipv4> guests);

}  // namespace vmrouter::firewall
