#include "dns/service.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

namespace vmrouter::dns {

namespace {

constexpr std::size_t repeats_looked_for = 8;

Ipv4 address_of(const sockaddr_in& in) {
    return Ipv4{ntohl(in.sin_addr.s_addr)};
}

}  // namespace

std::string_view to_string(Source source) {
    switch (source) {
        case Source::Local:
            return "local";
        case Source::Cache:
            return "cache";
        case Source::Upstream:
            return "upstream";
        case Source::Stale:
            return "stale";
        case Source::Error:
            return "error";
    }
    return "";
}

Service::Service(asio::any_io_executor executor, FileDescriptor udp, FileDescriptor tcp, ServiceConfig config,
                 Names& names, Observer& observer, Random& random, const Clock& clock)
    : executor_(executor),
      clock_(clock),
      config_(std::move(config)),
      names_(names),
      observer_(observer),
      engine_(executor, random),
      cache_(std::make_unique<Cache>(config_.cache)),
      admission_(config_.admission),
      scratch_(max_message_size),
      alive_(std::make_shared<Service*>(this)) {
    engine_.after_batch = [this] { flush(); };
    configure_upstreams();
    build_local();
    attach(std::move(udp), std::move(tcp));
}

Service::~Service() {
    closing_ = true;
    alive_.reset();
    engine_.after_batch = nullptr;
    udp_->close();
    tcp_->close();
    default_.reset();
    routes_.clear();
}

void Service::start() {
    udp_->start([this](std::span<const UdpTransport::Datagram> datagrams) { receive(datagrams); });
    tcp_->start([this](Ipv4 peer) { return is_guest(peer); },
                [this](TcpConnection& connection, Bytes packet) { serve_tcp(connection, packet); });
    started_ = true;
    probe_for_loops();
}

void Service::receive(std::span<const UdpTransport::Datagram> datagrams) {
    now_ = clock_now();
    watched_ = observer_.wants_queries();
    if (udp_->lost() != lost_) {
        counters_.lost += udp_->lost() - lost_;
        lost_ = udp_->lost();
        admission_.lost_queries(now_);
    }
    for (const auto& datagram : datagrams) {
        const sockaddr_in& from = *datagram.from;
        const Ipv4 guest = address_of(from);
        if (!is_guest(guest) || from.sin_port == 0) {
            ++counters_.foreign;
            continue;
        }
        const auto size = serve(
            datagram.bytes, guest,
            [&] {
                return Client{from, nullptr, guest};
            },
            udp_->room(), false);
        if (size > 0) udp_->send(size, from);
    }
}

void Service::serve_tcp(TcpConnection& connection, Bytes packet) {
    now_ = clock_now();
    watched_ = observer_.wants_queries();
    ++counters_.tcp_queries;
    const auto size = serve(
        packet, connection.peer(),
        [&] {
            return Client{{}, connection.shared_from_this(), connection.peer()};
        },
        scratch_, true);
    if (size > 0) connection.send(Bytes{scratch_}.first(size));
}

/// Everything that needs no waiting. Writes the reply into `out` and returns its size; 0 when there is none, or not
/// yet.
template <class MakeClient>
std::size_t Service::serve(Bytes packet, Ipv4 guest, MakeClient make_client, std::span<std::uint8_t> out, bool tcp) {
    ++counters_.queries;
    Query query;
    const Parsed parsed = parse_query(packet, query);
    if (parsed != Parsed::Query) ++counters_.malformed;
    if (parsed == Parsed::Ignore) return 0;

    if (!admission_.admit(guest, now_)) {
        ++counters_.over_limit;
        return 0;
    }
    const std::size_t limit = tcp ? max_message_size : udp_limit(query);
    if (parsed == Parsed::Reject) {
        if (query.reject == Rcode::FormErr && !query.has_question) {
            refresh_statistics();
            if (const auto size = local_->answer_statistics(packet, query, out, limit); size > 0) return size;
        }
        const auto size = write_error(query, query.reject, out);
        note(guest, tcp, query, out.first(size), Source::Error);
        return size;
    }
    if (came_back(query.question)) return 0;

    const Suffixes suffixes{query.question.name};
    if (query.question.klass == Class::Chaos) refresh_statistics();
    const auto decision = local_->answer(query, suffixes, out, limit);
    if (decision.verdict != Verdict::Forward) {
        ++counters_.local;
        note(guest, tcp, query, out.first(decision.size), Source::Local, decision.verdict);
        return decision.size;
    }

    const auto hash = suffixes.hash(0);
    if (const auto size = cache_->answer(query, suffixes, now_, out, limit, decision.route_at); size > 0) {
        ++counters_.cached;
        note(guest, tcp, query, out.first(size), Source::Cache);
        if (config_.hold_for_addresses && hold(query, out.first(size), make_client())) return 0;
        return size;
    }
    return join(query, hash, group_for(decision), make_client(), out, limit);
}

/// The query waits for the answer to its question, which is asked unless it is out already.
std::size_t Service::join(const Query& query, std::uint64_t hash, Upstream& group, Client client,
                          std::span<std::uint8_t> out, std::size_t limit) {
    const bool tcp = client.connection != nullptr;
    Flight* flight = flights_.find(query.question, hash);
    if (flight != nullptr && repeated(*flight, client, query.id)) return 0;

    if (config_.serve_stale && group.all_down()) {
        // Nobody waits for what is not there; but asking goes on, so that the end of the outage is seen.
        if (const auto size = cache_->answer_stale(query, hash, now_, out, limit); size > 0) {
            ++counters_.stale;
            note(client.guest, tcp, query, out.first(size), Source::Stale);
            if (config_.hold_for_addresses && hold(query, out.first(size), client)) return 0;
            if (flight == nullptr) take_off(query.question, hash, group, std::nullopt);
            return size;
        }
    }
    if (!admission_.begin(client.guest)) {
        ++counters_.over_limit;
        const auto size = write_error(query, Rcode::ServFail, out);
        note(client.guest, tcp, query, out.first(size), Source::Error);
        return size;
    }
    if (client.connection) client.connection->waiting();
    Waiter waiter{query, std::move(client), now_};
    if (flight != nullptr) {
        ++counters_.merged;
        flight->waiters.push_back(std::move(waiter));
    } else {
        take_off(query.question, hash, group, std::move(waiter));
    }
    return 0;
}

/// A client that asks again, impatiently, is answered once.
bool Service::repeated(const Flight& flight, const Client& client, std::uint16_t id) {
    if (client.connection) return false;
    const auto& waiters = flight.waiters;
    const auto looked_at = static_cast<std::ptrdiff_t>(std::min(waiters.size(), repeats_looked_for));
    return std::any_of(waiters.end() - looked_at, waiters.end(), [&](const Waiter& waiter) {
        return waiter.query.id == id && waiter.client.connection == nullptr &&
               waiter.client.address.sin_addr.s_addr == client.address.sin_addr.s_addr &&
               waiter.client.address.sin_port == client.address.sin_port;
    });
}

void Service::take_off(const Question& question, std::uint64_t hash, Upstream& group, std::optional<Waiter> waiter) {
    ++counters_.forwarded;
    Flight& flight = flights_.take_off(question, hash, group);
    if (waiter) flight.waiters.push_back(std::move(*waiter));
    forward(flight);
}

/// From here on we wait; `flight` is gone when this ends.
Task Service::forward(Flight& flight) {
    auto exchange = flight.group->exchange(Bytes{flight.query}.first(flight.query_size));
    const Outcome outcome = co_await exchange;
    if (closing_) co_return;
    land(flight, outcome);
}

/// The response is checked and kept, and everyone who waits gets it in his own form.
void Service::land(Flight& flight, const Outcome& outcome) {
    now_ = clock_now();
    watched_ = observer_.wants_queries();
    const auto landed = flights_.land(flight);

    bool good = outcome.status == Outcome::Status::Answered;
    if (good) {
        const ResponseRules rules{config_.rebind_protection ? &blocked_ : nullptr};
        good = check_response(flight.question, 0, outcome.bytes, rules, answer_) == ResponseError::None &&
               !answer_.truncated;  // it was asked for over TCP: who is told TC by us could do no better
        if (!good) ++counters_.bad_responses;
    }
    if (good) {
        if (!flight.retired) cache_->store(flight.question, flight.name_hash, answer_, now_);
        report_removed(flight);
    }
    for (auto& waiter : flight.waiters) {
        admission_.end(waiter.client.guest);
        reply(flight, waiter, good, outcome);
        if (waiter.client.connection) waiter.client.connection->finished();
    }
}

void Service::reply(const Flight& flight, const Waiter& waiter, bool good, const Outcome& outcome) {
    const Query& query = waiter.query;
    const bool tcp = waiter.client.connection != nullptr;
    const auto out = tcp ? std::span<std::uint8_t>{scratch_} : udp_->room();
    const auto limit = tcp ? max_message_size : udp_limit(query);
    std::size_t size = 0;
    Source source = Source::Upstream;
    // SERVFAIL and REFUSED say nothing about the name, so what is known of it has not been refreshed (RFC 8767 section
    // 4).
    const bool tells = good && (answer_.rcode == Rcode::NoError || answer_.rcode == Rcode::NxDomain);
    if (!tells && config_.serve_stale && !flight.retired)
        size = cache_->answer_stale(query, flight.name_hash, now_, out, limit);
    if (size > 0) {
        source = Source::Stale;
        ++counters_.stale;
    } else if (good) {
        size = write_answer(answer_.view(), query, Age{}, out, limit);
    } else {
        source = Source::Error;
        ++counters_.failed;
        size = write_error(query, Rcode::ServFail, out, Ede::NoReachableAuthority);
    }
    const Bytes message = out.first(size);
    note(waiter.client.guest, tcp, query, message, source, Verdict::Forward, outcome.from,
         std::chrono::duration_cast<std::chrono::microseconds>(now_ - waiter.since));
    if (config_.hold_for_addresses && hold(query, message, waiter.client)) return;
    if (tcp)
        waiter.client.connection->send(message);
    else
        udp_->send(size, waiter.client.address);
}

/// True when the reply says addresses that may not be reached yet: it is sent when they may.
bool Service::hold(const Query& query, Bytes reply, const Client& client) {
    AnswerView view;
    view.wire = reply;
    const auto addresses = resolved_addresses(view);
    if (addresses.empty()) return false;
    auto then = [alive = std::weak_ptr<Service*>{alive_}, client,
                 message = std::vector<std::uint8_t>(reply.begin(), reply.end())] {
        if (const auto service = alive.lock()) (*service)->send_held(client, message);
    };
    if (observer_.resolved(query.question.name, addresses, std::move(then))) return false;
    if (client.connection) client.connection->waiting();
    return true;
}

void Service::send_held(const Client& client, Bytes message) {
    if (client.connection) {
        client.connection->send(message);
        client.connection->finished();
        return;
    }
    const auto out = udp_->room();
    std::memcpy(out.data(), message.data(), message.size());
    udp_->send(message.size(), client.address);
    udp_->flush();
}

bool Service::is_guest(Ipv4 peer) const {
    const Cidr& segment = config_.local.segment;
    if (peer == segment.address) return config_.host_lookup;
    if (!segment.contains(peer)) return false;
    return segment.length >= 31 || (peer != segment.first() && peer != segment.last());
}

/// A question that only we ask has come back: one of our upstreams asks us.
bool Service::came_back(const Question& question) {
    if (question.type != Type::Txt || !Upstream::looks_like_loop(question.name.wire())) return false;
    bool ours = default_->is_loop(question.name.wire());
    for (const auto& route : routes_) ours |= route->is_loop(question.name.wire());
    if (ours) ++counters_.loops;
    return ours;
}

Upstream& Service::group_for(const LocalDecision& decision) {
    return decision.route != nullptr ? *routes_[decision.route->upstream_group] : *default_;
}

void Service::note(Ipv4 guest, bool tcp, const Query& query, Bytes reply, Source source, Verdict verdict,
                   const Endpoint* upstream, std::chrono::microseconds took) {
    if (source != Source::Error && query.question.type == Type::A)
        resolved_.note(guest, query.question.name, reply, now_);
    if (!watched_ || !query.has_question || reply.size() < header_size) return;
    const auto rcode = query.reject != Rcode::NoError ? query.reject : Rcode{static_cast<std::uint16_t>(reply[3] & 15)};
    observer_.answered({guest, tcp, query.question, rcode, source, verdict, upstream, took});
}

void Service::report_removed(const Flight& flight) {
    if (answer_.removed_count == 0) return;
    counters_.rebound += answer_.removed_count;
    if (!removed_rate_.take(now_)) return;
    observer_.removed(flight.waiters.empty() ? Ipv4{} : flight.waiters.front().client.guest, flight.question, answer_);
}

/// What completed outside the receive loop leaves together.
void Service::flush() {
    udp_->flush();
}

}  // namespace vmrouter::dns
