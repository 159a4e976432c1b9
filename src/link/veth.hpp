#pragma once

// A throw-away guest's cable: a veth pair with its far end in a network namespace without a name. The namespace lives
// as long as somebody holds its descriptor, and takes the pair along, so that a kill leaves nothing behind.

#include <functional>
#include <optional>
#include <string_view>

#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// A new network namespace; the calling thread stays where it is.
Result<FileDescriptor> make_namespace();
/// Does `work` with the calling thread in that namespace, and comes back. Ends the process when there is no way back.
Result<void> in_namespace(const FileDescriptor& space, const std::function<Result<void>()>& work);

/// `name` here (with a MAC that the kernel draws, unless one is given) and `peer` with its MAC in `space`, both down,
/// neither with an IPv6 address of its own.
Result<void> create_veth(Netlink& netlink, std::string_view name, std::optional<MacAddress> mac, std::string_view peer,
                         const MacAddress& peer_mac, const FileDescriptor& space);

/// What arrives on `from` goes on as if it had arrived on `to` (the kernel's mirred action, by a filter on `from`
/// alone; it goes with `from`).
Result<void> redirect_arrivals(Netlink& netlink, std::string_view from, std::string_view to);

}  // namespace vmrouter::link
