#pragma once

// A machine that wakes up, or whose clock is set, without polling: a timer of the wall clock that never runs out is
// cancelled by the kernel whenever that clock jumps, and the end of a sleep is such a jump.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>

#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// The timer for WakeWatch.
Result<FileDescriptor> open_wake_timer();

class WakeWatch {
public:
    /// `clock` outlives the watch.
    WakeWatch(asio::io_context& io, FileDescriptor timer, const Clock& clock);

    /// Returns when the clock was set since the last call, or the machine woke up; how long it slept since then.
    asio::awaitable<Milliseconds> woke();

private:
    bool drain();
    [[nodiscard]] std::chrono::nanoseconds slept_so_far() const;

    asio::posix::stream_descriptor timer_;
    const Clock& clock_;
    std::chrono::nanoseconds slept_;  ///< since the machine started, as of the last call
};

}  // namespace vmrouter
