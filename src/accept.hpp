#pragma once

// The loop that takes connections, for every server with a listening socket.

#include <asio/awaitable.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <chrono>
#include <memory>
#include <utility>

namespace vmrouter {

/// Hands every connection of `state->acceptor` to `take`, which keeps it or lets it go (the peer sees a hang-up), until
/// `state->stopped`. A failure (out of descriptors, most likely) costs a pause, not a processor.
template <class State, class Socket>
asio::awaitable<void> accept_all(std::shared_ptr<State> state, void (*take)(const std::shared_ptr<State>&, Socket)) {
    constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);
    asio::steady_timer pause(state->acceptor.get_executor());
    while (!state->stopped) {
        auto [failed, socket] = co_await state->acceptor.async_accept(as_result);
        if (state->stopped) co_return;
        if (failed) {
            pause.expires_after(std::chrono::milliseconds{100});
            co_await pause.async_wait(as_result);
            continue;
        }
        take(state, std::move(socket));
    }
}

}  // namespace vmrouter
