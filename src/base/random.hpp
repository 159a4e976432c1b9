#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace vmrouter {

/// Randomness comes in from outside, so that decisions can be tested.
class Random {
public:
    virtual ~Random() = default;
    virtual std::uint64_t u64() = 0;

    std::uint16_t u16() { return static_cast<std::uint16_t>(u64()); }
    /// Uniform in [0, bound); 0 for a bound of 0.
    std::uint64_t below(std::uint64_t bound);
};

/// getrandom(2), fetched 256 bytes at a time; unpredictable to guests (query ids, ports).
class SystemRandom final : public Random {
public:
    std::uint64_t u64() override;

private:
    std::array<std::uint64_t, 32> pool_{};
    std::size_t left_ = 0;
};

}  // namespace vmrouter
