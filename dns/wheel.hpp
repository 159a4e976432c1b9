#pragma once

// Thousands of time-outs that nearly never fire: every question on its way has two. A heap would pay log(n) for each;
// this wheel of slots pays a list insertion, and one Asio timer, armed only while something is pending, turns it.

#include <array>
#include <asio/any_io_executor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace vmrouter::dns {

class Wheel;

/// A place in a ring.
struct WheelLink {
    WheelLink* next = this;
    WheelLink* previous = this;
};

/// A time-out that may be pending in one Wheel. Part of what it is about; leaves the wheel when it dies.
class Timeout : private WheelLink {
public:
    using Action = void (*)(void* context);

    Timeout(Action action, void* context) : action_(action), context_(context) {}
    ~Timeout() { cancel(); }
    Timeout(const Timeout&) = delete;
    Timeout& operator=(const Timeout&) = delete;

    void cancel();
    [[nodiscard]] bool pending() const { return wheel_ != nullptr; }

private:
    friend class Wheel;

    Wheel* wheel_ = nullptr;
    Action action_ = nullptr;
    void* context_ = nullptr;
    std::int64_t due_ = 0;  ///< in ticks
};

class Wheel {
public:
    /// Time-outs are rounded up to this.
    static constexpr std::chrono::milliseconds tick{8};

    explicit Wheel(asio::any_io_executor executor);
    ~Wheel();
    Wheel(const Wheel&) = delete;
    Wheel& operator=(const Wheel&) = delete;

    /// Calls the time-out's action once, `delay` from now, unless it is cancelled or set anew before. Actions may set
    /// and cancel any time-out, their own included.
    void set(Timeout& timeout, std::chrono::milliseconds delay) { set(timeout, delay, Clock::now()); }
    /// The same for who has just looked at the clock.
    void set(Timeout& timeout, std::chrono::milliseconds delay, std::chrono::steady_clock::time_point now);

    /// Called after a turn in which actions were called: the moment to send what they produced.
    std::function<void()> after_turn;

private:
    friend class Timeout;
    static constexpr std::size_t slots = 1024;
    using Clock = std::chrono::steady_clock;
    using Instant = Clock::time_point;

    [[nodiscard]] std::int64_t tick_of(Instant when) const { return (when - start_) / tick; }
    void arm(std::int64_t due);
    void turn();
    [[nodiscard]] std::int64_t next_due() const;

    asio::steady_timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< for what is queued in the loop when we go
    Instant start_;
    std::int64_t turned_ = 0;  ///< everything due at or before this tick has been called
    std::int64_t armed_ = 0;   ///< tick at which the timer fires; 0: not armed
    std::size_t pending_ = 0;
    std::array<WheelLink, slots> heads_;
};

}  // namespace vmrouter::dns
