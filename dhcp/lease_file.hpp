#pragma once

// The leases file in dnsmasq's format, which exporters, VM managers and scripts read:
//
//   1795346423 52:54:00:cc:00:01 192.168.77.197 vmA 01:52:54:00:cc:00:01
//
// expiry in seconds since the epoch (0: never), hardware address, address, host name, client-id; "*" for what there is
// not; one space between. Newest lease first, as dnsmasq writes it; a renewal keeps its place.

#include <cstddef>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dhcp/journal.hpp"
#include "dhcp/lease.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dhcp {

/// One line, newline included.
std::string lease_line(const Lease& lease);

struct LeaseFileContent {
    std::vector<Lease> leases;  ///< in file order, ended ones included; of two lines for one address the first
    std::vector<BadLine> bad;
    std::size_t skipped = 0;  ///< lines that belong to DHCPv6
};

/// Reads a leases file, ours or dnsmasq's; any bytes, never fails as a whole.
LeaseFileContent parse_lease_file(std::string_view text);

/// The leases file in memory, kept line by line, so that a change costs a line and not a walk over all leases.
class LeaseFileImage {
public:
    /// A Bound lease gets its line, any other state has none.
    void put(const Lease& lease);
    void erase(Ipv4 address);
    void apply(const AppliedChange& change);
    /// The whole file.
    [[nodiscard]] std::string text() const;
    [[nodiscard]] bool contains(Ipv4 address) const { return by_address_.contains(address); }
    [[nodiscard]] std::vector<Ipv4> oldest_first() const;

private:
    struct Line {
        Ipv4 address;
        std::string text;
    };
    std::list<Line> lines_;  ///< newest first
    std::unordered_map<Ipv4, std::list<Line>::iterator> by_address_;
    std::size_t size_ = 0;  ///< bytes in all lines
};

}  // namespace vmrouter::dhcp
