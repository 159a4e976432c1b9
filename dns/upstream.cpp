#include "dns/upstream.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "dns/response.hpp"

namespace vmrouter::dns {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t header_bytes = 12;
constexpr std::uint8_t most_sent = 8;  // of one question, all servers and repeats together

Monotonic now() {
    return std::chrono::steady_clock::now();
}

/// FORMERR, SERVFAIL, NOTIMP, REFUSED, and truncated though it came over TCP: another server may know better.
bool says_failure(Bytes response) {
    const auto rcode = response[3] & 15;
    const bool truncated = (response[2] & 2) != 0;
    return truncated || rcode == 1 || rcode == 2 || rcode == 4 || rcode == 5;
}

/// Can every record be read? Guests are not shown what cannot.
bool is_well_formed(Bytes response) {
    RecordWalk records(response);
    while (records.next() != nullptr) {
    }
    return records.ok();
}

// ". NS", RD, with our OPT: what every resolver has at hand.
constexpr std::array<std::uint8_t, 28> probe_query{0, 0, 1, 0, 0, 1,  0, 0,    0, 0, 0, 1, 0, 0,
                                                   2, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0};

// A label of 32 random hexadecimal digits in front of this is a question that only we ask.
constexpr std::string_view loop_suffix{"\x0dvmrouter-loop\x04test\0", 20};
constexpr std::size_t loop_label = 32;

}  // namespace

std::string_view to_string(Health health) {
    switch (health) {
        case Health::Up:
            return "up";
        case Health::Suspect:
            return "suspect";
        case Health::Down:
            return "down";
        case Health::Loop:
            return "loop";
    }
    return "";
}

/// One upstream: its channels and what is known about it.
class Upstream::Server {
public:
    Server(Upstream& group, Endpoint endpoint, std::size_t number)
        : group_(group),
          endpoint_(std::move(endpoint)),
          pool_(std::make_unique<ChannelPool>(group.engine_, endpoint_, group.config_.device)),
          number_(number),
          probe_overdue_([](void* self) { static_cast<Server*>(self)->probe_failed(); }, this) {}

    [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
    [[nodiscard]] std::uint32_t bit() const { return std::uint32_t{1} << number_; }
    void renumber(std::size_t number) { number_ = number; }

    bool send(std::unique_ptr<Attempt>& attempt, Bytes query) {
        if (!pool_ || !pool_->send(attempt, query)) return false;
        ++queries_;
        return true;
    }

    [[nodiscard]] bool crowded() const { return pool_ && pool_->crowded(); }

    /// Ends what is out as Cancelled; the engine's next settle() tells, and refers to this server.
    void close() {
        pool_.reset();
        probe_overdue_.cancel();
    }

    /// Something came from it: it lives.
    void heard(Monotonic when, Monotonic asked) {
        last_heard_ = when;
        const auto sample = std::chrono::duration_cast<std::chrono::microseconds>(when - asked);
        rtt_ = rtt_ == 0us ? sample : (rtt_ * 7 + sample) / 8;
        if (health_ == Health::Suspect || health_ == Health::Down) group_.set_health(*this, Health::Up);
        probe_interval_ = least_probe_interval;
    }

    /// One question that was sent is over.
    void count(Ending ending) {
        if (ending == Ending::Answered) ++answers_;
        if (ending == Ending::Silent || ending == Ending::Refused || ending == Ending::Broken) ++failures_;
    }

    void suspect() {
        if (health_ != Health::Up) return;
        group_.set_health(*this, Health::Suspect);
        probe();
    }

    void refused() {
        if (health_ == Health::Down || health_ == Health::Loop) return;
        next_probe_ = now() + probe_interval_;
        group_.set_health(*this, Health::Down);
    }

    void probe();
    void found_to_be_loop(bool for_good) {
        loop_for_good_ = for_good;
        next_probe_ = now() + most_probe_interval;
        group_.set_health(*this, Health::Loop);
    }
    /// A resolver that asked us may have been told not to: it is trusted again until the probe comes back once more.
    void probe_for_loop(Random& random);

    void probe_if_due(Monotonic when) {
        if (health_ == Health::Loop && when >= next_probe_) probe_for_loop(group_.engine_.random());
        if (health_ == Health::Suspect || (health_ == Health::Down && when >= next_probe_)) probe();
    }
    void probe_at_once(bool even_alive) {
        if (health_ == Health::Loop || (health_ == Health::Up && !even_alive)) return;
        probe_interval_ = least_probe_interval;
        probe();
    }
    void probe_ended(Ending ending);
    void probe_failed();
    [[nodiscard]] bool is_loop(Bytes label) const {
        return label.size() == loop_token_.size() && std::memcmp(label.data(), loop_token_.data(), label.size()) == 0;
    }

    [[nodiscard]] UpstreamStatus status() const {
        UpstreamStatus status;
        status.endpoint = endpoint_;
        status.health = health_;
        status.rtt = std::chrono::duration_cast<Milliseconds>(rtt_ + 999us);
        status.queries = queries_;
        status.answers = answers_;
        status.failures = failures_;
        status.out = pool_ ? pool_->out() : 0;
        if (last_heard_ != Monotonic{})
            status.since_answer = std::chrono::duration_cast<Milliseconds>(now() - last_heard_);
        return status;
    }

    Health health_ = Health::Up;
    std::chrono::microseconds rtt_{0};
    Monotonic last_heard_{};

private:
    Upstream& group_;
    Endpoint endpoint_;
    std::unique_ptr<ChannelPool> pool_;
    std::size_t number_;
    std::uint64_t queries_ = 0;
    std::uint64_t answers_ = 0;
    std::uint64_t failures_ = 0;
    std::chrono::seconds probe_interval_ = least_probe_interval;
    Monotonic probed_{};
    Monotonic next_probe_{};
    bool loop_for_good_ = false;  ///< its address is one of ours
    Timeout probe_overdue_;
    std::array<std::uint8_t, loop_label> loop_token_{};
};

/// One query of an exchange on the wire; the exchange may be over before it ends.
class Upstream::Question final : public Attempt {
public:
    Question(Exchange& exchange, Server& server, Monotonic asked)
        : exchange_(&exchange), server_(server), group_(exchange.upstream_), asked_(asked) {
        next_ = exchange.questions_;
        if (next_ != nullptr) next_->previous_ = this;
        exchange.questions_ = this;
    }
    ~Question() override { detach(); }

    void ended(Ending ending, std::span<std::uint8_t> response) override {
        Exchange* exchange = exchange_;
        detach();
        server_.count(ending);
        if (ending == Ending::Answered) server_.heard(group_.engine_.time(), asked_);
        if (ending == Ending::Refused) server_.refused();
        if (exchange != nullptr) {
            if (ending == Ending::Answered)
                exchange->answered(server_, response);
            else
                exchange->failed(server_, ending);
        }
        if (ending != Ending::Cancelled) group_.pump();
    }

    [[nodiscard]] const Question* next() const { return next_; }
    [[nodiscard]] const Server& server() const { return server_; }

    void detach() {
        if (exchange_ == nullptr) return;
        (previous_ != nullptr ? previous_->next_ : exchange_->questions_) = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
        exchange_ = nullptr;
        abandon();
    }

private:
    Exchange* exchange_;
    Server& server_;
    Upstream& group_;
    Monotonic asked_;
    Question* next_ = nullptr;
    Question* previous_ = nullptr;
};

class Upstream::Probe final : public Attempt {
public:
    explicit Probe(Server& server) : server_(server), asked_(now()) {}
    void ended(Ending ending, std::span<std::uint8_t>) override {
        if (ending == Ending::Answered) server_.heard(now(), asked_);
        server_.probe_ended(ending);
    }

private:
    Server& server_;
    Monotonic asked_;
};

class Upstream::LoopProbe final : public Attempt {
public:
    void ended(Ending, std::span<std::uint8_t>) override {}  // whatever it says, only its coming back to us matters
};

void Upstream::Server::probe() {
    if (probe_overdue_.pending()) return;
    std::unique_ptr<Attempt> attempt = std::make_unique<Probe>(*this);
    if (!pool_ || !pool_->send(attempt, probe_query)) return;
    probed_ = now();
    group_.engine_.wheel().set(probe_overdue_, probe_patience);
}

void Upstream::Server::probe_ended(Ending ending) {
    if (!probe_overdue_.pending() || ending == Ending::Cancelled || ending == Ending::Silent) return;
    probe_overdue_.cancel();
    if (ending == Ending::Refused) probe_failed();
}

void Upstream::Server::probe_failed() {
    if (last_heard_ >= probed_ || health_ == Health::Loop) return;
    next_probe_ = now() + probe_interval_;
    probe_interval_ = std::min(probe_interval_ * 2, most_probe_interval);
    group_.set_health(*this, Health::Down);
}

void Upstream::Server::probe_for_loop(Random& random) {
    if (loop_for_good_) return;
    if (health_ == Health::Loop) group_.set_health(*this, Health::Up);
    for (auto& digit : loop_token_) digit = static_cast<std::uint8_t>("0123456789abcdef"[random.below(16)]);
    std::array<std::uint8_t, 128> message{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    Writer writer{message};
    writer.bytes(Bytes{probe_query}.first(10));
    writer.u16(0);  // no OPT
    writer.u8(loop_label);
    writer.bytes(loop_token_);
    writer.text(loop_suffix);
    writer.u16(16);  // TXT
    writer.u16(1);
    std::unique_ptr<Attempt> attempt = std::make_unique<LoopProbe>();
    if (pool_) pool_->send(attempt, writer.written());
}

// --- Upstream ---

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
        exchange->ask_next(now());
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
    return qname.size() == 1 + loop_label + loop_suffix.size() && qname[0] == loop_label;
}

bool Upstream::is_loop(Bytes qname) {
    if (!looks_like_loop(qname)) return false;
    std::array<std::uint8_t, 1 + loop_label> lower;  // a resolver on the way may mix cases (0x20)
    for (std::size_t i = 0; i < lower.size(); ++i)
        lower[i] = static_cast<std::uint8_t>(qname[i] >= 'A' && qname[i] <= 'Z' ? qname[i] + 32 : qname[i]);
    for (const auto& server : servers_) {
        if (!server->is_loop(Bytes{lower}.subspan(1))) continue;
        server->found_to_be_loop(false);
        return true;
    }
    return false;
}

// --- Exchange ---

Exchange::Exchange(Upstream& upstream, Bytes query)
    : upstream_(upstream),
      query_(query),
      overdue_([](void* self) { static_cast<Exchange*>(self)->overdue(); }, this),
      deadline_([](void* self) { static_cast<Exchange*>(self)->out_of_time(); }, this) {
    assert(query.size() >= header_bytes);
}

Exchange::~Exchange() {
    detach();
}

/// False: it is over already, the coroutine goes straight on.
bool Exchange::await_suspend(std::coroutine_handle<> waiter) {
    start();
    if (done_) return false;
    waiter_ = waiter;
    return true;
}

void Exchange::start() {
    begun_ = now();
    linked_ = true;
    next_ = upstream_.first_;
    if (next_ != nullptr) next_->previous_ = this;
    upstream_.first_ = this;
    ++upstream_.live_;

    upstream_.probe_the_down(begun_);
    upstream_.engine_.wheel().set(deadline_, Upstream::deadline, begun_);
    ask_next(begun_);
}

/// Asks the best server that is left, or a further time when none is; otherwise waits for what is on the wire.
void Exchange::ask_next(Monotonic when) {
    if (queued_ || done_) return;
    auto* server = upstream_.choose(*this, false);
    // With an answer in hand, if a bad one, nobody waits for a server that is down, nor longer for one that is silent.
    if (!second_best_.empty() && (server == nullptr || server->health_ == Health::Down)) {
        if (!waits_for_living()) deliver_second_best();
        return;
    }
    if (server == nullptr) {
        if (sent_ >= most_sent) return;
        server = upstream_.choose(*this, true);
        if (server == nullptr) {  // every one refuses
            if (questions_ == nullptr) finish(sent_ == 0 ? Outcome::Status::NoUpstream : Outcome::Status::Unreachable);
            return;
        }
    }
    // Many names that nobody answers: asking for each of them again would leave no room for those that are answered.
    const bool is_out = questions_ != nullptr;
    const auto ask_later = [&] { upstream_.engine_.wheel().set(overdue_, Upstream::first_repeat, when); };
    if (is_out && server->crowded()) return ask_later();
    if ((asked_ & server->bit()) != 0) asked_ = 0;
    last_asked_ = when;
    std::unique_ptr<Attempt> attempt = std::make_unique<Upstream::Question>(*this, *server, last_asked_);
    if (!server->send(attempt, query_)) return is_out ? ask_later() : upstream_.enqueue(*this);
    asked_ |= server->bit();
    last_ = server;
    ++sent_;
    upstream_.engine_.wheel().set(overdue_, upstream_.patience(*this, *server), when);
}

/// Is a question out to a server that is not known to be silent?
bool Exchange::waits_for_living() const {
    for (const auto* question = questions_; question != nullptr; question = question->next()) {
        if (question->server().health_ == Health::Up) return true;
    }
    return false;
}

/// The server asked last takes longer than it may.
void Exchange::overdue() {
    if (last_ != nullptr && last_->last_heard_ < last_asked_) last_->suspect();
    ask_next(now());
}

void Exchange::out_of_time() {
    if (!second_best_.empty()) return deliver_second_best();
    if (!extended_ && upstream_.heard_since(begun_)) {
        extended_ = true;
        upstream_.engine_.wheel().set(deadline_, Upstream::late_deadline - Upstream::deadline);
        return;
    }
    finish(Outcome::Status::Unreachable);
}

void Exchange::answered(Upstream::Server& server, std::span<std::uint8_t> response) {
    const bool others_left = upstream_.servers_.size() > 1 && upstream_.choose(*this, false) != nullptr;
    if (!says_failure(response) && (!others_left || is_well_formed(response)))
        return finish(Outcome::Status::Answered, response, &server.endpoint());
    if (second_best_.empty()) {
        second_best_.assign(response.begin(), response.end());
        second_best_from_ = server.endpoint();
    }
    ask_next(upstream_.engine_.time());
}

void Exchange::failed(Upstream::Server& server, Ending ending) {
    if (ending == Ending::Refused || ending == Ending::Broken) refused_ |= server.bit();
    if (ending == Ending::Silent) return;  // overdue() has long asked others
    ask_next(upstream_.engine_.time());
}

void Exchange::deliver_second_best() {
    finish(Outcome::Status::Answered, second_best_, &second_best_from_);
}

void Exchange::finish(Outcome::Status status, std::span<std::uint8_t> bytes, const Endpoint* from) {
    assert(!done_);
    done_ = true;
    detach();
    // The id on the wire was a random one; the caller gets back the one it knows.
    if (bytes.size() >= 2) std::copy_n(query_.begin(), 2, bytes.begin());
    outcome_ = {status, bytes, from};
    if (status != Outcome::Status::Cancelled) upstream_.pump();
    if (waiter_) std::exchange(waiter_, nullptr).resume();
}

void Exchange::detach() {
    overdue_.cancel();
    deadline_.cancel();
    while (questions_ != nullptr) questions_->detach();
    if (queued_) {
        queued_ = false;
        --upstream_.queued_;
        std::replace(upstream_.queue_.begin(), upstream_.queue_.end(), this, static_cast<Exchange*>(nullptr));
    }
    if (!linked_) return;
    linked_ = false;
    --upstream_.live_;
    (previous_ != nullptr ? previous_->next_ : upstream_.first_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
}

}  // namespace vmrouter::dns
