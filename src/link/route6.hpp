#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip6.hpp"
#include "src/base/result.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// An IPv6 route through one interface, for putting it back after disable_ipv6. Everything but the interface's number
/// is kept as the kernel told it (metrics, preference, encapsulation), so that what comes back is what was there.
struct KeptRoute6 {
    Ipv6 destination;
    std::uint8_t length = 0;
    std::string message;  ///< rtmsg and attributes, hexadecimal, as for RTM_NEWROUTE without RTA_OIF
    friend bool operator==(const KeptRoute6&, const KeptRoute6&) = default;
};

/// The routes through `link` that somebody set: neither the kernel's own nor those learnt from router advertisements,
/// which come back by themselves. Of a route with several next hops, the one through `link`.
Result<std::vector<KeptRoute6>> read_set_routes6(Netlink& netlink, std::string_view link);

/// Success also when it is there already, or the link is gone.
Result<void> add_route6(Netlink& netlink, std::string_view link, const KeptRoute6& route);

}  // namespace vmrouter::link
