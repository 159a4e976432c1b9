#pragma once

// Reservations: lines of a hosts file in dnsmasq's dhcp-hostsfile format, and [[dhcp.host]] tables of the
// configuration. What dnsmasq misreads in silence (a MAC with dashes becomes a host name) is an error here that skips
// its line only.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/hardware.hpp"
#include "dhcp/lease.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

/// A hardware address in which bytes may be '*'.
struct HardwarePattern {
    HardwareAddress address;      ///< wildcard bytes are zero
    std::uint16_t wildcards = 0;  ///< bit n: byte n is '*'

    /// "52:54:00:*:*:*", "06-52:54:..", "52:54:0:ee:0:9"; nullopt for anything else.
    static std::optional<HardwarePattern> parse(std::string_view text);
    [[nodiscard]] bool exact() const { return wildcards == 0; }
    [[nodiscard]] bool matches(const HardwareAddress& hardware) const;

    friend bool operator==(const HardwarePattern&, const HardwarePattern&) = default;
};
std::string to_string(const HardwarePattern& pattern);

/// One reservation.
struct HostEntry {
    std::vector<HardwarePattern> macs;
    std::vector<std::uint8_t> client_id;  ///< empty: none
    bool ignore_client_id = false;        ///< id:*
    std::optional<Ipv4> address;
    std::string name;                   ///< host part, legal; empty: none
    std::optional<Seconds> lease_time;  ///< at least 120 s, or infinite
    bool ignore = false;                ///< never answer
    std::vector<std::string> set_tags;  ///< set:
    std::vector<std::string> tags;      ///< tag:, all must hold; "!x" negates
    std::string where;                  ///< "hostsfile:12", for messages

    friend bool operator==(const HostEntry&, const HostEntry&) = default;
};

struct HostsFile {
    std::vector<HostEntry> entries;
    std::vector<Error> problems;  ///< one for each line that was skipped, where = "path:line", in file order
};

/// Reads the whole text of a hosts file; any bytes, never fails as a whole. `path` is for messages.
HostsFile parse_hosts_file(std::string_view text, std::string_view path);

/// One line (without comment handling of the file): the text right of dhcp-host=.
Result<HostEntry> parse_host_line(std::string_view line, std::string_view where);

/// Makes a line that parse_host_line reads back; for `leases pin`.
std::string to_line(const HostEntry& entry);

/// All reservations, indexed. Cheap to look up, rebuilt on a change.
class Reservations {
public:
    Reservations() = default;
    /// Configuration first, then the file: of two entries that want the same address, MAC or client-id, or the same
    /// name, the first one holds and the other is reported with both places. Addresses outside `segment`, its network
    /// and broadcast address and `segment.address` (ours) are refused. `interface` is a tag that always holds, as in
    /// dnsmasq.
    static Reservations build(std::vector<HostEntry> configured, std::vector<HostEntry> from_file, const Cidr& segment,
                              std::string_view interface, std::vector<Error>& problems);

    /// The entry for a client: by client-id, exact MAC, then the wildcard with the fewest '*'; entries with tags come
    /// first. nullptr: none.
    [[nodiscard]] const HostEntry* match(const HardwareAddress& hardware, Bytes client_id, bool bootp = false) const;
    [[nodiscard]] const HostEntry* by_address(Ipv4 address) const;
    [[nodiscard]] const HostEntry* by_name(std::string_view name) const;  ///< case-insensitive
    /// The reserved addresses of the range, sorted.
    [[nodiscard]] std::span<const Ipv4> addresses_in(Range range) const;
    [[nodiscard]] std::span<const HostEntry> entries() const { return entries_; }

private:
    struct Index;
    [[nodiscard]] const HostEntry* named(const Index& index, std::string_view name) const;

    std::vector<HostEntry> entries_;
    std::shared_ptr<const Index> index_;
};

}  // namespace vmrouter::dhcp
