#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"

namespace vmrouter {

struct AddressChoice {
    Cidr address;                       ///< ours on the segment, with its prefix length
    std::vector<std::string> warnings;  ///< for the log, one sentence each
    friend bool operator==(const AddressChoice&, const AddressChoice&) = default;
};

/// `address = "auto"`: `remembered` (the state file's) as long as it overlaps no network of the host, then
/// 192.168.100.1/24, the next 192.168.x.1/24, 172.16.0.0/12 and 10.0.0.0/8 likewise. Networks are those of addresses
/// and of routes in every table, and `taken` (other instances'). What is on the segment itself counts too, unless it is
/// the very address that is asked about: an instance that was killed left it there.
Result<AddressChoice> choose_address(const link::HostFacts& facts, std::string_view segment,
                                     std::optional<Cidr> remembered, std::span<const Cidr> taken = {});

/// An address that the configuration gives: refused when its network equals one of the host's, or covers an address or
/// a gateway of the host; warned about when it lies inside a wider one or covers a narrower one. What is on the segment
/// itself does not count.
Result<AddressChoice> check_address(const link::HostFacts& facts, std::string_view segment, const Cidr& configured);

}  // namespace vmrouter
