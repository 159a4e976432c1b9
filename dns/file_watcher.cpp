#include "dns/file_watcher.hpp"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <climits>
#include <cstring>
#include <deque>
#include <utility>

#include "src/base/text.hpp"

namespace vmrouter::dns {

namespace {

constexpr int max_links = 40;  // as the kernel

constexpr std::uint32_t folder_events =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t file_events = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

std::optional<std::string> link_target(const std::string& path) {
    std::array<char, PATH_MAX> buffer{};
    const auto size = ::readlink(path.c_str(), buffer.data(), buffer.size());
    if (size <= 0 || static_cast<std::size_t>(size) == buffer.size()) return std::nullopt;
    return std::string{buffer.data(), static_cast<std::size_t>(size)};
}

/// The path's components, before those in `rest`.
void prepend_components(std::deque<std::string>& rest, std::string_view path) {
    auto parts = split(path, '/');
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
        if (!part->empty() && *part != ".") rest.emplace_front(*part);
    }
}

std::string absolute(const std::string& path) {
    if (path.starts_with('/')) return path;
    std::array<char, PATH_MAX> buffer{};
    const char* folder = ::getcwd(buffer.data(), buffer.size());
    return std::string{folder != nullptr ? folder : ""} + "/" + path;
}

}  // namespace

FileWatcher::FileWatcher(asio::any_io_executor executor, std::string path)
    : path_(absolute(path)), inotify_(executor), settle_(executor) {
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        error_ = system_error("cannot follow changes", errno, path_, "raise the sysctl fs.inotify.max_user_instances");
        return;
    }
    inotify_.assign(fd);
    watch_chain();
}

void FileWatcher::watch_folder(const std::string& folder, const std::string& name) {
    const int watch = ::inotify_add_watch(inotify_.native_handle(), folder.c_str(), folder_events);
    if (watch >= 0) {
        names_[watch].push_back(name);
    } else if (errno == ENOSPC) {
        error_ = system_error("cannot follow changes", errno, folder, "raise the sysctl fs.inotify.max_user_watches");
    }
}

void FileWatcher::watch_file(const std::string& path) {
    const int watch = ::inotify_add_watch(inotify_.native_handle(), path.c_str(), file_events);
    if (watch >= 0) names_[watch].clear();
}

/// Walks the path as the kernel does and watches what could change the outcome; what no longer matters is let go.
void FileWatcher::watch_chain() {
    if (!inotify_.is_open()) return;
    const auto before = std::move(names_);
    names_.clear();

    std::deque<std::string> rest;
    prepend_components(rest, path_);
    std::string folder = "/";
    int links = 0;
    while (!rest.empty()) {
        const std::string name = std::move(rest.front());
        rest.pop_front();
        if (name == "..") {
            folder = folder.substr(0, std::max<std::size_t>(folder.rfind('/'), 1));
            continue;
        }
        watch_folder(folder, name);
        const std::string path = (folder == "/" ? "" : folder) + "/" + name;
        struct stat status {};
        if (::lstat(path.c_str(), &status) != 0) break;  // missing: its folder tells when it comes
        if (S_ISLNK(status.st_mode)) {
            const auto target = link_target(path);
            if (!target || ++links > max_links) break;
            if (target->starts_with('/')) folder = "/";
            prepend_components(rest, *target);
        } else if (S_ISDIR(status.st_mode)) {
            folder = path;
        } else {
            watch_file(path);
            break;
        }
    }
    for (const auto& [watch, names] : before) {
        if (!names_.contains(watch)) ::inotify_rm_watch(inotify_.native_handle(), watch);
    }
}

/// Reads all events that wait; true when one of them is about our path.
bool FileWatcher::drain() {
    bool ours = std::exchange(nudged_, false);
    alignas(inotify_event) std::array<char, 4096> buffer;
    while (inotify_.is_open()) {
        const auto size = ::read(inotify_.native_handle(), buffer.data(), buffer.size());
        if (size <= 0) break;
        for (std::size_t offset = 0; offset + sizeof(inotify_event) <= static_cast<std::size_t>(size);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + offset, sizeof event);
            const std::string_view name{buffer.data() + offset + sizeof event};
            offset += sizeof event + event.len;

            if ((event.mask & IN_Q_OVERFLOW) != 0) ours = true;
            if ((event.mask & IN_IGNORED) != 0) {
                names_.erase(event.wd);
                continue;
            }
            const auto watch = names_.find(event.wd);
            if (watch == names_.end()) continue;  // from before the chain was last walked
            const auto& names = watch->second;
            ours |= event.len == 0 || names.empty() || std::find(names.begin(), names.end(), name) != names.end();
        }
    }
    return ours;
}

/// True when an event about our path came within `limit`.
asio::awaitable<bool> FileWatcher::pause(std::chrono::milliseconds limit) {
    asio::error_code ignored;
    settle_.expires_after(limit);
    co_await settle_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    if (closed_) throw std::system_error(asio::error::operation_aborted);
    const bool more = drain();
    watch_chain();  // before anybody reads: what changes from here on is another event
    co_return more;
}

asio::awaitable<void> FileWatcher::changed() {
    for (asio::error_code error;;) {
        if (!nudged_ && inotify_.is_open()) {
            co_await inotify_.async_wait(asio::posix::stream_descriptor::wait_read,
                                         asio::redirect_error(asio::use_awaitable, error));
        } else if (!nudged_) {  // no inotify: only nudge() and close() end this
            settle_.expires_at(asio::steady_timer::time_point::max());
            co_await settle_.async_wait(asio::redirect_error(asio::use_awaitable, error));
        }
        if (closed_) throw std::system_error(asio::error::operation_aborted);
        if (drain()) break;
    }
    watch_chain();
    const auto begin = std::chrono::steady_clock::now();
    while (co_await pause(quiet_time)) {
        if (std::chrono::steady_clock::now() - begin >= longest_settling) break;
    }
}

asio::awaitable<void> FileWatcher::changed_within(std::chrono::milliseconds limit) {
    co_await pause(limit);
}

void FileWatcher::nudge() {
    nudged_ = true;
    if (inotify_.is_open())
        inotify_.cancel();
    else
        settle_.cancel();
}

void FileWatcher::close() {
    closed_ = true;
    if (inotify_.is_open()) inotify_.cancel();
    settle_.cancel();
}

}  // namespace vmrouter::dns
