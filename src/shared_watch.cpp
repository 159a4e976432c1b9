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

SharedWatch::SharedWatch(asio::io_context& io, FileDescriptor watch) : watch_(io, watch.get()) {
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
            ours |= lost || padded.substr(0, padded.find('\0')) == "shared";
            at += sizeof event + event.len;
        }
    }
}

asio::awaitable<void> SharedWatch::changed() {
    while (!drain()) co_await watch_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
}

}  // namespace vmrouter
