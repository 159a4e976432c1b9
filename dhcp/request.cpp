// DHCPREQUEST (RFC 2131 section 4.3.2, table 4). Where RFC 2131 and dnsmasq differ:
//  - SELECTING of another server is silence, as the RFC has it, authoritative or not (dnsmasq, authoritative: NAK).
//  - A client without a lease, not authoritative: silence even for an address of another network, as dnsmasq has it;
//    the RFC would NAK an INIT-REBOOT there, which harms clients of a second server on the segment.
//  - REBINDING with a lease of another address: NAK when authoritative (dnsmasq: silence), so that the client
//    recovers before its lease ends. What comes through a relay is REBINDING (dnsmasq takes it for RENEWING, and
//    refuses clients of other servers behind it).

#include "dhcp/exchange.hpp"
#include "dhcp/pool.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

enum class State { Selecting, InitReboot, Renewing, Rebinding };

State state_of(const Message& message, const Context& context) {
    // Option 50 and not option 54 tells a renewal from the rest, as in dnsmasq: some clients renew with option 54.
    if (message.requested_address()) return message.server_identifier() ? State::Selecting : State::InitReboot;
    // A client renews by itself; what it broadcasts, a relay sends on to every server, each by unicast.
    return context.broadcast || message.relayed() ? State::Rebinding : State::Renewing;
}

/// Nothing is known of this client: may we speak for the network nevertheless?
Decision on_unknown(const Exchange& exchange, State state, Decision decision, Ipv4 address) {
    if (state == State::Renewing) return nak(exchange, std::move(decision), address, "lease not found");
    return silent(std::move(decision), Silence::UnknownLease);
}

/// Why this client cannot have this address; empty: it can.
std::string objection(const Exchange& exchange, State state, Ipv4 address) {
    const auto& [leases, config, reservations, message, context, now, host, held, bound, offer] = exchange;
    if (state != State::Selecting && leases.dropped(address, message.chaddr, message.client_id()))
        return "lease was dropped";
    const ReservedAddress reserved = reserved_address(exchange);
    const bool own = host != nullptr && host->address == address;
    const HostEntry* owner = reservations.by_address(address);
    if (owner != nullptr && owner != host) return "address reserved";
    if (!own && reserved == ReservedAddress::Available && state != State::Selecting) return "static lease available";
    if (own && reserved == ReservedAddress::Unusable) return "address in use";
    if (!own && !usable(config, reservations, address)) return "address not available";
    const Lease* entry = leases.find(address);
    if (entry == nullptr || same_client(*entry, exchange) || own) return {};
    return "address in use";
}

/// The checks that come before the address itself is judged; nullopt: it may be.
std::optional<Decision> refuse_early(const Exchange& exchange, State state, const Decision& decision, Ipv4 address) {
    const bool known = exchange.bound != nullptr || (state == State::Selecting && exchange.offer != nullptr);
    const bool ours_to_judge = exchange.config.authoritative || known || state == State::Selecting;
    if (!exchange.config.address.contains(address)) {
        if (ours_to_judge) return nak(exchange, decision, address, "wrong network");
        return on_unknown(exchange, state, decision, address);
    }
    if (!ours_to_judge) return on_unknown(exchange, state, decision, address);
    if (exchange.bound == nullptr || exchange.bound->address == address) return std::nullopt;
    switch (state) {
        case State::Selecting:
            return std::nullopt;  // it chose what we offered instead
        case State::InitReboot:
            return nak(exchange, decision, address, "wrong address");
        case State::Renewing:
            return nak(exchange, decision, address, "lease not found");
        case State::Rebinding:
            if (exchange.config.authoritative) return nak(exchange, decision, address, "lease not found");
            return silent(decision, Silence::UnknownLease);
    }
    return std::nullopt;
}

std::string_view words(Silence reason) {
    return reason == Silence::LeaseLimit ? "no leases left" : "address not available";
}

}  // namespace

Decision on_request(const Exchange& exchange) {
    const auto& [leases, config, reservations, message, context, now, host, held, bound, offer] = exchange;
    Decision decision = start(exchange);
    const auto server = message.server_identifier();
    if (server && *server != server_id(config, message) && *server != config.address.address) {
        withdraw_offers(exchange, decision, std::nullopt);
        return silent(std::move(decision), Silence::OtherServer);
    }
    const State state = state_of(message, context);
    const Ipv4 address = message.requested_address().value_or(message.ciaddr);
    decision.note.address = address;
    if (address.is_unspecified()) return silent(std::move(decision), Silence::Malformed);
    if (speaks_for_local_client(exchange)) return silent(std::move(decision), Silence::LocalClient);
    if (auto refused = refuse_early(exchange, state, decision, address)) return std::move(*refused);
    if (std::string text = objection(exchange, state, address); !text.empty())
        return nak(exchange, std::move(decision), address, std::move(text));
    if (const Silence reason = limit(exchange, decision); reason != Silence::None) {
        // The disk may be right again in a moment: the client keeps asking. Everything else it should hear.
        if (reason == Silence::StorageBroken || state != State::Selecting) return silent(std::move(decision), reason);
        return nak(exchange, std::move(decision), address, std::string(words(reason)));
    }
    const auto previous = leases.previous(message.chaddr, message.client_id(), id_scope(config.identity));
    const bool fresh = bound == nullptr && previous != address;
    const bool renewal = state == State::Renewing || state == State::Rebinding;
    decision.reply = bind(exchange, decision, address, terms(exchange, fresh, renewal));
    return decision;
}

}  // namespace vmrouter::dhcp
