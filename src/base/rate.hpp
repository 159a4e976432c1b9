#pragma once

#include <algorithm>
#include <cstdint>

#include "src/base/clock.hpp"

namespace vmrouter {

/// Allows `per_second` events a second on average and `burst` at once. Pure: time comes in.
class TokenBucket {
public:
    TokenBucket(double per_second, double burst) : per_second_(per_second), burst_(burst), tokens_(burst) {}

    /// Takes one token; false when there is none.
    bool take(Monotonic now) {
        if (last_ != Monotonic{}) {
            const std::chrono::duration<double> passed = now - last_;
            tokens_ = std::min(burst_, tokens_ + passed.count() * per_second_);
        }
        last_ = now;
        if (tokens_ < 1.0) return false;
        tokens_ -= 1.0;
        return true;
    }

private:
    double per_second_;
    double burst_;
    double tokens_;
    Monotonic last_{};
};

}  // namespace vmrouter
