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

// --- The path of a query ---

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
        good = check_response(flight.question, 0, outcome.bytes, rules, answer_) == ResponseError::None;
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

// --- Configuration ---

void Service::attach(FileDescriptor udp, FileDescriptor tcp) {
    udp_ = std::make_unique<UdpTransport>(executor_, std::move(udp));
    lost_ = 0;
    tcp_ = std::make_unique<TcpServer>(executor_, engine_.wheel(), std::move(tcp), config_.tcp);
}

void Service::replace_sockets(FileDescriptor udp, FileDescriptor tcp) {
    counters_.dropped += udp_->dropped();
    counters_.tcp_connections += tcp_->accepted();
    counters_.tcp_refused += tcp_->refused();
    udp_->close();
    tcp_->close();
    attach(std::move(udp), std::move(tcp));
    if (started_) start();
}

UpstreamConfig Service::upstream_config(const std::vector<Endpoint>& servers) const {
    UpstreamConfig config;
    config.servers = servers;
    config.strict_order = config_.strict_order;
    config.device = config_.uplink;
    config.own = config_.own_addresses;
    config.own.push_back(config_.local.segment.address);
    return config;
}

bool Service::configure(Upstream& group, const std::vector<Endpoint>& servers) {
    if (!group.configure(upstream_config(servers))) return false;
    if (started_) group.probe_for_loops();
    return true;
}

/// Groups of routes that stay are kept with what they know; what is out to one that goes ends in SERVFAIL.
void Service::configure_upstreams() {
    const auto watch = [this](Upstream& group) {
        group.health_changed = [this](const Endpoint& upstream, Health before, Health now) {
            observer_.upstream_changed(upstream, before, now);
        };
    };
    if (default_) {
        configure(*default_, config_.upstreams);
    } else {
        default_ = std::make_unique<Upstream>(engine_, upstream_config(config_.upstreams));
        watch(*default_);
    }
    auto old = std::move(routes_);
    routes_.clear();
    for (const auto& route : config_.routes) {
        const auto known = std::find(route_domains_.begin(), route_domains_.end(), route.domain);
        auto* kept =
            known != route_domains_.end() ? &old[static_cast<std::size_t>(known - route_domains_.begin())] : nullptr;
        if (kept != nullptr && *kept) {
            configure(**kept, route.upstreams);
            routes_.push_back(std::move(*kept));
        } else {
            routes_.push_back(std::make_unique<Upstream>(engine_, upstream_config(route.upstreams)));
            watch(*routes_.back());
            if (started_) routes_.back()->probe_for_loops();
        }
    }
    route_domains_.clear();
    for (const auto& route : config_.routes) route_domains_.push_back(route.domain);
}

void Service::build_local() {
    LocalConfig local = config_.local;
    local.routes.clear();
    for (std::size_t i = 0; i < config_.routes.size(); ++i) local.routes.push_back({config_.routes[i].domain, i});
    local_.emplace(std::move(local), Local::Sources{&names_, &blocked_, list_.get(), cache_.get(), &statistics_});
}

void Service::reconfigure(ServiceConfig config) {
    const bool everything = config.upstreams != config_.upstreams || config.uplink != config_.uplink;
    const bool limits = config.cache.entries != config_.cache.entries || config.cache.bytes != config_.cache.bytes;
    const auto flush_changed = [this](const std::vector<RouteConfig>& routes, const std::vector<RouteConfig>& others) {
        for (const auto& route : routes) {
            if (std::find(others.begin(), others.end(), route) != others.end()) continue;
            cache_->flush(route.domain);
            flights_.retire([&](const Question& question) { return question.name.is_under(route.domain); });
        }
    };
    if (everything) cache_->flush();
    flush_changed(config.routes, config_.routes);
    flush_changed(config_.routes, config.routes);
    config_ = std::move(config);
    if (limits) cache_ = std::make_unique<Cache>(config_.cache);
    configure_upstreams();
    build_local();
    flush();
}

bool Service::set_upstreams(std::vector<Endpoint> upstreams) {
    if (upstreams == config_.upstreams) return false;
    config_.upstreams = std::move(upstreams);
    cache_->flush();  // questions that are out are asked again
    configure(*default_, config_.upstreams);
    flush();
    return true;
}

void Service::network_changed() {
    look_around(false);
}

void Service::woke() {
    look_around(true);
}

void Service::look_around(bool everywhere) {
    cache_->flush_negative();
    if (!started_) return;
    probe_for_loops();
    default_->probe_at_once(everywhere);
    for (const auto& route : routes_) route->probe_at_once(everywhere);
    flush();
}

void Service::set_blocked(PrefixSet blocked) {
    if (blocked == blocked_) return;
    blocked_ = std::move(blocked);
    cache_->flush();  // what was fit to be said may not be any more
}

void Service::set_blocklist(std::shared_ptr<const Blocklist> list) {
    list_ = std::move(list);
    build_local();
}

void Service::probe_for_loops() {
    default_->probe_for_loops();
    for (const auto& route : routes_) route->probe_for_loops();
}

/// For dnsmasq's names under "bind." (class CHAOS); nobody else looks at these.
void Service::refresh_statistics() {
    statistics_.clear();
    for (const auto& upstream : default_->status()) {
        Endpoint bare = upstream.endpoint;
        bare.port = 53;
        statistics_.push_back({to_string(bare) + "#" + std::to_string(upstream.endpoint.port), upstream.queries,
                               upstream.queries - std::min(upstream.queries, upstream.answers + upstream.out)});
    }
}

std::vector<Service::RouteStatus> Service::routes() const {
    std::vector<RouteStatus> all;
    for (std::size_t i = 0; i < routes_.size(); ++i) all.push_back({config_.routes[i].domain, routes_[i]->status()});
    return all;
}

std::optional<Service::ResolvedName> Service::name_for(Ipv4 guest, Ipv4 address) const {
    const auto found = resolved_.find(guest, address);
    if (!found) return std::nullopt;
    return ResolvedName{found->name, std::chrono::duration_cast<std::chrono::milliseconds>(clock_now() - found->when)};
}

ServiceCounters Service::counters() const {
    ServiceCounters all = counters_;
    all.dropped += udp_->dropped();
    all.tcp_connections += tcp_->accepted();
    all.tcp_refused += tcp_->refused();
    all.outstanding = flights_.size();
    all.cache = cache_->statistics();
    all.cache_entries = cache_->size();
    all.cache_bytes = cache_->bytes();
    return all;
}

}  // namespace vmrouter::dns
