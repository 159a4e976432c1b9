#include "dhcp/server.hpp"

#include <algorithm>

#include "dhcp/exchange.hpp"
#include "dhcp/pool.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::uint8_t most_hops = 16;
constexpr std::uint8_t link_selection = 5;  // sub-option of 82 (RFC 3527)

/// The Ethernet source of a message that no relay passed on must be its client's own.
bool forged(const Message& message, const Context& context) {
    const auto mac = message.chaddr.mac();
    return !message.relayed() && mac && context.ethernet_source && *mac != *context.ethernet_source;
}

/// Is the message for a network that we serve? A relay names it by giaddr (RFC 2131 section 4.3.1) or a sub-option; a
/// client may name it, too (RFC 3011).
bool for_our_network(const ServerConfig& config, const Message& message) {
    if (message.relayed()) {
        const auto relay = message.options.find(option::relay_agent);
        const auto link = relay ? suboption(*relay, link_selection) : std::nullopt;
        if (link && link->size() == 4) return config.address.contains(Ipv4{Reader{*link}.u32()});
    }
    if (const auto subnet = message.options.ip(option::subnet_selection)) return config.address.contains(*subnet);
    return !message.relayed() || (config.address.contains(message.giaddr) && message.giaddr != config.address.address);
}

bool has_identity(const Message& message) {
    if (const auto mac = message.chaddr.mac()) return !mac->is_zero() && !mac->is_multicast();
    if (!message.chaddr.empty()) return true;
    return message.type() != MessageType::Bootp && !message.client_id().empty();
}

/// Leases and offers of the client, by the identity policy.
std::vector<const Lease*> held_by_client(const LeaseTable& leases, const ServerConfig& config, const HostEntry* host,
                                         const Message& message) {
    const Bytes client_id = host != nullptr && host->ignore_client_id ? Bytes{} : message.client_id();
    if (message.chaddr.empty()) return leases.by_client_id(client_id, id_scope(config.identity));
    if (config.identity == Identity::Mac) return leases.by_hardware(message.chaddr);
    if (!client_id.empty()) {
        auto same_id = leases.by_client_id(client_id, IdScope::Everybody);
        if (!same_id.empty()) return same_id;
    }
    // By hardware address where one of the two sides has no client-id, as dnsmasq does.
    auto same_mac = leases.by_hardware(message.chaddr);
    if (!client_id.empty()) std::erase_if(same_mac, [](const Lease* lease) { return !lease->client_id.empty(); });
    return same_mac;
}

Exchange make_exchange(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                       const Message& message, const Context& context, Time now) {
    Exchange exchange{leases, config, reservations, message, context, now};
    exchange.host = reservations.match(message.chaddr, message.client_id(), message.type() == MessageType::Bootp);
    exchange.held = held_by_client(leases, config, exchange.host, message);
    for (const Lease* lease : exchange.held) {
        const Lease*& first = lease->state == LeaseState::Bound ? exchange.bound : exchange.offer;
        if (first == nullptr) first = lease;
    }
    return exchange;
}

/// What no message may be, whatever its type.
Silence refusal(const ServerConfig& config, const Message& message, const Context& context) {
    if (message.op != Message::request) return Silence::NotARequest;
    if (message.hops > most_hops) return Silence::TooManyHops;
    if (!has_identity(message)) return Silence::NoIdentity;
    if (forged(message, context)) return Silence::ForgedSource;
    if (!for_our_network(config, message)) return Silence::OtherNetwork;
    return Silence::None;
}

Decision dispatch(const Exchange& exchange, const ProbeOutcome& outcome) {
    switch (exchange.message.type()) {
        case MessageType::Bootp:
            return on_bootp(exchange);
        case MessageType::Discover:
            return on_discover(exchange, outcome);
        case MessageType::Request:
            return on_request(exchange);
        case MessageType::Decline:
            return on_decline(exchange);
        case MessageType::Release:
            return on_release(exchange);
        case MessageType::Inform:
            return on_inform(exchange);
        case MessageType::Offer:
        case MessageType::Ack:
        case MessageType::Nak:
        case MessageType::Unknown:
            break;
    }
    return silent(start(exchange), Silence::UnsupportedType);
}

Decision decide_with(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                     const Message& message, const Context& context, const ProbeOutcome& outcome, Time now) {
    if (const Silence reason = refusal(config, message, context); reason != Silence::None) {
        Decision decision = silent(start(Exchange{leases, config, reservations, message, context, now}), reason);
        if (reason == Silence::ForgedSource) decision.note.detail += ", " + to_string(*context.ethernet_source);
        return decision;
    }
    const Exchange exchange = make_exchange(leases, config, reservations, message, context, now);
    if (exchange.host != nullptr && exchange.host->ignore) return silent(start(exchange), Silence::Ignored);
    return dispatch(exchange, outcome);
}

/// RELEASE and DECLINE end what is somebody's: only the holder may, and from where it got it.
bool may_end(const Exchange& exchange, const Lease& lease) {
    if (!same_client(lease, exchange) || lease.hardware != exchange.message.chaddr) return false;
    if (exchange.message.relayed()) return lease.supplied.relay == exchange.message.giaddr || lease.relay_missing;
    if (lease.hardware.mac()) return true;  // its Ethernet source is chaddr, as for every message
    return lease.sender && exchange.context.ethernet_source == lease.sender;
}

}  // namespace

Decision on_decline(const Exchange& exchange) {
    Decision decision = start(exchange);
    const auto address = exchange.message.requested_address();
    if (!address) return silent(std::move(decision), Silence::Malformed);
    decision.note.address = *address;
    const auto server = exchange.message.server_identifier();
    if (!server ||
        (*server != server_id(exchange.config, exchange.message) && *server != exchange.config.address.address))
        return silent(std::move(decision), Silence::OtherServer);
    const Lease* lease = exchange.leases.find(*address);
    if (lease == nullptr || lease->quarantined() || !may_end(exchange, *lease))
        return silent(std::move(decision), Silence::NotTheHolder);
    decision.note.name = lease->name;
    const bool kept_out = quarantine(exchange, decision, *address, LeaseState::Declined, exchange.message.chaddr);
    warn(decision, Warning::Kind::Declined,
         to_string(*address) + " declined by " + client_text(exchange) + ": somebody else uses it; " +
             (kept_out ? "it stays out of the pool " + lifetime_text(exchange.config.quarantine)
                       : std::string{"it stays in the pool, because too many addresses are out of it already"}));
    decision.note.level = Level::Info;
    return silent(std::move(decision), Silence::Done, Level::Info);
}

Decision on_release(const Exchange& exchange) {
    const auto& message = exchange.message;
    Decision decision = start(exchange);
    decision.note.address = message.ciaddr;
    const auto server = message.server_identifier();
    // Option 54 is required, but some clients leave it out; what is sent to our own address by whom the address belongs
    // to is meant for us.
    const bool to_us =
        server ? *server == server_id(exchange.config, message) || *server == exchange.config.address.address
               : !exchange.context.broadcast && exchange.context.destination == exchange.config.address.address &&
                     (exchange.context.source == message.ciaddr || exchange.context.source.is_unspecified());
    if (!to_us) return silent(std::move(decision), Silence::OtherServer);
    if (message.ciaddr.is_unspecified()) return silent(std::move(decision), Silence::Malformed);
    const Lease* lease = exchange.leases.find(message.ciaddr);
    if (lease == nullptr || lease->state != LeaseState::Bound || !may_end(exchange, *lease))
        return silent(std::move(decision), Silence::NotTheHolder);
    decision.note.name = lease->name;
    decision.changes.push_back({Cause::Release, message.ciaddr, std::nullopt});
    return silent(std::move(decision), Silence::Done, Level::Info);
}

Decision on_inform(const Exchange& exchange) {
    const auto& message = exchange.message;
    Decision decision = start(exchange);
    decision.note.address = message.ciaddr;
    if (message.ciaddr.is_unspecified()) return silent(std::move(decision), Silence::Malformed);
    if (!exchange.config.address.contains(message.ciaddr)) return silent(std::move(decision), Silence::OtherNetwork);
    Reply reply;
    reply.type = MessageType::Ack;
    reply.inform = true;
    const Lease* lease = exchange.leases.find(message.ciaddr);
    if (lease != nullptr && lease->state == LeaseState::Bound && same_client(*lease, exchange)) {
        reply.name = lease->name;
        const auto list = message.parameter_list();
        // RFC 2131 section 4.3.5 forbids a lease time here; dnsmasq tells it to who asks, and some do.
        if (list && std::ranges::find(*list, option::lease_time) != list->end()) {
            using std::chrono::ceil;
            reply.lease_time =
                lease->expires ? std::max(ceil<Seconds>(*lease->expires - exchange.now), Seconds{1}) : infinite;
        }
    }
    decision.note.verb = to_string(MessageType::Ack);
    decision.note.name = reply.name;
    decision.note.detail = "information only";
    decision.reply = std::move(reply);
    return decision;
}

Decision on_bootp(const Exchange& exchange) {
    Decision decision = start(exchange);
    if (exchange.message.chaddr.empty()) return silent(std::move(decision), Silence::NoIdentity);
    switch (reserved_address(exchange)) {
        case ReservedAddress::None:
            return silent(std::move(decision), Silence::NotReserved);
        case ReservedAddress::Unusable:
            warn(decision, Warning::Kind::ReservationUnusable,
                 client_text(exchange) + " (BOOTP) gets no answer: somebody else uses its reserved address " +
                     to_string(*exchange.host->address) + " (" + exchange.host->where + ")");
            return silent(std::move(decision), Silence::NoAddress);
        case ReservedAddress::Available:
            break;
    }
    if (const Silence reason = limit(exchange, decision); reason != Silence::None)
        return silent(std::move(decision), reason);
    // BOOTP has no lease time: the address is its client's for ever (RFC 1534), or for as long as its reservation says.
    const Terms forever{exchange.host->lease_time.value_or(infinite), Seconds{0}, Seconds{0}};
    Reply reply = bind(exchange, decision, *exchange.host->address, forever);
    reply.type = MessageType::Bootp;
    decision.note.verb = to_string(MessageType::Bootp);
    decision.reply = std::move(reply);
    return decision;
}

Decision decide(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                const Message& message, const Context& context, Time now) {
    return decide_with(leases, config, reservations, message, context, {}, now);
}

Decision after_probe(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                     const Message& message, const Context& context, const ProbeResult& result, Time now) {
    ProbeOutcome outcome;
    // The client itself may have the address configured already: that is no conflict.
    const bool own = result.by && message.chaddr.mac() == result.by;
    outcome.conflicts = result.conflicts;
    if (result.answered && !own)
        outcome.answered = result;
    else
        outcome.silent = result.address;
    return decide_with(leases, config, reservations, message, context, outcome, now);
}

Decision late_answer(const LeaseTable& leases, const ServerConfig& config, Ipv4 address, const MacAddress& by,
                     Time now) {
    Decision decision;
    decision.silence = Silence::Done;
    decision.note.level = Level::Debug;
    decision.note.verb = "CONFLICT";
    decision.note.address = address;
    decision.note.client = HardwareAddress{by};
    const Lease* lease = leases.find(address);
    if (lease == nullptr || lease->quarantined() || lease->hardware.mac() == by) return decision;
    std::string text = to_string(address) + " is in use by " + to_string(by) + ", to whom it was not given; ";
    if (lease->state == LeaseState::Bound) {
        text += client_text(lease->hardware, lease->name) + " holds the lease";
    } else if (crowded(leases, config)) {
        text += "its offer to " + client_text(lease->hardware) +
                " stands, because too many addresses are out of the "
                "pool already";
    } else {
        text += "its offer to " + client_text(lease->hardware) + " is taken back, it stays out of the pool " +
                lifetime_text(config.quarantine);
        Lease abandoned;
        abandoned.address = address;
        abandoned.state = LeaseState::Abandoned;
        abandoned.hardware = HardwareAddress{by};
        abandoned.expires = now + config.quarantine;
        abandoned.last_seen = now;
        warn_of_crowd(leases, config, decision);
        decision.changes.push_back({Cause::Conflict, address, std::move(abandoned)});
    }
    warn(decision, Warning::Kind::Conflict, std::move(text));
    return decision;
}

Decision drop_lease(const LeaseTable& leases, Ipv4 address) {
    Decision decision;
    decision.silence = Silence::Done;
    decision.note.verb = "DROP";
    decision.note.address = address;
    const Lease* lease = leases.find(address);
    if (lease == nullptr) {
        decision.silence = Silence::UnknownLease;
        decision.note.detail = to_string(Silence::UnknownLease);
        return decision;
    }
    decision.note.client = lease->hardware;
    decision.note.name = lease->name;
    decision.changes.push_back({Cause::Drop, address, std::nullopt});
    return decision;
}

PoolUsage usage(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations) {
    const PoolLevel level = pool_level(leases, config, reservations);
    return {leases.bound(), static_cast<std::size_t>(level.used), static_cast<std::size_t>(level.capacity)};
}

std::string Note::line() const {
    const bool ours = verb == "OFFER" || verb == "ACK" || verb == "NAK";
    std::string text(verb);
    if (!address.is_unspecified()) text += " " + to_string(address);
    text += (ours ? " to " : " from ") + to_string(client);
    if (!name.empty()) text += " (" + escape(name, 64) + ")";
    if (!detail.empty()) text += (ours && verb != "NAK" ? " " : ": ") + detail;
    return text;
}

std::string_view to_string(Silence silence) {
    switch (silence) {
        case Silence::None:
            return "answered";
        case Silence::Done:
            return "done";
        case Silence::NotARequest:
            return "not a request";
        case Silence::UnsupportedType:
            return "a type that servers do not take";
        case Silence::TooManyHops:
            return "too many hops";
        case Silence::ForgedSource:
            return "its Ethernet source is another";
        case Silence::NoIdentity:
            return "no usable hardware address and no client-id";
        case Silence::Ignored:
            return "ignored by its reservation";
        case Silence::OtherServer:
            return "names another server";
        case Silence::OtherNetwork:
            return "of another network";
        case Silence::UnknownLease:
            return "no lease is known";
        case Silence::Malformed:
            return "lacks an address";
        case Silence::NoAddress:
            return "no free address";
        case Silence::LeaseLimit:
            return "no leases left";
        case Silence::PortLimit:
            return "its bridge port, or all that are not known, hold too many leases";
        case Silence::SenderLimit:
            return "its Ethernet address holds too many leases";
        case Silence::NotReserved:
            return "BOOTP without a reservation";
        case Silence::StorageBroken:
            return "leases cannot be written";
        case Silence::StorageBusy:
            return "too much waits for the disk";
        case Silence::NotTheHolder:
            return "does not hold that address";
        case Silence::LocalClient:
            return "a relay speaks for a client of the segment";
        case Silence::Unreadable:
            return "cannot be read";
    }
    return "";
}

}  // namespace vmrouter::dhcp
