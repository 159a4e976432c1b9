#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firewall/nft.hpp"
#include "firewall/obstacle.hpp"
#include "src/base/result.hpp"
#include "src/managers/runner.hpp"

namespace vmrouter::managers {

/// Whatever of other firewalls on this machine drops what guests on `segment` send or get, with what was done about it
/// and what can be done: nftables with iptables-nft and firewalld, iptables-legacy, and bridged frames that are sent
/// through all of them (bridge-nf-call-iptables). Reads only.
Result<std::vector<firewall::Obstacle>> firewall_obstacles(firewall::Nft& nft, Runner& runner, std::uint32_t mark,
                                                           const std::string& segment);

}  // namespace vmrouter::managers
