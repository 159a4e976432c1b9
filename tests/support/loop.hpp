#pragma once

// What a test of asynchronous parts waits in: their one thread, for a time or until something has happened.

#include <asio/io_context.hpp>
#include <chrono>

namespace vmrouter::test {

struct Loop {
    asio::io_context io;

    void run(std::chrono::milliseconds time) {
        io.restart();
        io.run_for(time);
    }
    /// Whether `condition` came true within `limit`.
    template <class Condition>
    bool run_until(Condition condition, std::chrono::milliseconds limit = std::chrono::seconds{6}) {
        const auto end = std::chrono::steady_clock::now() + limit;
        io.restart();
        while (std::chrono::steady_clock::now() < end) {
            if (condition()) return true;
            io.run_one_for(std::chrono::milliseconds{20});
        }
        return condition();
    }
};

}  // namespace vmrouter::test
