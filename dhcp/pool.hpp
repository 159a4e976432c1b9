#pragma once

#include <cstdint>
#include <optional>

#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/message.hpp"
#include "dhcp/server.hpp"

namespace vmrouter::dhcp {

/// SDBM over the hardware address, in 32 bits, 0 becomes 1; exactly dnsmasq's, so that a segment that was served by it
/// keeps its addresses.
std::uint32_t address_hash(Bytes hardware);

/// May this address be given to a client that has no reservation for it? In the range, not ours, not reserved, not
/// network or broadcast address, and not .0 or .255 in class C space.
bool usable(const ServerConfig& config, const Reservations& reservations, Ipv4 address);

/// The free address for a client that has none: its previous one, the one it asks for, then by hash of its hardware
/// address and on from there; addresses that others held before come last. nullopt: the pool is exhausted.
std::optional<Ipv4> choose_free(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                                const HardwareAddress& hardware, Bytes client_id, std::optional<Ipv4> requested);

}  // namespace vmrouter::dhcp
