#include "src/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

std::string_view variable(const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
}

/// A path, or "@name" in the abstract namespace. Other forms (vsock) are for machines, not for services.
FileDescriptor connect_to(std::string_view place) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (place.size() < 2 || place.size() >= sizeof address.sun_path) return {};
    if (place.front() != '/' && place.front() != '@') return {};
    std::copy(place.begin(), place.end(), std::begin(address.sun_path));
    if (place.front() == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + place.size());
    FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const void* bytes = &address;
    if (!socket || connect(socket.get(), static_cast<const sockaddr*>(bytes), size) != 0) return {};
    return socket;
}

/// A newline would begin another assignment.
std::string status_line(std::string_view text) {
    std::string line = "STATUS=" + std::string(text);
    std::replace(line.begin(), line.end(), '\n', ' ');
    return line + "\n";
}

}  // namespace

Notifier Notifier::from_environment() {
    Notifier notifier;
    notifier.socket_ = connect_to(variable("NOTIFY_SOCKET"));
    const auto interval = parse_number(variable("WATCHDOG_USEC"), INT64_MAX);
    const auto pid = variable("WATCHDOG_PID");
    const bool for_us = pid.empty() || parse_number(pid, INT32_MAX) == static_cast<std::uint64_t>(getpid());
    if (notifier.socket_ && interval && *interval > 0 && for_us)
        notifier.watchdog_ = std::chrono::microseconds(static_cast<std::int64_t>(*interval));
    return notifier;
}

void Notifier::send(std::string_view message) {
    // Never waits: a service manager that does not read is not a reason to stop serving guests.
    if (socket_) ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void Notifier::ready(std::string_view status) {
    status_ = status;
    send("READY=1\n" + status_line(status));
}

void Notifier::reloading(Monotonic now) {
    const auto since_boot = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
    send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(since_boot.count()) + "\n");
}

void Notifier::stopping(std::string_view status) {
    status_ = status;
    send("STOPPING=1\n" + status_line(status));
}

void Notifier::status(std::string_view text) {
    if (text == status_) return;
    status_ = text;
    send(status_line(text));
}

void Notifier::alive() {
    send("WATCHDOG=1\n");
}

}  // namespace vmrouter
