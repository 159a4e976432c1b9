#include "dhcp/exchange.hpp"

#include <algorithm>

#include "dhcp/names.hpp"
#include "dhcp/pool.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr Seconds shortest_lease{120};  // dnsmasq's floor
constexpr std::uint8_t circuit_id = 1;  // sub-options of 82
constexpr std::uint8_t remote_id = 2;
constexpr std::uint8_t subscriber_id = 6;
constexpr std::uint8_t server_id_override = 11;  // RFC 5107
constexpr std::chrono::minutes clone_window{10};
constexpr Seconds repetition{1};  // a renewal so soon after another that changes nothing is not worth a record
constexpr std::size_t longest_text = 255;

std::string limited_text(std::optional<std::string_view> text) {
    return text ? std::string(text->substr(0, longest_text)) : std::string{};
}

std::vector<std::uint8_t> limited_bytes(std::optional<Bytes> bytes) {
    if (!bytes) return {};
    const Bytes head = bytes->first(std::min(bytes->size(), longest_text));
    return {head.begin(), head.end()};
}

/// Option 77 as RFC 3004 has it, length and text by turns; what is not of that form (iPXE, Windows) is one text.
std::vector<std::string> user_classes(const Message& message) {
    const auto value = message.options.find(option::user_class);
    if (!value || value->empty()) return {};
    std::vector<std::string> classes;
    Reader reader(*value);
    while (reader.remaining() > 0) {
        const Bytes text = reader.bytes(reader.u8());
        if (!reader.ok() || text.empty()) return {std::string(value->begin(), value->end()).substr(0, longest_text)};
        classes.emplace_back(text.begin(), text.end());
    }
    return classes;
}

Supplied supplied(const Exchange& exchange) {
    const Message& message = exchange.message;
    Supplied result;
    result.hostname = claimed_name(message).substr(0, longest_text);
    result.vendor_class = limited_text(message.options.text(option::vendor_class));
    result.user_classes = user_classes(message);
    result.requested_options = limited_bytes(message.parameter_list());
    if (exchange.host != nullptr) {
        result.tags = exchange.host->set_tags;
        result.tags.emplace_back("known");  // as dnsmasq has it
    }
    result.relay = message.giaddr;
    if (const auto relay = message.options.find(option::relay_agent)) {
        result.circuit_id = limited_bytes(suboption(*relay, circuit_id));
        result.remote_id = limited_bytes(suboption(*relay, remote_id));
        result.subscriber_id = limited_bytes(suboption(*relay, subscriber_id));
    }
    return result;
}

/// Has something been decided about this address already (a quarantine)?
bool is_changed(const Decision& decision, Ipv4 address) {
    return std::ranges::find(decision.changes, address, &LeaseChange::address) != decision.changes.end();
}

/// T1 and T2 of a lease that ends.
Terms with_timers(const Exchange& exchange, Seconds lease, bool renewal) {
    Terms terms{lease, exchange.config.renew_time.value_or(lease / 2),
                exchange.config.rebind_time.value_or(lease * 7 / 8)};
    // A reservation or the client may have made the lease shorter than the timers that were configured.
    if (terms.renew >= terms.rebind || terms.rebind >= lease) terms = {lease, lease / 2, lease * 7 / 8};
    if (renewal) {
        // Spreads the renewals of guests that booted together; by the message, so that a retransmission is told the
        // same.
        const std::uint64_t spread = hash_bytes(exchange.message.chaddr.view(), exchange.message.xid) %
                                     static_cast<std::uint64_t>(terms.renew.count() / 8 + 1);
        terms.renew -= Seconds{spread};
        terms.rebind -= Seconds{spread};
    }
    return terms;
}

void warn_of_clones(const Exchange& exchange, Decision& decision, const Lease& fresh) {
    if (exchange.config.identity != Identity::Mac || fresh.client_id.empty() || fresh.hardware.empty()) return;
    for (const Lease* other : exchange.leases.by_client_id(fresh.client_id, IdScope::Everybody)) {
        if (other->hardware == fresh.hardware || exchange.now - other->last_seen > clone_window) continue;
        warn(decision, Warning::Kind::DuplicateClientId,
             client_text(fresh.hardware, fresh.name) + " and " + client_text(other->hardware, other->name) +
                 " have the same client-id " +
                 to_hex(Bytes{fresh.client_id}.first(std::min<std::size_t>(fresh.client_id.size(), 32))) +
                 ": cloned machines? They get different addresses, " + to_string(fresh.address) + " and " +
                 to_string(other->address) + "; give each its own machine-id");
        return;
    }
}

/// Before max_leases is reached, once when the mark is crossed.
void warn_of_limit(const Exchange& exchange, Decision& decision) {
    const std::uint64_t most = exchange.config.max_leases;
    const std::uint64_t given = exchange.leases.bound();
    const std::uint64_t mark = most * exchange.config.pool_low_percent;
    if (most == 0 || given * 100 >= mark || (given + 1) * 100 < mark) return;
    warn(decision, Warning::Kind::LeaseLimit,
         std::to_string(given + 1) + " of " + std::to_string(most) + " leases are given; raise dhcp.max_leases");
}

void warn_of_name(const Exchange& exchange, Decision& decision, const NameChoice& choice) {
    if (choice.refusal == NameRefusal::None || choice.refusal == NameRefusal::Illegal) return;
    warn(decision, Warning::Kind::NameRefused,
         client_text(exchange.message.chaddr) + " calls itself \"" + escape(claimed_name(exchange.message), 64) +
             "\", which " + std::string(to_string(choice.refusal)) + "; it gets its address without the name");
}

/// Addresses of class C space in the range that end in .0 or .255.
std::uint64_t look_like_networks(const Range& range) {
    const auto count = [](std::uint64_t below) { return below / 256 * 2 + (below % 256 > 0 ? 1 : 0); };
    if (range.first.value >> 29 != 0b110) return 0;
    return count(std::uint64_t{range.last.value} + 1) - count(range.first.value);
}

/// What is left of a lease that was renewed a moment ago and would stay as it is but for that moment; nullopt: it has
/// to be written. Never more than what is on disk promises.
std::optional<Terms> repeated(const Lease& entry, const Lease& fresh, const Terms& terms, Time now) {
    Lease aged = fresh;
    aged.expires = entry.expires;
    aged.last_seen = entry.last_seen;
    if (aged != entry || now < entry.last_seen || now - entry.last_seen >= repetition) return std::nullopt;
    if (entry.expires.has_value() != fresh.expires.has_value()) return std::nullopt;
    if (!entry.expires) return terms;
    const Seconds left = std::chrono::floor<Seconds>(*entry.expires - now);
    const Seconds less = terms.lease - left;
    if (less < Seconds{0} || less > repetition) return std::nullopt;  // other terms than those that were granted
    const auto shortened = [&](Seconds time) { return std::max(time - less, Seconds{0}); };
    return Terms{left, shortened(terms.renew), shortened(terms.rebind)};
}

std::uint64_t most_quarantined(const ServerConfig& config) {
    return std::max<std::uint64_t>(1, config.range.size() / 4);
}

bool names(const HostEntry& host, const HardwareAddress& hardware) {
    return std::ranges::any_of(host.macs, [&](const HardwarePattern& mac) { return mac.matches(hardware); });
}

}  // namespace

Ipv4 server_id(const ServerConfig& config, const Message& message) {
    if (message.relayed()) {
        const auto relay = message.options.find(option::relay_agent);
        const auto value = relay ? suboption(*relay, server_id_override) : std::nullopt;
        if (value && value->size() == 4) return Ipv4{Reader{*value}.u32()};
    }
    return config.address.address;
}

bool same_client(const Lease& lease, const Exchange& exchange) {
    return std::ranges::any_of(exchange.held, [&](const Lease* held) { return held->address == lease.address; });
}

bool speaks_for_local_client(const Exchange& exchange) {
    return exchange.message.relayed() && exchange.bound != nullptr && !exchange.bound->relay_missing &&
           exchange.bound->supplied.relay.is_unspecified();
}

Decision start(const Exchange& exchange) {
    Decision decision;
    decision.note.level = Level::Debug;
    decision.note.verb = to_string(exchange.message.type());
    decision.note.client = exchange.message.chaddr;
    decision.note.message = exchange.message.type();
    decision.note.port = exchange.context.port;
    decision.note.time = exchange.now;
    return decision;
}

Decision silent(Decision decision, Silence reason, Level level) {
    decision.silence = reason;
    decision.note.silence = reason;
    decision.note.level = level;
    if (reason != Silence::Done) decision.note.detail = to_string(reason);
    return decision;
}

Decision nak(const Exchange& exchange, Decision decision, Ipv4 address, std::string text) {
    Reply reply;
    reply.type = MessageType::Nak;
    reply.text = text;
    decision.reply = std::move(reply);
    decision.note.level = Level::Info;
    decision.note.verb = to_string(MessageType::Nak);
    decision.note.address = address;
    decision.note.detail = std::move(text);
    // Whatever was offered to it, it will ask anew.
    withdraw_offers(exchange, decision, std::nullopt);
    return decision;
}

void warn(Decision& decision, Warning::Kind kind, std::string text) {
    decision.warnings.push_back({kind, std::move(text)});
}

std::string client_text(const HardwareAddress& hardware, std::string_view name) {
    std::string text = to_string(hardware);
    if (!name.empty()) text += " (" + escape(name, 64) + ")";
    return text;
}

std::string client_text(const Exchange& exchange) {
    if (exchange.bound != nullptr) return client_text(exchange.message.chaddr, exchange.bound->name);
    return client_text(exchange.message.chaddr, legal_name(claimed_name(exchange.message)).value_or(""));
}

std::string lifetime_text(Seconds lifetime) {
    return lifetime >= infinite ? "for ever" : "for " + vmrouter::to_string(lifetime);
}

Terms terms(const Exchange& exchange, bool fresh, bool renewal) {
    const ServerConfig& config = exchange.config;
    Seconds lease = config.lease_time;
    if (exchange.host != nullptr && exchange.host->lease_time) {
        lease = *exchange.host->lease_time;
    } else if (fresh && exchange.host == nullptr && exchange.context.port == 0 &&
               (config.ports_told || pool_is_low(exchange, 0))) {
        // A guest that is made up never renews: its lease goes first, and guests that are known stay. On a bridge it
        // would also be a burden on who joins next, and the port of one that is there will be known at its renewal.
        lease = std::min(lease, config.short_lease);
    }
    if (const auto asked = exchange.message.options.u32(option::lease_time))
        lease = std::min(lease, std::max(Seconds{*asked}, shortest_lease));
    if (lease >= infinite) return {infinite, Seconds{0}, Seconds{0}};
    return with_timers(exchange, lease, renewal);
}

namespace {

/// Addresses of the range that may be given to anybody.
std::uint64_t pool_capacity(const ServerConfig& config, const Reservations& reservations) {
    const Range& range = config.range;
    std::uint64_t without = look_like_networks(range) + reservations.addresses_in(range).size();
    if (range.contains(config.address.address)) ++without;
    // Network and broadcast address, where they are not of the kind that was counted already.
    for (const Ipv4 edge : {config.address.first(), config.address.last()})
        if (config.address.length < 31 && range.contains(edge) &&
            (edge.value >> 29 != 0b110 || ((edge.value & 0xff) != 0 && (edge.value & 0xff) != 255)))
            ++without;
    return range.size() - std::min<std::uint64_t>(range.size(), without);
}

}  // namespace

PoolLevel pool_level(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations) {
    // By the reservations that hold now, not by those that held when a lease was made.
    const auto is_used = [&](Ipv4 address) { return leases.find(address) != nullptr; };
    const auto reserved = std::ranges::count_if(reservations.addresses_in(config.range), is_used);
    return {leases.used_in_range() - static_cast<std::uint64_t>(reserved), pool_capacity(config, reservations)};
}

bool pool_is_low(const Exchange& exchange, std::uint64_t more) {
    const auto& [leases, config, reservations, message, context, now, host, held, bound, offer] = exchange;
    // All that is used is no less than what is used of the pool, and known without looking at every reservation.
    const PoolLevel at_most{leases.used_in_range(), pool_capacity(config, reservations)};
    return at_most.low(config.pool_low_percent, more) &&
           pool_level(leases, config, reservations).low(config.pool_low_percent, more);
}

namespace {

/// Has the client's port its share already? All that came through unknown ports of a bridge have one share together,
/// or a port that has just joined would be a way around it.
bool port_is_full(const Exchange& exchange) {
    const auto& [leases, config, reservations, message, context, now, host, held, bound, offer] = exchange;
    if (config.max_leases_per_port == 0 || (context.port == 0 && !config.ports_told)) return false;
    if (offer != nullptr && offer->port == context.port) return false;  // counted when it was offered
    return leases.held_by_port(context.port) >= config.max_leases_per_port;
}

std::string port_limit_text(const Exchange& exchange) {
    const std::string most = std::to_string(exchange.config.max_leases_per_port);
    const int port = exchange.context.port;
    if (port == 0)
        return " gets no address yet: its bridge port is not known, and guests of unknown ports hold " + most +
               " already (dhcp.max_leases_per_port)";
    return " gets no address: its bridge port (interface index " + std::to_string(port) + ") holds " + most +
           " already (dhcp.max_leases_per_port)";
}

}  // namespace

Silence limit(const Exchange& exchange, Decision& decision) {
    const auto& [leases, config, reservations, message, context, now, host, held, bound, offer] = exchange;
    if (bound != nullptr) return Silence::None;
    if (!context.storage_ok) {
        warn(decision, Warning::Kind::StorageBroken,
             client_text(exchange) + " gets no address: leases cannot be written to the disk");
        return Silence::StorageBroken;
    }
    if (config.max_leases != 0 && leases.bound() >= config.max_leases) {
        warn(decision, Warning::Kind::LeaseLimit,
             client_text(exchange) + " gets no address: all " + std::to_string(config.max_leases) +
                 " leases are given (dhcp.max_leases)");
        return Silence::LeaseLimit;
    }
    if (offer == nullptr && leases.full()) {
        warn(decision, Warning::Kind::PoolEmpty, client_text(exchange) + " gets no address: the lease table is full");
        return Silence::NoAddress;
    }
    if (host != nullptr && host->address) return Silence::None;  // a reserved address is nobody else's loss
    if (port_is_full(exchange)) {
        warn(decision, Warning::Kind::PortLimit, client_text(exchange) + port_limit_text(exchange));
        return Silence::PortLimit;
    }
    if (offer != nullptr) return Silence::None;  // counted when it was offered
    if (!message.relayed() && context.ethernet_source && config.max_leases_per_sender != 0 &&
        leases.held_by_sender(*context.ethernet_source) >= config.max_leases_per_sender) {
        warn(decision, Warning::Kind::SenderLimit,
             client_text(exchange) + " gets no address: " + to_string(*context.ethernet_source) + " holds " +
                 std::to_string(config.max_leases_per_sender) + " already");
        return Silence::SenderLimit;
    }
    return Silence::None;
}

ReservedAddress reserved_address(const Exchange& exchange, const std::optional<Ipv4>& except) {
    const HostEntry* host = exchange.host;
    if (host == nullptr || !host->address) return ReservedAddress::None;
    if (except == host->address) return ReservedAddress::Unusable;
    const Lease* entry = exchange.leases.find(*host->address);
    if (entry == nullptr || entry->state == LeaseState::Offered) return ReservedAddress::Available;
    if (entry->quarantined()) return ReservedAddress::Unusable;
    if (same_client(*entry, exchange)) return ReservedAddress::Available;
    // A client-id beside the hardware address on a line is no way to what that hardware address holds (Identity::Mac).
    if (exchange.config.identity == Identity::Mac && names(*host, entry->hardware) &&
        !names(*host, exchange.message.chaddr))
        return ReservedAddress::Unusable;
    // Several hardware addresses on one line are one machine: the one that is there now has the address.
    const bool same_line = exchange.reservations.match(entry->hardware, entry->client_id) == host;
    return same_line ? ReservedAddress::Available : ReservedAddress::Unusable;
}

Lease make_lease(const Exchange& exchange, Ipv4 address, LeaseState state, std::optional<Seconds> lifetime) {
    const Bytes client_id = exchange.message.client_id();
    Lease lease;
    lease.address = address;
    lease.state = state;
    lease.hardware = exchange.message.chaddr;
    lease.client_id.assign(client_id.begin(), client_id.end());
    if (lifetime && *lifetime < infinite) lease.expires = exchange.now + *lifetime;
    lease.last_seen = exchange.now;
    lease.port = exchange.context.port;
    if (!exchange.message.relayed()) lease.sender = exchange.context.ethernet_source;
    if (state == LeaseState::Bound) lease.supplied = supplied(exchange);
    return lease;
}

Reply bind(const Exchange& exchange, Decision& decision, Ipv4 address, const Terms& terms) {
    Lease lease = make_lease(exchange, address, LeaseState::Bound, terms.lease);
    const Lease* entry = exchange.leases.find(address);
    const bool renewal = entry != nullptr && entry->state == LeaseState::Bound && same_client(*entry, exchange);

    const NameChoice choice =
        choose_name(exchange.leases, exchange.config, exchange.reservations, exchange.host, exchange.message, address);
    lease.name = choice.name;
    lease.name_reserved = choice.reserved;
    // A client that says nothing keeps the name it has; some say it only once.
    if (renewal && choice.name.empty() && choice.refusal == NameRefusal::None && !entry->name_reserved)
        lease.name = entry->name;
    if (!renewal) warn_of_name(exchange, decision, choice);

    for (const Lease* held : exchange.held)
        if (held->address != address && !is_changed(decision, held->address))
            decision.changes.push_back(
                {held->state == LeaseState::Bound ? Cause::Move : Cause::Withdraw, held->address, std::nullopt});
    if (entry != nullptr && entry->state == LeaseState::Bound && !renewal)
        decision.changes.push_back({Cause::Move, address, std::nullopt});
    if (const Lease* namesake = lease.name.empty() ? nullptr : exchange.leases.by_name(lease.name);
        namesake != nullptr && namesake->address != address && !same_client(*namesake, exchange)) {
        Lease nameless = *namesake;  // it had the name before the reservation did
        nameless.name.clear();
        nameless.name_reserved = false;
        decision.changes.push_back({Cause::Rename, nameless.address, std::move(nameless)});
    }
    if (!renewal) {
        warn_of_clones(exchange, decision, lease);
        if (exchange.bound == nullptr) warn_of_limit(exchange, decision);
    }

    const auto again = renewal ? repeated(*entry, lease, terms, exchange.now) : std::nullopt;
    const Terms& granted = again ? *again : terms;
    Reply reply;
    reply.type = MessageType::Ack;
    reply.address = address;
    reply.lease_time = granted.lease;
    reply.renew_time = granted.renew;
    reply.rebind_time = granted.rebind;
    reply.name = lease.name;
    decision.note.level = renewal ? Level::Debug : Level::Info;
    decision.note.verb = to_string(MessageType::Ack);
    decision.note.address = address;
    decision.note.name = lease.name;
    decision.note.detail = lifetime_text(granted.lease);
    const Cause anew = exchange.message.requested_address() ? Cause::Reboot : Cause::Renew;
    if (!again) decision.changes.push_back({renewal ? anew : Cause::Bind, address, std::move(lease)});
    return reply;
}

void withdraw_offers(const Exchange& exchange, Decision& decision, const std::optional<Ipv4>& keep) {
    for (const Lease* held : exchange.held)
        if (held->state == LeaseState::Offered && held->address != keep && !is_changed(decision, held->address))
            decision.changes.push_back({Cause::Withdraw, held->address, std::nullopt});
}

bool crowded(const LeaseTable& leases, const ServerConfig& config) {
    return leases.quarantined() >= most_quarantined(config);
}

void warn_of_crowd(const LeaseTable& leases, const ServerConfig& config, Decision& decision) {
    const std::uint64_t most = most_quarantined(config);
    if (leases.quarantined() + 1 != most) return;
    warn(decision, Warning::Kind::ProbesDistrusted,
         std::to_string(most) +
             " addresses are in quarantine, a quarter of the pool: until the first of them is free "
             "again, addresses are offered without asking whether somebody has them; find out who "
             "answers for them");
}

bool quarantine(const Exchange& exchange, Decision& decision, Ipv4 address, LeaseState state,
                const HardwareAddress& whom) {
    const Cause cause = state == LeaseState::Declined ? Cause::Decline : Cause::Conflict;
    if (crowded(exchange.leases, exchange.config)) {
        decision.changes.push_back({cause, address, std::nullopt});
        return false;
    }
    warn_of_crowd(exchange.leases, exchange.config, decision);
    Lease lease = make_lease(exchange, address, state, exchange.config.quarantine);
    lease.hardware = whom;
    decision.changes.push_back({cause, address, std::move(lease)});
    return true;
}

}  // namespace vmrouter::dhcp
