#pragma once

// A file that others write, followed by inotify. The path is usually the head of a chain of symbolic links
// (/etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf), any part of which may be missing, dangling, replaced
// by rename or rewritten in place. Every folder that a look-up of the path goes through is watched for the one name
// that matters in it, and the file at the end for writes; after an event the chain is walked anew. Nothing polls.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter::dns {

/// Follows one path. At most one coroutine waits at a time.
class FileWatcher {
public:
    /// A writer that truncates and writes, or removes and creates, is left to finish.
    static constexpr std::chrono::milliseconds quiet_time{100};
    static constexpr std::chrono::milliseconds longest_settling{500};

    /// Starts to watch. Without inotify (a limit is reached) only nudge() is noticed; error() says which limit to
    /// raise.
    FileWatcher(asio::any_io_executor executor, std::string path);

    [[nodiscard]] const std::string& path() const { return path_; }  ///< absolute
    [[nodiscard]] const std::optional<Error>& error() const { return error_; }

    /// Waits until what the path leads to may have changed, and then until it has been quiet for a moment. Throws
    /// operation_aborted after close(). What happens between two calls is not missed.
    asio::awaitable<void> changed();
    /// Waits for further changes, at most so long.
    asio::awaitable<void> changed_within(std::chrono::milliseconds limit);

    /// As if an event had come (a link changed, SIGHUP).
    void nudge();
    void close();

private:
    void watch_chain();
    void watch_folder(const std::string& folder, const std::string& name);
    void watch_file(const std::string& path);
    bool drain();
    asio::awaitable<bool> pause(std::chrono::milliseconds limit);

    std::string path_;
    asio::posix::stream_descriptor inotify_;
    asio::steady_timer settle_;
    std::optional<Error> error_;
    std::unordered_map<int, std::vector<std::string>> names_;  ///< by watch: names that matter; empty: every event does
    bool nudged_ = false;
    bool closed_ = false;
};

}  // namespace vmrouter::dns
