#pragma once

// The host's resolv.conf: read, and followed. The file is usually the end of a chain of symbolic links
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
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dns/endpoint.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dns {

/// What resolv.conf(5) says, as far as a forwarder cares.
struct ResolvConf {
    std::vector<Endpoint> nameservers;    ///< in file order, duplicates and the unusable ones left out; at most 16
    std::vector<std::string> search;      ///< the last `search` or `domain` line, lower case, without trailing dots
    std::vector<std::string> complaints;  ///< lines that were skipped, and why

    friend bool operator==(const ResolvConf& a, const ResolvConf& b) {
        return a.nameservers == b.nameservers && a.search == b.search;
    }
};

/// Accepts any text. `options` and `sortlist` mean nothing here: time-outs and order are our own.
ResolvConf parse_resolv_conf(std::string_view text);

/// A file that is missing or cannot be read has no name servers; the reason is among the complaints.
ResolvConf read_resolv_conf(const std::string& path);

/// Follows one resolv.conf. At most one coroutine waits at a time.
class ResolvWatcher {
public:
    /// Starts to watch. Without inotify (limit reached) current() works and changed() never completes; the error says
    /// which limit to raise.
    ResolvWatcher(asio::any_io_executor executor, std::string path);

    [[nodiscard]] const std::optional<Error>& error() const { return error_; }
    [[nodiscard]] const ResolvConf& current() const { return current_; }

    /// Waits until the name servers or search domains differ from current(), and returns the new ones: at most 0.6
    /// seconds after the file changed, and not in the middle of a rewrite. Ends with operation_aborted after close().
    asio::awaitable<ResolvConf> changed();

    /// Looks again, as if an event had come (a link changed, SIGHUP).
    void nudge();
    void close();

private:
    void watch_chain();
    void watch_folder(const std::string& folder, const std::string& name);
    void watch_file(const std::string& path);
    bool drain();
    asio::awaitable<bool> wait_for_event(std::chrono::milliseconds limit);

    std::string path_;
    asio::posix::stream_descriptor inotify_;
    asio::steady_timer settle_;
    std::optional<Error> error_;
    ResolvConf current_;
    std::unordered_map<int, std::vector<std::string>> names_;  ///< by watch: names that matter; empty: every event does
    bool nudged_ = false;
    bool closed_ = false;
};

}  // namespace vmrouter::dns
