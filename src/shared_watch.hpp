#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <string>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// An inotify descriptor that tells when `folder`/shared is replaced or removed.
Result<FileDescriptor> open_shared_watch(const std::string& folder);

/// Waits for other instances to come and go, so that each can let the others' segments through.
class SharedWatch {
public:
    SharedWatch(asio::io_context& io, FileDescriptor watch);

    /// Returns when the file has changed since the last call; changes of our own count as well.
    asio::awaitable<void> changed();

private:
    bool drain();
    asio::posix::stream_descriptor watch_;
};

}  // namespace vmrouter
