#pragma once

// What systemd wants to know of a service (sd_notify(3)), without its library: one datagram a message to
// $NOTIFY_SOCKET.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/clock.hpp"
#include "src/base/file.hpp"

namespace vmrouter {

class Notifier {
public:
    /// Says nothing to anybody.
    Notifier() = default;
    /// As the environment says: NOTIFY_SOCKET, and WATCHDOG_USEC unless WATCHDOG_PID is another process. Connects at
    /// once, so that it works from inside a sandbox later. Without the variables, or when nobody listens, it says
    /// nothing.
    static Notifier from_environment();

    /// Start-up is complete; also the end of a reload.
    void ready(std::string_view status);
    /// A reload begins. `now`: systemd (Type=notify-reload) matches it with its own request by the monotonic clock.
    void reloading(Monotonic now);
    void stopping(std::string_view status);
    /// One line for `systemctl status`; sent when it is another one than before.
    void status(std::string_view text);
    /// "I am alive"; due more often than watchdog_interval().
    void alive();

    /// After how long without alive() the service is killed; nullopt: nobody watches, so that no timer is needed.
    [[nodiscard]] std::optional<std::chrono::microseconds> watchdog_interval() const { return watchdog_; }
    [[nodiscard]] bool connected() const { return static_cast<bool>(socket_); }

private:
    void send(std::string_view message);

    FileDescriptor socket_;
    std::string status_;  ///< as it was sent
    std::optional<std::chrono::microseconds> watchdog_;
};

}  // namespace vmrouter
