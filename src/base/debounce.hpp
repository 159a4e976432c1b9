#pragma once

#include <algorithm>
#include <optional>

#include "src/base/clock.hpp"

namespace vmrouter {

/// When a burst of events is over: after `quiet` without one, and `patience` after the first at the latest. Pure: time
/// comes in.
class Debounce {
public:
    Debounce(Milliseconds quiet, Milliseconds patience) : quiet_(quiet), patience_(patience) {}

    void event(Monotonic now) {
        if (!first_) first_ = now;
        last_ = now;
    }

    /// When to act, as far as is known now; nullopt: nothing has happened.
    [[nodiscard]] std::optional<Monotonic> due() const {
        if (!first_) return std::nullopt;
        return std::min(last_ + quiet_, *first_ + patience_);
    }

    /// The next event is the first of another burst.
    void reset() { first_.reset(); }

private:
    Milliseconds quiet_;
    Milliseconds patience_;
    std::optional<Monotonic> first_;
    Monotonic last_{};
};

}  // namespace vmrouter
