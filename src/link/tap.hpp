#pragma once

#include <sys/types.h>

#include <string_view>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// Creates a tap that outlives its maker and that `owner` may open without privileges (`vmrouter tap`): down, without
/// an IPv6 address of its own, marked as ours. Refused when a link of that name exists.
Result<void> create_tap(Netlink& netlink, std::string_view name, uid_t owner);

}  // namespace vmrouter::link
