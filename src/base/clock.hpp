#pragma once

#include <chrono>

namespace vmrouter {

using Seconds = std::chrono::seconds;
using Milliseconds = std::chrono::milliseconds;

/// A moment of the wall clock (leases expire by it, because their file outlives the process).
using Time = std::chrono::sys_time<Milliseconds>;
/// A moment of the monotonic clock (time-outs, rates, cache lifetimes).
using Monotonic = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;

/// Where the edge asks for the time; cores are handed `now`.
class Clock {
public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual Time now() const = 0;
    [[nodiscard]] virtual Monotonic monotonic() const = 0;
    /// The same, but it goes on while the machine sleeps, as the world does: for what somebody was promised to last.
    [[nodiscard]] virtual Monotonic boottime() const { return monotonic(); }
};

/// The machine's clocks.
class SystemClock final : public Clock {
public:
    [[nodiscard]] Time now() const override {
        return std::chrono::floor<Milliseconds>(std::chrono::system_clock::now());
    }
    [[nodiscard]] Monotonic monotonic() const override { return std::chrono::steady_clock::now(); }
    [[nodiscard]] Monotonic boottime() const override;
};

inline const SystemClock system_clock;

}  // namespace vmrouter
