#include "src/wake_watch.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <catch2/catch.hpp>
#include <vector>

using namespace vmrouter;
using namespace std::chrono_literals;

namespace {

class SleepyClock final : public Clock {
public:
    [[nodiscard]] Time now() const override { return system_clock.now() + slept; }
    [[nodiscard]] Monotonic monotonic() const override { return Monotonic{1h}; }
    [[nodiscard]] Monotonic boottime() const override { return Monotonic{1h} + slept; }
    Milliseconds slept{0};
};

asio::awaitable<void> note(WakeWatch& watch, std::vector<Milliseconds>& wakes) {
    for (;;) wakes.push_back(co_await watch.woke());
}

/// Lets the timer run out, since a test must not set the machine's clock.
void run_out(int timer) {
    itimerspec past{};
    past.it_value.tv_sec = 1;
    REQUIRE(timerfd_settime(timer, TFD_TIMER_ABSTIME, &past, nullptr) == 0);
}

}  // namespace

TEST_CASE("a sleep is told once, with how long it was") {
    asio::io_context io;
    SleepyClock clock;
    clock.slept = 5s;  // before us
    auto timer = open_wake_timer();
    REQUIRE(timer);
    const int handle = timer->get();
    WakeWatch watch(io, std::move(*timer), clock);
    std::vector<Milliseconds> wakes;
    asio::co_spawn(io, note(watch, wakes), asio::detached);
    io.run_for(20ms);
    CHECK(wakes.empty());
    clock.slept = 65s;
    run_out(handle);
    io.run_for(50ms);
    CHECK(wakes == std::vector<Milliseconds>{60s});
    run_out(handle);  // a clock that was set; and the timer was armed anew
    io.run_for(50ms);
    CHECK(wakes == std::vector<Milliseconds>{60s, 0s});
    itimerspec armed{};
    REQUIRE(timerfd_gettime(handle, &armed) == 0);
    CHECK(armed.it_value.tv_sec > 86400 * 365);
}
