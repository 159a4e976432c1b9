#include "dns/upstream_server.hpp"

#include <algorithm>

namespace vmrouter::dns {

namespace {

using namespace std::chrono_literals;

Monotonic now() {
    return std::chrono::steady_clock::now();
}

// ". NS", RD, with our OPT: what every resolver has at hand.
constexpr std::array<std::uint8_t, 28> probe_query{0, 0, 1, 0, 0, 1,  0, 0,    0, 0, 0, 1, 0, 0,
                                                   2, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0};

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

void Upstream::Server::heard(Monotonic when, Monotonic asked) {
    last_heard_ = when;
    const auto sample = std::chrono::duration_cast<std::chrono::microseconds>(when - asked);
    rtt_ = rtt_ == 0us ? sample : (rtt_ * 7 + sample) / 8;
    if (health_ == Health::Suspect || health_ == Health::Down) group_.set_health(*this, Health::Up);
    probe_interval_ = least_probe_interval;
}

void Upstream::Server::suspect() {
    if (health_ != Health::Up) return;
    group_.set_health(*this, Health::Suspect);
    probe();
}

void Upstream::Server::refused() {
    if (health_ == Health::Down || health_ == Health::Loop) return;
    next_probe_ = now() + probe_interval_;
    group_.set_health(*this, Health::Down);
}

void Upstream::Server::found_to_be_loop(bool for_good) {
    loop_for_good_ = for_good;
    next_probe_ = now() + most_probe_interval;
    group_.set_health(*this, Health::Loop);
}

void Upstream::Server::probe_if_due(Monotonic when) {
    if (health_ == Health::Loop && when >= next_probe_) probe_for_loop(group_.engine_.random());
    if (health_ == Health::Suspect || (health_ == Health::Down && when >= next_probe_)) probe();
}

void Upstream::Server::probe_at_once(bool even_alive) {
    if (health_ == Health::Loop || (health_ == Health::Up && !even_alive)) return;
    probe_interval_ = least_probe_interval;
    probe();
}

UpstreamStatus Upstream::Server::status() const {
    UpstreamStatus status;
    status.endpoint = endpoint_;
    status.health = health_;
    status.rtt = std::chrono::duration_cast<Milliseconds>(rtt_ + 999us);
    status.queries = queries_;
    status.answers = answers_;
    status.failures = failures_;
    status.out = pool_ ? pool_->out() : 0;
    if (last_heard_ != Monotonic{}) status.since_answer = std::chrono::duration_cast<Milliseconds>(now() - last_heard_);
    return status;
}

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

}  // namespace vmrouter::dns
