#pragma once

// Who the guests are, seen by the modules that are not DHCP: names for DNS, bindings for the firewall, addresses for
// published ports. Derived from leases and reservations whenever somebody asks; nothing is kept.

#include <optional>
#include <string_view>
#include <vector>

#include "conf/config.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dns/local.hpp"
#include "firewall/blocked.hpp"
#include "firewall/policy.hpp"
#include "src/link/facts.hpp"

namespace vmrouter {

/// Where leases and reservations are; either may be missing (dhcp.enabled = false).
class GuestDirectory {
public:
    virtual ~GuestDirectory() = default;
    [[nodiscard]] virtual const dhcp::LeaseTable* leases() const = 0;
    [[nodiscard]] virtual const dhcp::Reservations* reservations() const = 0;
};

/// Names of guests for DNS: reservations first, so that a claimed name never hides a reserved one.
class GuestNames final : public dns::Names {
public:
    explicit GuestNames(const GuestDirectory& directory) : directory_(directory) {}

    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override;
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override;
    /// The name of a guest that is known by its MAC; empty when it has none.
    [[nodiscard]] std::string_view name_of(const MacAddress& mac) const;
    /// Who made a blocked attempt: by its MAC where that is known, since a source address may be forged.
    [[nodiscard]] std::string_view name_of(const firewall::Attempt& attempt) const;

private:
    const GuestDirectory& directory_;
};

/// The address that belongs to what [[firewall.forward]] names, or nullopt: a reserved name's reservation or lease, a
/// MAC's, or the address itself. Never a name that a guest merely claims.
std::optional<Ipv4> resolve_guest(const GuestDirectory& directory, const decltype(conf::Forward::guest)& guest);

/// The MAC and address of a lease that is bound, as the firewall knows it, held to the bridge port it came through
/// while that port is up; nullopt for other states and for hardware that is no Ethernet.
std::optional<firewall::Binding> binding_of(const dhcp::Lease& lease, const link::HostFacts& facts);

/// All that are bound now, and all that are reserved to a MAC.
std::vector<firewall::Binding> bindings(const GuestDirectory& directory, const link::HostFacts& facts);

}  // namespace vmrouter
