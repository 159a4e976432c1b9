// What the service is made of, what changes while it runs, and what it tells of itself.

#include <algorithm>
#include <utility>

#include "dns/service.hpp"

namespace vmrouter::dns {

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
