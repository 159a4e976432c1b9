#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <vector>

namespace vmrouter::dns {

/// A coroutine that runs at once, waits for things that resume it directly (an Exchange), and frees itself at its end.
/// Nobody waits for it and nothing is spawned, so a question that must be forwarded costs one frame. What it waits for
/// must resume it exactly once, also when it is torn down; an exception goes to whoever resumed it.
struct Task {
    struct promise_type {
        Task get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const { throw; }

        // Frames of one size come and go by the thousand; the ones that are free are kept, like everything here by one
        // thread.
        static void* operator new(std::size_t size) {
            auto& spare = frames();
            if (size != spare.size || spare.free.empty()) return ::operator new(size);
            void* frame = spare.free.back();
            spare.free.pop_back();
            return frame;
        }
        static void operator delete(void* frame, std::size_t size) {
            auto& spare = frames();
            if (spare.size == 0) spare.size = size;
            if (size == spare.size && spare.free.size() < most_spare)
                spare.free.push_back(frame);
            else
                ::operator delete(frame, size);
        }

    private:
        static constexpr std::size_t most_spare = 256;
        struct Frames {
            ~Frames() {
                for (void* frame : free) ::operator delete(frame, size);
            }
            std::size_t size = 0;
            std::vector<void*> free;
        };
        static Frames& frames() {
            static thread_local Frames kept;
            return kept;
        }
    };
};

}  // namespace vmrouter::dns
