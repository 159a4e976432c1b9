#include "dns/upstream.hpp"

#include <algorithm>
#include <utility>

#include "dns/upstream_server.hpp"

namespace vmrouter::dns {

using namespace std::chrono_literals;

Upstream::Upstream(Engine& engine, UpstreamConfig config) : engine_(engine) {
    configure(std::move(config));
}

Upstream::~Upstream() {
    while (first_ != nullptr) first_->finish(Outcome::Status::Cancelled);
    for (auto& server : servers_) server->close();
    engine_.settle();
}

Exchange Upstream::exchange(Bytes query) {
    return Exchange{*this, query};
}

bool Upstream::configure(UpstreamConfig config) {
    if (config.servers.size() > most_servers) config.servers.resize(most_servers);
    const bool other_way = config.device != config_.device;
    if (config == config_) return false;

    auto old = std::move(servers_);
    servers_.clear();
    config_ = std::move(config);
    for (const auto& endpoint : config_.servers) {
        const auto same = std::find_if(old.begin(), old.end(), [&](const auto& server) {
            return server && !other_way && server->endpoint() == endpoint;
        });
        if (same != old.end()) {
            (*same)->renumber(servers_.size());
            servers_.push_back(std::move(*same));
        } else {
            servers_.push_back(std::make_unique<Server>(*this, endpoint, servers_.size()));
        }
        auto& server = *servers_.back();
        const auto* ip4 = std::get_if<Ipv4>(&endpoint.address);
        const bool is_own = endpoint.port == 53 && ip4 != nullptr &&
                            std::find(config_.own.begin(), config_.own.end(), *ip4) != config_.own.end();
        if (is_own) server.found_to_be_loop(true);
    }
    for (Exchange* exchange = first_; exchange != nullptr; exchange = exchange->next_) {
        exchange->asked_ = exchange->refused_ = 0;
        exchange->last_ = nullptr;
    }
    for (auto& server : old) {
        if (server) server->close();
    }
    engine_.settle();  // what was cancelled is asked anew, before the old servers go
    return true;
}

std::vector<UpstreamStatus> Upstream::status() const {
    std::vector<UpstreamStatus> all;
    for (const auto& server : servers_) all.push_back(server->status());
    return all;
}

bool Upstream::all_down() const {
    return std::all_of(servers_.begin(), servers_.end(), [](const auto& server) {
        return server->health_ == Health::Down || server->health_ == Health::Loop;
    });
}

bool Upstream::heard_since(Monotonic when) const {
    return std::any_of(servers_.begin(), servers_.end(),
                       [&](const auto& server) { return server->last_heard_ >= when; });
}

void Upstream::set_health(Server& server, Health health) {
    const auto before = std::exchange(server.health_, health);
    if (before != health && health_changed) health_changed(server.endpoint(), before, health);
}

/// The best server that this exchange has not asked in this round; in a further round (`again`), of all.
Upstream::Server* Upstream::choose(const Exchange& exchange, bool again) const {
    Server* best = nullptr;
    for (const auto& server : servers_) {
        const auto not_these = exchange.refused_ | (again ? 0 : exchange.asked_);
        if (server->health_ == Health::Loop || (not_these & server->bit()) != 0) continue;
        const bool better = best == nullptr || server->health_ < best->health_ ||
                            (!config_.strict_order && server->health_ == best->health_ && server->rtt_ < best->rtt_);
        if (better) best = server.get();
    }
    return best;
}

/// How long this exchange waits for `server` before it asks the next one as well.
std::chrono::milliseconds Upstream::patience(const Exchange& exchange, const Server& server) const {
    if (!exchange.second_best_.empty()) return patience_of_first;
    if (servers_.size() == 1 || choose(exchange, false) == nullptr) return first_repeat * exchange.sent_;
    if (config_.strict_order || server.rtt_ == 0us) return patience_of_first;
    const auto usual = std::chrono::duration_cast<std::chrono::milliseconds>(server.rtt_ * 3);
    return std::clamp(usual, least_patience, patience_of_first);
}

void Upstream::probe_the_down(Monotonic when) {
    for (const auto& server : servers_) server->probe_if_due(when);
}

void Upstream::enqueue(Exchange& exchange) {
    if (queued_ >= longest_queue) return exchange.finish(Outcome::Status::Overloaded);
    exchange.queued_ = true;
    ++queued_;
    queue_.push_back(&exchange);
}

/// Lets the questions that wait for a channel go on while there is room.
void Upstream::pump() {
    if (pumping_ || queue_.empty()) return;
    pumping_ = true;
    while (!queue_.empty()) {
        Exchange* exchange = queue_.front();
        queue_.pop_front();
        if (exchange == nullptr) continue;  // it ended while it waited
        --queued_;
        exchange->queued_ = false;
        exchange->ask_next(std::chrono::steady_clock::now());
        if (!queue_.empty() && queue_.back() == exchange) break;  // still full
    }
    pumping_ = false;
}

void Upstream::probe_for_loops() {
    for (const auto& server : servers_) server->probe_for_loop(engine_.random());
}

void Upstream::probe_at_once(bool everyone) {
    for (const auto& server : servers_) server->probe_at_once(everyone);
}

bool Upstream::looks_like_loop(Bytes qname) {
    return qname.size() == 1 + Server::loop_label + Server::loop_suffix.size() && qname[0] == Server::loop_label;
}

bool Upstream::is_loop(Bytes qname) {
    if (!looks_like_loop(qname)) return false;
    std::array<std::uint8_t, 1 + Server::loop_label> lower;  // a resolver on the way may mix cases (0x20)
    for (std::size_t i = 0; i < lower.size(); ++i)
        lower[i] = static_cast<std::uint8_t>(qname[i] >= 'A' && qname[i] <= 'Z' ? qname[i] + 32 : qname[i]);
    for (const auto& server : servers_) {
        if (!server->is_loop(Bytes{lower}.subspan(1))) continue;
        server->found_to_be_loop(false);
        return true;
    }
    return false;
}

}  // namespace vmrouter::dns
