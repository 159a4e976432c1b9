#pragma once

#include <string_view>
#include <vector>

#include "src/base/result.hpp"
#include "src/link/facts.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// Asks the kernel for everything in HostFacts: four dumps, two route look-ups and a few files, about a millisecond on
/// an ordinary machine. When `segment` is up and has an address, the look-ups are made as for a packet that a guest
/// sends and the firewall lets pass with `mark` (firewall.mark): rules with `iif` and `fwmark` count, and the dead
/// man's switch does not answer; otherwise as for the host's own.
Result<HostFacts> read_host_facts(Netlink& netlink, std::string_view segment, std::uint32_t mark = 0);

/// The parts alone, for callers that follow one kind of event.
Result<std::vector<Link>> read_links(Netlink& netlink);
Result<std::vector<Address4>> read_addresses(Netlink& netlink);
Result<std::vector<Address6>> read_addresses6(Netlink& netlink);
Result<std::vector<Rule>> read_rules(Netlink& netlink);

}  // namespace vmrouter::link
