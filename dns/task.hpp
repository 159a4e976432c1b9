#pragma once

#include <coroutine>

#include "dns/free_list.hpp"

namespace vmrouter::dns {

/// A coroutine that runs at once, waits for things that resume it directly (an Exchange), and frees itself at its end.
/// Nobody waits for it and nothing is spawned, so a question that must be forwarded costs one frame. What it waits for
/// must resume it exactly once, also when it is torn down; an exception goes to whoever resumed it.
struct Task {
    struct promise_type : Pooled {
        Task get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const { throw; }
    };
};

}  // namespace vmrouter::dns
