#include "src/settings_watch.hpp"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace vmrouter {
namespace {

/// iptables-legacy(8), -w; the folder is that of Debian's build.
constexpr const char* legacy_folder = "/run";
constexpr const char* legacy_lock = "/run/xtables.lock";

}  // namespace

Result<SettingsWatcher> SettingsWatcher::open() {
    FileDescriptor inotify(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify) return Failure{system_error("cannot follow the kernel's settings", errno, "inotify")};
    return SettingsWatcher(std::move(inotify));
}

void SettingsWatcher::watch(std::span<const std::string> paths) {
    // An interface that was made anew has new files behind the same names, so every watch is made anew as well.
    for (const auto& [path, watch] : watches_) inotify_rm_watch(inotify_.get(), watch);
    watches_.clear();
    for (const auto& path : paths) {
        const int watch = inotify_add_watch(inotify_.get(), path.c_str(), IN_MODIFY);
        if (watch >= 0) watches_.emplace(path, watch);
    }
}

void SettingsWatcher::watch_legacy() {
    pause_legacy();
    legacy_ = inotify_add_watch(inotify_.get(), legacy_lock, IN_CLOSE);
    if (legacy_ < 0) legacy_ = inotify_add_watch(inotify_.get(), legacy_folder, IN_CREATE | IN_ONLYDIR);
}

void SettingsWatcher::pause_legacy() {
    if (legacy_ >= 0) inotify_rm_watch(inotify_.get(), legacy_);
    legacy_ = -1;
}

Result<FileDescriptor> SettingsWatcher::duplicate() const {
    FileDescriptor copy(fcntl(inotify_.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return Failure{system_error("cannot follow the kernel's settings", errno, "inotify")};
    return copy;
}

SettingsWatch::SettingsWatch(asio::io_context& io, FileDescriptor inotify) : watch_(io, inotify.get()) {
    static_cast<void>(inotify.release());  // the stream_descriptor owns it now
}

/// Reads what is waiting; whether something of that changed a setting, or a table of iptables-legacy.
bool SettingsWatch::drain() {
    bool written = false;
    alignas(inotify_event) std::array<char, 4096> buffer{};
    for (;;) {
        const auto got = read(watch_.native_handle(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return written;
        for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
            inotify_event event{};
            std::memcpy(&event, &buffer.at(at), sizeof event);
            written |=
                (event.mask & (IN_MODIFY | IN_CLOSE | IN_Q_OVERFLOW)) != 0;  // not IN_IGNORED, of a watch that ended
            const std::string_view name(&buffer.at(at) + sizeof event,
                                        strnlen(&buffer.at(at) + sizeof event, event.len));
            written |=
                (event.mask & IN_CREATE) != 0 && std::string(legacy_folder) + "/" + std::string(name) == legacy_lock;
            at += sizeof event + event.len;
        }
    }
}

asio::awaitable<void> SettingsWatch::changed() {
    while (!drain()) co_await watch_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

}  // namespace vmrouter
