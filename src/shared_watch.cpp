#include "src/shared_watch.hpp"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace vmrouter {

Result<FileDescriptor> open_shared_watch(const std::string& folder) {
    FileDescriptor watch(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    // The file is replaced by rename, so the folder is what is watched.
    if (!watch || inotify_add_watch(watch.get(), folder.c_str(), IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0)
        return Failure{system_error("cannot follow the other instances", errno, folder)};
    return watch;
}

Result<FileDescriptor> open_settings_watch() {
    FileDescriptor watch(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!watch) return Failure{system_error("cannot follow the kernel's settings", errno, "/proc/sys")};
    return watch;
}

void watch_settings(const FileDescriptor& watch, const std::vector<std::string>& paths) {
    for (const auto& path : paths) inotify_add_watch(watch.get(), ("/proc/sys/" + path).c_str(), IN_MODIFY);
}

SharedWatch::SharedWatch(asio::io_context& io, FileDescriptor watch, std::string name)
    : watch_(io, watch.get()), name_(std::move(name)) {
    static_cast<void>(watch.release());  // the stream_descriptor owns it now
}

/// Reads what is waiting; whether any of it is about the file.
bool SharedWatch::drain() {
    bool ours = false;
    std::array<char, 4096> buffer{};
    for (;;) {
        const auto got = read(watch_.native_handle(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ours;
        for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
            inotify_event event{};
            std::memcpy(&event, &buffer.at(at), sizeof event);
            const std::string_view padded(buffer.data() + at + sizeof event, event.len);
            const bool lost = (event.mask & IN_Q_OVERFLOW) != 0;
            ours |= lost || padded.substr(0, padded.find('\0')) == name_;
            at += sizeof event + event.len;
        }
    }
}

asio::awaitable<void> SharedWatch::changed() {
    while (!drain()) co_await watch_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

}  // namespace vmrouter
