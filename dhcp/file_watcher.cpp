#include "dhcp/file_watcher.hpp"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <utility>

namespace vmrouter::dhcp {
namespace {

constexpr unsigned in_folder =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr unsigned of_target = IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;

std::pair<std::string, std::string> split_path(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

bool exists(const std::string& path) {
    struct stat status {};
    return lstat(path.c_str(), &status) == 0;
}

}  // namespace

FileWatcher::FileWatcher(const asio::any_io_executor& executor, std::string path)
    : path_(std::move(path)), inotify_(executor) {
    std::tie(folder_, name_) = split_path(path_);
    const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) return;
    inotify_.assign(fd);
    arm();
}

void FileWatcher::close() {
    asio::error_code ignored;
    inotify_.close(ignored);
}

/// Watches the deepest folder on the way to the file that exists. What is made between looking and watching is noticed
/// because we look again afterwards.
void FileWatcher::arm() {
    const int fd = inotify_.native_handle();
    for (int attempt = 0; attempt < 8; ++attempt) {
        std::string folder = folder_;
        awaited_ = name_;
        int watch = inotify_add_watch(fd, folder.c_str(), in_folder | IN_ONLYDIR);
        while (watch < 0 && folder != "/" && folder != ".") {
            std::tie(folder, awaited_) = split_path(folder);
            watch = inotify_add_watch(fd, folder.c_str(), in_folder | IN_ONLYDIR);
        }
        if (folder_watch_ >= 0 && folder_watch_ != watch) inotify_rm_watch(fd, folder_watch_);
        folder_watch_ = watch;
        if (folder == folder_ || !exists(folder + "/" + awaited_)) break;
    }
    watch_target();
}

void FileWatcher::watch_target() {
    struct stat status {};
    const bool link = lstat(path_.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
    const int watch = link ? inotify_add_watch(inotify_.native_handle(), path_.c_str(), of_target) : -1;
    if (target_watch_ >= 0 && target_watch_ != watch) inotify_rm_watch(inotify_.native_handle(), target_watch_);
    target_watch_ = watch;
}

asio::awaitable<bool> FileWatcher::changed() {
    while (inotify_.is_open()) {
        asio::error_code waited;
        co_await inotify_.async_wait(asio::posix::stream_descriptor::wait_read,
                                     asio::redirect_error(asio::use_awaitable, waited));
        if (waited || !inotify_.is_open()) break;
        if (!drain()) continue;
        arm();
        co_return true;
    }
    co_return false;
}

bool FileWatcher::drain() {
    bool ours = false;
    alignas(inotify_event) std::array<char, 4096> buffer;
    for (;;) {
        const auto got = read(inotify_.native_handle(), buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return ours;
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            const char* name = event.len > 0 ? buffer.data() + at + sizeof event : "";
            ours = concerns_us(event.wd, event.mask, name) || ours;
            at += sizeof event + event.len;
        }
    }
}

bool FileWatcher::concerns_us(int watch, unsigned mask, const char* name) const {
    if ((mask & IN_Q_OVERFLOW) != 0) return true;
    if (watch == target_watch_) return (mask & of_target) != 0;
    if (watch != folder_watch_) return false;
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF)) != 0) return true;
    if (name != awaited_) return false;
    // Whoever creates a file writes it next, and reading it now would show it empty; a link is complete at once.
    struct stat status {};
    if ((mask & IN_CREATE) != 0 && awaited_ == name_ && lstat(path_.c_str(), &status) == 0)
        return !S_ISREG(status.st_mode) || status.st_size > 0;
    return true;
}

}  // namespace vmrouter::dhcp
