#pragma once

// The host's resolv.conf: read, and followed.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/endpoint.hpp"
#include "dns/file_watcher.hpp"
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

/// systemd-resolved's own servers, which its stub asks (systemd-resolved.service(8)).
inline constexpr const char* resolved_servers = "/run/systemd/resolve/resolv.conf";

/// The file to follow when queries must leave by one device: a resolver on this machine cannot be held to it, so where
/// `path` names only systemd-resolved's stub (127.0.0.53, .54) the servers behind it are asked themselves.
std::string resolv_conf_for_device(const std::string& path, const std::string& behind_stub = resolved_servers);

/// Follows one resolv.conf. At most one coroutine waits at a time.
class ResolvWatcher {
public:
    /// Starts to watch. Without inotify (a limit is reached) current() works, and only nudge() is noticed.
    ResolvWatcher(asio::any_io_executor executor, std::string path);

    [[nodiscard]] const std::string& path() const { return file_.path(); }  ///< absolute
    [[nodiscard]] const std::optional<Error>& error() const { return file_.error(); }
    [[nodiscard]] const ResolvConf& current() const { return current_; }

    /// Waits until the name servers or search domains differ from current(), and returns the new ones: at most 0.9
    /// seconds after the file changed, and not in the middle of a rewrite. Throws operation_aborted after close().
    asio::awaitable<ResolvConf> changed();

    /// Looks again, as if an event had come (a link changed, SIGHUP).
    void nudge() { file_.nudge(); }
    void close() { file_.close(); }

private:
    FileWatcher file_;
    ResolvConf current_;
};

}  // namespace vmrouter::dns
