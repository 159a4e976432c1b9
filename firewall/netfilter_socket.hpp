#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

struct nlmsghdr;

namespace vmrouter::firewall {

/// A non-blocking NETLINK_NETFILTER socket with a receive buffer of `buffer` bytes (as far as we may).
Result<FileDescriptor> open_netfilter_socket(std::size_t buffer = 1 << 20);

/// Sends finished netlink messages as one datagram and waits (at most a second) for what the kernel answers, up to its
/// acknowledgement or the end of the dump. `each` sees every message in between; the kernel's errno comes back as the
/// value: 0 is success. An Error means that the conversation itself failed.
Result<int> netfilter_exchange(int socket, Bytes messages, const std::function<void(const nlmsghdr&)>& each = {});

}  // namespace vmrouter::firewall
