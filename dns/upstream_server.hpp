#pragma once

// One upstream of a group, for the group and its exchanges alone: its channels, and what is known about its health.

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "dns/upstream.hpp"
#include "src/base/random.hpp"

namespace vmrouter::dns {

class Upstream::Server {
public:
    // A label of so many random hexadecimal digits in front of this is a question that only we ask.
    static constexpr std::string_view loop_suffix{"\x0dvmrouter-loop\x04test\0", 20};
    static constexpr std::size_t loop_label = 32;

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
    void heard(Monotonic when, Monotonic asked);
    /// One question that was sent is over.
    void count(Ending ending) {
        if (ending == Ending::Answered) ++answers_;
        if (ending == Ending::Silent || ending == Ending::Refused || ending == Ending::Broken) ++failures_;
    }

    /// It left a question unanswered: a probe finds out whether it lives.
    void suspect();
    /// It, or its host, said that nobody listens there.
    void refused();
    void probe();
    /// `for_good`: its address is one of ours; else until probe_for_loop() gives it another chance.
    void found_to_be_loop(bool for_good);
    /// A resolver that asked us may have been told not to: it is trusted again until the probe comes back once more.
    void probe_for_loop(Random& random);
    void probe_if_due(Monotonic when);
    void probe_at_once(bool even_alive);
    void probe_ended(Ending ending);
    void probe_failed();
    [[nodiscard]] bool is_loop(Bytes label) const {
        return label.size() == loop_token_.size() && std::memcmp(label.data(), loop_token_.data(), label.size()) == 0;
    }

    [[nodiscard]] UpstreamStatus status() const;

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

}  // namespace vmrouter::dns
