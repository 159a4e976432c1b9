#include "dns/resolv.hpp"

#include <fmt/core.h>
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

#include "src/base/text.hpp"

namespace vmrouter::dns {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_nameservers = 16;
constexpr std::size_t max_file_size = 1 << 20;
constexpr int max_links = 40;  // as the kernel

// A writer that truncates and writes, or removes and creates, is left to finish; one that left no name server behind
// gets a second chance before everybody is told that there is none.
constexpr auto quiet_time = 100ms;
constexpr auto quiet_time_when_empty = 300ms;
constexpr auto longest_settling = 500ms;

constexpr std::uint32_t folder_events =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t file_events = IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;

std::vector<std::string_view> words(std::string_view line) {
    std::vector<std::string_view> found;
    while (true) {
        const auto begin = line.find_first_not_of(" \t\r\v\f");
        if (begin == std::string_view::npos) return found;
        const auto end = std::min(line.find_first_of(" \t\r\v\f", begin), line.size());
        found.push_back(line.substr(begin, end - begin));
        line.remove_prefix(end);
    }
}

std::string search_domain(std::string_view word) {
    while (word.ends_with('.')) word.remove_suffix(1);
    return to_lower(word);
}

void add_nameserver(ResolvConf& conf, std::string_view word, std::size_t number) {
    // "nameserver 0.0.0.0" is an old way to say "this machine" (resolv.conf(5) of glibc and BSD understand it).
    const auto endpoint = Endpoint::parse(word == "0.0.0.0" ? "127.0.0.1" : word == "::" ? "::1" : word);
    if (!endpoint) {
        conf.complaints.push_back(fmt::format("line {}: '{}' is not an address", number, escape(word, 64)));
        return;
    }
    if (std::find(conf.nameservers.begin(), conf.nameservers.end(), *endpoint) != conf.nameservers.end()) return;
    if (conf.nameservers.size() == max_nameservers) {
        conf.complaints.push_back(fmt::format("line {}: more than {} name servers", number, max_nameservers));
        return;
    }
    conf.nameservers.push_back(*endpoint);
}

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

ResolvConf parse_resolv_conf(std::string_view text) {
    ResolvConf conf;
    std::size_t number = 0;
    for (const auto raw : split(text, '\n')) {
        ++number;
        const auto line = words(raw);
        if (line.empty() || line[0].starts_with('#') || line[0].starts_with(';')) continue;
        if (line[0] == "nameserver") {
            add_nameserver(conf, line.size() > 1 ? line[1] : "", number);
        } else if (line[0] == "search" || line[0] == "domain") {
            conf.search.clear();  // the last one wins, of either kind
            for (std::size_t i = 1; i < line.size() && !line[i].starts_with('#') && !line[i].starts_with(';'); ++i) {
                if (auto domain = search_domain(line[i]); !domain.empty()) conf.search.push_back(std::move(domain));
                if (line[0] == "domain") break;
            }
        }
    }
    return conf;
}

ResolvConf read_resolv_conf(const std::string& path) {
    const auto text = read_file(path, max_file_size);
    if (!text) {
        ResolvConf none;
        none.complaints.push_back(to_string(text.error()));
        return none;
    }
    return parse_resolv_conf(*text);
}

ResolvWatcher::ResolvWatcher(asio::any_io_executor executor, std::string path)
    : path_(absolute(path)), inotify_(executor), settle_(executor) {
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd < 0) {
        error_ = system_error("cannot follow changes", errno, path_, "raise the sysctl fs.inotify.max_user_instances");
    } else {
        inotify_.assign(fd);
        watch_chain();
    }
    current_ = read_resolv_conf(path_);
}

void ResolvWatcher::watch_folder(const std::string& folder, const std::string& name) {
    const int watch = ::inotify_add_watch(inotify_.native_handle(), folder.c_str(), folder_events);
    if (watch >= 0) {
        names_[watch].push_back(name);
    } else if (errno == ENOSPC) {
        error_ = system_error("cannot follow changes", errno, folder, "raise the sysctl fs.inotify.max_user_watches");
    }
}

void ResolvWatcher::watch_file(const std::string& path) {
    const int watch = ::inotify_add_watch(inotify_.native_handle(), path.c_str(), file_events);
    if (watch >= 0) names_[watch].clear();
}

/// Walks the path as the kernel does and watches what could change the outcome; what no longer matters is let go.
void ResolvWatcher::watch_chain() {
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
bool ResolvWatcher::drain() {
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
asio::awaitable<bool> ResolvWatcher::wait_for_event(std::chrono::milliseconds limit) {
    asio::error_code ignored;
    settle_.expires_after(limit);
    co_await settle_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    co_return drain();
}

asio::awaitable<ResolvConf> ResolvWatcher::changed() {
    for (;;) {
        asio::error_code error;
        if (!nudged_) {
            if (inotify_.is_open()) {
                co_await inotify_.async_wait(asio::posix::stream_descriptor::wait_read,
                                             asio::redirect_error(asio::use_awaitable, error));
            } else {  // no inotify: only nudge() and close() end this
                settle_.expires_at(asio::steady_timer::time_point::max());
                co_await settle_.async_wait(asio::redirect_error(asio::use_awaitable, error));
            }
        }
        if (closed_) throw std::system_error(asio::error::operation_aborted);
        if (!drain()) continue;

        ResolvConf found;
        const auto begin = std::chrono::steady_clock::now();
        for (bool last_chance = false;;) {
            watch_chain();  // before reading: what changes in between is another event
            const bool more = co_await wait_for_event(last_chance ? quiet_time_when_empty : quiet_time);
            if (closed_) throw std::system_error(asio::error::operation_aborted);
            if (more && std::chrono::steady_clock::now() - begin < longest_settling) continue;
            watch_chain();
            found = read_resolv_conf(path_);
            if (!found.nameservers.empty() || current_.nameservers.empty() || last_chance) break;
            last_chance = true;
        }
        if (found == current_) continue;
        current_ = found;
        co_return found;
    }
}

void ResolvWatcher::nudge() {
    nudged_ = true;
    if (inotify_.is_open())
        inotify_.cancel();
    else
        settle_.cancel();
}

void ResolvWatcher::close() {
    closed_ = true;
    if (inotify_.is_open()) inotify_.cancel();
    settle_.cancel();
}

}  // namespace vmrouter::dns
