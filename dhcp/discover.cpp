// DHCPDISCOVER (RFC 2131 section 4.3.1), rapid commit (RFC 4039), and the probe that may lie between question and
// answer.

#include <algorithm>

#include "dhcp/exchange.hpp"
#include "dhcp/names.hpp"
#include "dhcp/pool.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr unsigned most_conflicts = 3;  // of one DISCOVER; whoever answers every probe is believed no longer than that
constexpr Seconds probe_holds{30};  // how long an address that did not answer is taken for free (dnsmasq's ping cache)

/// The address for this client, in the order of RFC 2131 section 4.3.1 and dnsmasq: reserved, current, promised,
/// previous, requested, free. `known`: this client has had it, so nobody else is expected to have it.
struct Candidate {
    Ipv4 address;
    bool known = false;
};

bool was_held_by_client(const Exchange& exchange, Ipv4 address) {
    const bool by_client_id = exchange.message.chaddr.empty() || exchange.config.identity == Identity::ClientId;
    const auto previous = [&](const HardwareAddress& hardware) {
        return exchange.leases.previous(hardware, exchange.message.client_id(), id_scope(exchange.config.identity));
    };
    if (by_client_id && previous({}) == address) return true;
    return !exchange.message.chaddr.empty() && previous(exchange.message.chaddr) == address;
}

std::optional<Candidate> candidate(const Exchange& exchange, Decision& decision, const std::optional<Ipv4>& except) {
    const HostEntry* host = exchange.host;
    switch (reserved_address(exchange, except)) {
        case ReservedAddress::None:
            break;
        case ReservedAddress::Available: {
            const Lease* entry = exchange.leases.find(*host->address);
            const bool leased = entry != nullptr && entry->state == LeaseState::Bound;
            return Candidate{*host->address, leased || was_held_by_client(exchange, *host->address)};
        }
        case ReservedAddress::Unusable:
            warn(decision, Warning::Kind::ReservationUnusable,
                 client_text(exchange) + " cannot have its reserved address " + to_string(*host->address) + " (" +
                     host->where + ") now: somebody else uses it; it gets another one");
    }
    const auto still_right = [&](const Lease* lease) {
        return lease != nullptr && lease->address != except &&
               usable(exchange.config, exchange.reservations, lease->address);
    };
    if (still_right(exchange.bound)) return Candidate{exchange.bound->address, true};
    if (still_right(exchange.offer))
        return Candidate{exchange.offer->address, was_held_by_client(exchange, exchange.offer->address)};
    const auto address = choose_free(exchange.leases, exchange.config, exchange.reservations, exchange.message.chaddr,
                                     exchange.message.client_id(), exchange.message.requested_address());
    if (!address) return std::nullopt;
    return Candidate{*address, was_held_by_client(exchange, *address)};
}

void warn_when_low(const Exchange& exchange, Decision& decision, Ipv4 address) {
    if (!exchange.config.range.contains(address) || exchange.leases.find(address) != nullptr) return;
    if (exchange.reservations.by_address(address) != nullptr) return;
    if (!pool_is_low(exchange, 1) || pool_is_low(exchange, 0)) return;  // only the one that crosses the mark
    const PoolLevel level = pool_level(exchange.leases, exchange.config, exchange.reservations);
    warn(decision, Warning::Kind::PoolLow,
         "the pool runs low: " + std::to_string(level.used + 1) + " of " + std::to_string(level.capacity) +
             " addresses are taken; widen dhcp.range, or shorten dhcp.lease_time");
}

Decision no_address(const Exchange& exchange, Decision decision) {
    const PoolLevel level = pool_level(exchange.leases, exchange.config, exchange.reservations);
    warn(decision, Warning::Kind::PoolEmpty,
         client_text(exchange) + " gets no address: all " + std::to_string(level.capacity) +
             " are taken; widen dhcp.range, or drop leases that nobody needs");
    return silent(std::move(decision), Silence::NoAddress);
}

/// Keeps the address for this client for a few seconds, in memory.
void promise(const Exchange& exchange, Decision& decision, Ipv4 address, const std::optional<Time>& probed) {
    withdraw_offers(exchange, decision, address);
    const Lease* entry = exchange.leases.find(address);
    if (entry != nullptr && entry->state == LeaseState::Bound) return;  // its own, or another machine of its line
    Lease lease = make_lease(exchange, address, LeaseState::Offered, exchange.config.offer_time);
    lease.probed = probed;
    warn_when_low(exchange, decision, address);
    decision.changes.push_back({Cause::Offer, address, std::move(lease)});
}

Decision offer_address(const Exchange& exchange, Decision decision, Ipv4 address, bool fresh) {
    const Terms offered = terms(exchange, fresh, false);
    Reply reply;
    reply.type = MessageType::Offer;
    reply.address = address;
    reply.lease_time = offered.lease;
    reply.renew_time = offered.renew;
    reply.rebind_time = offered.rebind;
    // A name in an OFFER only when it is sure, or when the client asked what its name will be (option 81), as dnsmasq
    // does.
    const NameChoice choice =
        choose_name(exchange.leases, exchange.config, exchange.reservations, exchange.host, exchange.message, address);
    const std::string claimed = claimed_name(exchange.message);
    const bool contradicts = !claimed.empty() && !equal_ignoring_case(legal_name(claimed).value_or(""), choice.name);
    if ((choice.reserved && !contradicts) || exchange.message.options.has(option::client_fqdn))
        reply.name = choice.name;
    decision.reply = std::move(reply);
    decision.note.level = Level::Debug;
    decision.note.verb = to_string(MessageType::Offer);
    decision.note.address = address;
    decision.note.name = choice.name;
    decision.note.detail = lifetime_text(offered.lease);
    return decision;
}

/// Takes the address that answered a probe out of the pool.
void on_conflict(const Exchange& exchange, Decision& decision, const ProbeResult& result) {
    const Lease* entry = exchange.leases.find(result.address);
    if (entry != nullptr && entry->state == LeaseState::Bound) return;
    const std::string who = result.by ? to_string(*result.by) : "somebody";
    const bool kept_out = quarantine(exchange, decision, result.address, LeaseState::Abandoned,
                                     result.by ? HardwareAddress{*result.by} : HardwareAddress{});
    warn(decision, Warning::Kind::Conflict,
         to_string(result.address) + " is in use by " + who + ", to whom it was not given; " +
             (kept_out ? "it stays out of the pool " + lifetime_text(exchange.config.quarantine)
                       : std::string{"it stays in the pool, because too many addresses are out of it already"}));
    if (result.conflicts == most_conflicts)
        warn(decision, Warning::Kind::ProbesDistrusted,
             client_text(exchange) + " met " + std::to_string(most_conflicts) +
                 " addresses that are in use, the last by " + who + "; it is offered the next one without asking");
}

}  // namespace

Decision on_discover(const Exchange& exchange, const ProbeOutcome& outcome) {
    Decision decision = start(exchange);
    if (speaks_for_local_client(exchange)) return silent(std::move(decision), Silence::LocalClient);
    std::optional<Ipv4> except;
    if (outcome.answered) {
        except = outcome.answered->address;
        on_conflict(exchange, decision, *outcome.answered);
    }
    if (const Silence reason = limit(exchange, decision); reason != Silence::None)
        return silent(std::move(decision), reason);
    const auto chosen = candidate(exchange, decision, except);
    if (!chosen) return no_address(exchange, std::move(decision));

    std::optional<Time> probed;
    if (outcome.silent == chosen->address)
        probed = exchange.now;
    else if (exchange.offer != nullptr && exchange.offer->address == chosen->address)
        probed = exchange.offer->probed;
    const bool sure = chosen->known || (probed && exchange.now - *probed < probe_holds && exchange.now >= *probed);
    const bool fresh = exchange.bound == nullptr && !chosen->known;
    const bool probes_count = outcome.conflicts < most_conflicts && !crowded(exchange.leases, exchange.config);
    if (exchange.config.ping_check && probes_count && !sure) {
        promise(exchange, decision, chosen->address, std::nullopt);  // nobody else is offered it meanwhile
        decision.probe = ProbeRequest{chosen->address, exchange.message.relayed()};
        decision.note.address = chosen->address;
        decision.note.detail = "asking whether somebody has it";
        return decision;
    }
    if (exchange.config.rapid_commit && exchange.message.options.has(option::rapid_commit)) {
        decision.reply = bind(exchange, decision, chosen->address, terms(exchange, fresh, false));
        decision.reply->rapid_commit = true;
        return decision;
    }
    promise(exchange, decision, chosen->address, probed);
    return offer_address(exchange, std::move(decision), chosen->address, fresh);
}

}  // namespace vmrouter::dhcp
