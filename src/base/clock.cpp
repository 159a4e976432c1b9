#include "src/base/clock.hpp"

#include <ctime>

namespace vmrouter {

Monotonic SystemClock::boottime() const {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return Monotonic{Seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
}

}  // namespace vmrouter
