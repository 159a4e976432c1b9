#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"
#include "src/base/result.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// Adds `address` with its directed broadcast address (none for /31 and /32). Success also when it is there already.
Result<void> add_address(Netlink& netlink, std::string_view link, const Cidr& address);
/// Success also when the address or the link is not there.
Result<void> remove_address(Netlink& netlink, std::string_view link, const Cidr& address);

/// For putting back what disable_ipv6 took away; `flags` as in Address6. Success also when it is there already, or the
/// link is gone.
Result<void> add_address6(Netlink& netlink, std::string_view link, const Ipv6& address, std::uint8_t length,
                          std::uint32_t flags);

/// Success also when the address or the link is not there.
Result<void> remove_address6(Netlink& netlink, std::string_view link, const Ipv6& address, std::uint8_t length);

/// fe80::/64
bool is_link_local(const Ipv6& address);
/// The address that the kernel makes of a MAC (RFC 4291, appendix A).
Ipv6 link_local_of(const MacAddress& mac);

/// Forgets the neighbours in `network` that the kernel has learnt on the link (not those that somebody set). Success
/// also when there are none.
Result<void> flush_neighbours(Netlink& netlink, std::string_view link, const Cidr& network);

}  // namespace vmrouter::link
