#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// An inotify descriptor that tells when `folder`/shared is replaced or removed.
Result<FileDescriptor> open_shared_watch(const std::string& folder);

/// An inotify descriptor that tells when somebody writes one of these files below /proc/sys; see watch_settings().
Result<FileDescriptor> open_settings_watch();
/// Adds files to it; those that are watched already stay, those that are not there are left out.
void watch_settings(const FileDescriptor& watch, const std::vector<std::string>& paths);

/// Waits for other instances to come and go, so that each can let the others' segments through; or for writes to
/// settings.
class SharedWatch {
public:
    /// `name`: of the file in the folder that counts; empty: whatever the descriptor tells of.
    SharedWatch(asio::io_context& io, FileDescriptor watch, std::string name = "shared");

    /// Returns when something has changed since the last call; changes of our own count as well.
    asio::awaitable<void> changed();

private:
    bool drain();
    asio::posix::stream_descriptor watch_;
    std::string name_;
};

}  // namespace vmrouter
