#pragma once

// The names that the standards take out of the public tree, and reverse names as addresses.

#include <cstdint>
#include <optional>
#include <vector>

#include "dns/name.hpp"
#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::dns {

enum class ZoneKind : std::uint8_t {
    None,
    Domain,     ///< the guests' own
    Localhost,  ///< it and everything under it is the loopback address (RFC 6761 section 6.3)
    Absent,     ///< it and everything under it does not exist, SOA included (nss-mdns asks for the SOA of "local")
    Empty,      ///< a locally served empty zone (RFC 6303 section 3); DS belongs to its parent and is asked there
    Reverse,    ///< the same, of private addresses
    Resolver,   ///< resolver.arpa: no data at any name of it (RFC 9462 section 6.4)
    Ipv4Only,   ///< ipv4only.arpa (RFC 8880)
};

struct Zone {
    Name name;
    ZoneKind kind;
};

/// RFC 6303 and 7793 (reverse zones), 6761 (invalid, localhost, test), 6762 (local), 7686 (onion), 9476 (alt), 8375
/// (home.arpa), 9462 (resolver.arpa), 9665 (service.arpa), 8880 (ipv4only.arpa).
std::vector<Zone> special_zones();

/// Top-level domains that only ever name things on somebody's own network (RFC 6762 appendix G; none is delegated).
std::vector<Name> lan_domains();

/// What a name under in-addr.arpa speaks of.
struct Reverse4 {
    Ipv4 first;              ///< with the octets that are missing zero
    std::size_t octets = 0;  ///< 1 to 4: how many there are
    bool whole = false;      ///< nothing but these octets in front of in-addr.arpa
    [[nodiscard]] Cidr prefix() const { return {first, static_cast<std::uint8_t>(8 * octets)}; }
};
std::optional<Reverse4> parse_reverse4(const Suffixes& suffixes);
/// Only a whole address of 32 nibbles under ip6.arpa.
std::optional<Ipv6> parse_reverse6(const Suffixes& suffixes);

Name reverse_name(Ipv4 address);
Name reverse_name(const Ipv6& address);

}  // namespace vmrouter::dns
