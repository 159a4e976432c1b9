#pragma once

// Who stands in the way: the process behind a busy port, for error messages.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/ip4.hpp"

namespace vmrouter::link {

enum class Protocol { Udp, Tcp };

struct PortOwner {
    pid_t pid = 0;  ///< 0: not found (another pid namespace, or it ended)
    std::string program;
    std::string address;  ///< what it is bound to, "0.0.0.0:53" or "[::]:53"
    friend bool operator==(const PortOwner&, const PortOwner&) = default;
};

/// The sockets that are bound to `port` so that binding `address` to it fails: on that address or on every one, IPv6
/// wildcards included; TCP only listeners. Reads /proc/net and /proc/PID/fd.
std::vector<PortOwner> port_owners(Protocol protocol, Ipv4 address, std::uint16_t port);

/// "dnsmasq (pid 812) holds 0.0.0.0:53"; empty when nobody was found.
std::string describe(const std::vector<PortOwner>& owners);

}  // namespace vmrouter::link
