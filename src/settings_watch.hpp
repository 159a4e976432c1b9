#pragma once

// Kernel settings that somebody writes, without polling: netlink tells of forwarding, rp_filter and proxy_arp only, but
// inotify works on /proc/sys for whoever writes through the same mount of /proc. And iptables-legacy, of whose tables
// the kernel tells nobody: its program takes a lock, a file, for whatever it does.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <map>
#include <span>
#include <string>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// The side that chooses the files.
class SettingsWatcher {
public:
    static Result<SettingsWatcher> open();

    /// From here on these files are watched and no others. Files that are not there are left out; those of an interface
    /// that was made anew are other files, so call it again then.
    void watch(std::span<const std::string> paths);
    /// From here on the lock of iptables-legacy is watched too (the folder, while nobody has ever taken it).
    void watch_legacy();
    /// While we run that program ourselves, which would be told as well.
    void pause_legacy();
    /// For SettingsWatch, on the other side.
    [[nodiscard]] Result<FileDescriptor> duplicate() const;

private:
    explicit SettingsWatcher(FileDescriptor inotify) : inotify_(std::move(inotify)) {}

    FileDescriptor inotify_;
    std::map<std::string, int> watches_;
    int legacy_ = -1;  ///< watch of its lock, or of the folder
};

/// The side that waits.
class SettingsWatch {
public:
    SettingsWatch(asio::io_context& io, FileDescriptor inotify);

    /// Returns when a setting was written or iptables-legacy ran since the last call, by whomever.
    asio::awaitable<void> changed();

private:
    bool drain();
    asio::posix::stream_descriptor watch_;
};

}  // namespace vmrouter
