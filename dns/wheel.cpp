#include "dns/wheel.hpp"

#include <algorithm>
#include <utility>

namespace vmrouter::dns {

void Timeout::cancel() {
    if (wheel_ == nullptr) return;
    --wheel_->pending_;
    wheel_ = nullptr;
    previous->next = next;
    next->previous = previous;
    next = previous = this;
}

Wheel::Wheel(asio::any_io_executor executor) : timer_(std::move(executor)), start_(std::chrono::steady_clock::now()) {}

Wheel::~Wheel() {
    for (auto& head : heads_) {
        while (head.next != &head) static_cast<Timeout*>(head.next)->cancel();
    }
}

void Wheel::set(Timeout& timeout, std::chrono::milliseconds delay, Instant now) {
    timeout.cancel();
    const auto current = tick_of(now);
    if (pending_ == 0) turned_ = current;
    // The current tick has begun already; a time that is a little old must not fall behind what has been turned.
    timeout.due_ = std::max(current + delay / tick, turned_) + 1;
    auto& head = heads_[static_cast<std::size_t>(timeout.due_) % slots];
    timeout.previous = head.previous;
    timeout.next = &head;
    head.previous->next = &timeout;
    head.previous = &timeout;
    timeout.wheel_ = this;
    ++pending_;
    arm(timeout.due_);
}

void Wheel::arm(std::int64_t due) {
    if (armed_ != 0 && armed_ <= due) return;
    armed_ = due;
    timer_.expires_at(start_ + due * tick);
    // A timer that has run out completes without an error even when it is destroyed before the loop gets to it.
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const asio::error_code& error) {
        if (!error && !alive.expired()) turn();
    });
}

void Wheel::turn() {
    armed_ = 0;
    const auto now = tick_of(Clock::now());
    // A slot also holds what is due in later rounds. Actions change lists, so each one found starts the slot again.
    while (turned_ < now && pending_ > 0) {
        const auto due = ++turned_;
        auto& head = heads_[static_cast<std::size_t>(due) % slots];
        for (WheelLink* link = head.next; link != &head;) {
            auto& timeout = *static_cast<Timeout*>(link);
            link = link->next;
            if (timeout.due_ > due) continue;
            timeout.cancel();
            timeout.action_(timeout.context_);
            link = head.next;
        }
    }
    if (pending_ > 0) arm(next_due());
    if (after_turn) after_turn();
}

/// The first slot that holds anything; what it holds may be due a round later, then turning it costs one wake-up in
/// eight seconds.
std::int64_t Wheel::next_due() const {
    for (std::int64_t due = turned_ + 1; due <= turned_ + static_cast<std::int64_t>(slots); ++due) {
        const auto& head = heads_[static_cast<std::size_t>(due) % slots];
        if (head.next != &head) return due;
    }
    return turned_ + 1;
}

}  // namespace vmrouter::dns
