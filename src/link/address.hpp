#pragma once

#include <string_view>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// Adds `address` with its directed broadcast address (none for /31 and /32). Success also when it is there already.
Result<void> add_address(Netlink& netlink, std::string_view link, const Cidr& address);
/// Success also when the address or the link is not there.
Result<void> remove_address(Netlink& netlink, std::string_view link, const Cidr& address);

}  // namespace vmrouter::link
