#pragma once

// Netlink messages to values, shared by the dumps (host) and the events (monitor). Internal to src/link.

#include <optional>

#include "src/link/bridge.hpp"
#include "src/link/facts.hpp"

struct nlmsghdr;

namespace vmrouter::link {

/// RTM_NEWLINK and RTM_DELLINK of any family. nullopt: malformed.
std::optional<Link> parse_link(const nlmsghdr& message);
/// The bridge's view of a port, from the same message; nullopt when the link is no bridge port.
std::optional<Port> parse_port(const nlmsghdr& message);
/// RTM_NEWADDR of family AF_INET.
std::optional<Address4> parse_address4(const nlmsghdr& message);
/// RTM_NEWADDR of family AF_INET6.
std::optional<Address6> parse_address6(const nlmsghdr& message);
/// RTM_NEWROUTE of family AF_INET.
std::optional<Route> parse_route(const nlmsghdr& message);
/// RTM_NEWROUTE of family AF_INET6; not what the kernel has merely cached.
std::optional<Route6> parse_route6(const nlmsghdr& message);
/// RTM_NEWRULE of family AF_INET.
std::optional<Rule> parse_rule(const nlmsghdr& message);

}  // namespace vmrouter::link
