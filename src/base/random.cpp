#include "src/base/random.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace vmrouter {

std::uint64_t Random::below(std::uint64_t bound) {
    if (bound == 0) return 0;
    const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;  // rejects the uneven tail
    for (;;) {
        const std::uint64_t value = u64();
        if (value < limit) return value % bound;
    }
}

std::uint64_t SystemRandom::u64() {
    if (left_ == 0) {
        auto* bytes = reinterpret_cast<char*>(pool_.data());
        std::size_t filled = 0;
        while (filled < sizeof pool_) {
            const auto got = getrandom(bytes + filled, sizeof pool_ - filled, 0);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) std::abort();  // getrandom(2) cannot fail here on Linux 3.17 and later
            filled += static_cast<std::size_t>(got);
        }
        left_ = pool_.size();
    }
    return pool_[--left_];
}

}  // namespace vmrouter
