#include "src/wake_watch.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace vmrouter {
namespace {

Result<void> arm(int timer) {
    itimerspec never{};
    never.it_value.tv_sec = 9'000'000'000;  // in the year 2255, near the end of what the kernel counts
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr) == 0) return {};
    return Failure{system_error("cannot follow the machine's clock", errno, "timerfd")};
}

}  // namespace

Result<FileDescriptor> open_wake_timer() {
    FileDescriptor timer(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
    if (!timer) return Failure{system_error("cannot follow the machine's clock", errno, "timerfd")};
    if (auto armed = arm(timer.get()); !armed) return Failure{std::move(armed).error()};
    return timer;
}

WakeWatch::WakeWatch(asio::io_context& io, FileDescriptor timer, const Clock& clock)
    : timer_(io, timer.get()), clock_(clock), slept_(slept_so_far()) {
    static_cast<void>(timer.release());  // the stream_descriptor owns it now
}

/// Whether the clock has jumped.
bool WakeWatch::drain() {
    std::uint64_t times = 0;
    const auto got = read(timer_.native_handle(), &times, sizeof times);
    if (got < 0) return errno == ECANCELED;
    static_cast<void>(arm(timer_.native_handle()));
    return true;
}

std::chrono::nanoseconds WakeWatch::slept_so_far() const {
    return clock_.boottime() - clock_.monotonic();
}

asio::awaitable<Milliseconds> WakeWatch::woke() {
    while (!drain()) co_await timer_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    const auto before = std::exchange(slept_, slept_so_far());
    co_return std::chrono::duration_cast<Milliseconds>(slept_ - before);
}

}  // namespace vmrouter
