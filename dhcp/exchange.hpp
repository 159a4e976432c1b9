#pragma once

// What the parts of the server share while they look at one message; nobody else includes this.

#include <string>
#include <vector>

#include "dhcp/server.hpp"

namespace vmrouter::dhcp {

/// One message and everything it is judged by.
struct Exchange {
    const LeaseTable& leases;
    const ServerConfig& config;
    const Reservations& reservations;
    const Message& message;
    const Context& context;
    Time now;

    const HostEntry* host = nullptr;   ///< its reservation
    std::vector<const Lease*> held{};  ///< its leases and offers
    const Lease* bound = nullptr;      ///< the first lease of those
    const Lease* offer = nullptr;      ///< the first offer of those
};

/// What a probe of the same message has found so far.
struct ProbeOutcome {
    std::optional<Ipv4> silent;  ///< nobody answered for it
    std::optional<ProbeResult> answered;
    unsigned conflicts = 0;  ///< that this message met, `answered` among them
};

// One function a message type (RFC 2131 section 4.3).
Decision on_discover(const Exchange& exchange, const ProbeOutcome& outcome);
Decision on_request(const Exchange& exchange);
Decision on_decline(const Exchange& exchange);
Decision on_release(const Exchange& exchange);
Decision on_inform(const Exchange& exchange);
Decision on_bootp(const Exchange& exchange);

/// The server identifier of replies to this message: ours, or what a relay puts in its place (RFC 5107).
Ipv4 server_id(const ServerConfig& config, const Message& message);

/// Is this lease the client's that sent the message? By the identity policy.
bool same_client(const Lease& lease, const Exchange& exchange);

/// A relay's word alone must not take what a guest on the segment holds.
bool speaks_for_local_client(const Exchange& exchange);

/// Ends a decision without a reply.
Decision silent(Decision decision, Silence reason, Level level = Level::Debug);
Decision start(const Exchange& exchange);
Decision nak(const Exchange& exchange, Decision decision, Ipv4 address, std::string text);
void warn(Decision& decision, Warning::Kind kind, std::string text);

/// "52:54:00:12:34:56 (vm1)", escaped.
std::string client_text(const HardwareAddress& hardware, std::string_view name = {});
std::string client_text(const Exchange& exchange);

/// "for 1h", "for ever".
std::string lifetime_text(Seconds lifetime);

/// Lease time, T1 and T2 for a reply.
struct Terms {
    Seconds lease{0};
    Seconds renew{0};   ///< 0: not sent
    Seconds rebind{0};  ///< 0: not sent
};
/// `fresh`: the client is not known to have had a lease. `renewal`: T1 and T2 are spread (dnsmasq does so, too).
Terms terms(const Exchange& exchange, bool fresh, bool renewal);

/// Why a client that holds nothing may not get a lease now; None: it may. Adds the warning that belongs to it.
Silence limit(const Exchange& exchange, Decision& decision);

/// May `address` be given to this client by its reservation now?
enum class ReservedAddress { None, Available, Unusable };
ReservedAddress reserved_address(const Exchange& exchange, const std::optional<Ipv4>& except = {});

/// The lease as it will be, with all the client told us; for Bound leases with the name chosen.
Lease make_lease(const Exchange& exchange, Ipv4 address, LeaseState state, std::optional<Seconds> lifetime);
/// Adds the changes that give `address` to this client, and take from it and from others what cannot stay beside that.
/// Fills name and detail of the note.
Reply bind(const Exchange& exchange, Decision& decision, Ipv4 address, const Terms& terms);

/// Removes the client's offers but the one of `keep`.
void withdraw_offers(const Exchange& exchange, Decision& decision, const std::optional<Ipv4>& keep);

/// The pool as anybody may have it: without reserved addresses.
struct PoolLevel {
    std::uint64_t used = 0;
    std::uint64_t capacity = 0;
    [[nodiscard]] bool low(unsigned percent, std::uint64_t more = 0) const {
        return (used + more) * 100 >= capacity * percent;
    }
};
PoolLevel pool_level(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations);
/// Is the mark crossed when `more` addresses of the pool are taken?
bool pool_is_low(const Exchange& exchange, std::uint64_t more);

/// A quarter of the pool is in quarantine: no more goes there, and answers to probes count for nothing. A guest that
/// declines, or answers for, every address must take neither the pool nor the service from the others.
bool crowded(const LeaseTable& leases, const ServerConfig& config);
/// Says so when one more quarantine makes it crowded.
void warn_of_crowd(const LeaseTable& leases, const ServerConfig& config, Decision& decision);

/// Adds the quarantine of an address, unless it is crowded there: then the address is only freed. True: it is kept out.
bool quarantine(const Exchange& exchange, Decision& decision, Ipv4 address, LeaseState state,
                const HardwareAddress& whom);

}  // namespace vmrouter::dhcp
