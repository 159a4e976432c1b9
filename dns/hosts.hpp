#pragma once

#include <cstddef>
#include <string_view>
#include <variant>
#include <vector>

#include "dns/name.hpp"
#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::dns {

/// A name that the administrator gave, in `records` or in a hosts file. Several may share a name.
struct HostRecord {
    Name name;
    std::variant<Ipv4, Ipv6> address;
};

/// The names of a text in hosts(5) form, comments and all. Lines that make no sense are skipped and counted.
std::vector<HostRecord> parse_hosts(std::string_view text, std::size_t* bad_lines = nullptr);

}  // namespace vmrouter::dns
