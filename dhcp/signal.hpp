#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

namespace vmrouter::dhcp {

/// Lets one coroutine wait for what others do. A notification that nobody waits for is kept for the next wait; many
/// become one. Costs no wake-up while nothing happens.
class Signal {
public:
    using TimePoint = asio::steady_timer::time_point;

    explicit Signal(const asio::any_io_executor& executor) : timer_(executor) {}

    void notify() {
        notified_ = true;
        timer_.cancel();
    }

    asio::awaitable<void> wait() { return wait_until(TimePoint::max()); }

    /// Returns at `deadline` at the latest.
    asio::awaitable<void> wait_until(TimePoint deadline) {
        if (!notified_) {
            asio::error_code ignored;  // cancelled by notify(), or the time has come: the caller looks at its state
            timer_.expires_at(deadline);
            co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        }
        notified_ = false;
    }

private:
    asio::steady_timer timer_;
    bool notified_ = false;
};

}  // namespace vmrouter::dhcp
