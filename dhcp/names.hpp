#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/message.hpp"
#include "dhcp/server.hpp"

namespace vmrouter::dhcp {

/// The host part of a name as a client sends it: up to the first dot, one letter or digit, then letters, digits, '-'
/// and '_', at most 63 bytes, trailing NULs removed. Case is kept. nullopt: not legal.
std::optional<std::string> legal_name(std::string_view text);

/// The name that a client claims: option 81 (RFC 4702, both encodings), else option 12. As it came; may be empty.
std::string claimed_name(const Message& message);

/// Why a client's name was not accepted.
enum class NameRefusal : std::uint8_t {
    None,
    Illegal,       ///< not a host name
    Forbidden,     ///< wpad, localhost, isatap: names that other guests' software trusts
    OurHost,       ///< a name of this machine
    Reserved,      ///< a reservation gives it to another client
    TakenByGuest,  ///< a lease of another guest has it
};
std::string_view to_string(NameRefusal refusal);

struct NameChoice {
    std::string name;                         ///< empty: none
    bool reserved = false;                    ///< from the reservation
    NameRefusal refusal = NameRefusal::None;  ///< of what the client claimed, when that was not taken
};

/// The name for a lease of `address`: the reservation's, else the client's when nobody else has a right to it.
NameChoice choose_name(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                       const HostEntry* host, const Message& message, Ipv4 address);

/// Option 81 of the reply (RFC 4702 section 4): flags, 255, 255, name in the encoding of the request.
std::vector<std::uint8_t> encode_client_fqdn(Bytes request, std::string_view name, std::string_view domain);

}  // namespace vmrouter::dhcp
