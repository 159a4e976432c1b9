#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <string>

namespace vmrouter::dhcp {

/// Tells when a file may have changed: written, replaced by rename, removed, or there at last. Survives that its folder
/// does not exist yet, goes away and comes back, and follows a link to where the content is.
class FileWatcher {
public:
    FileWatcher(const asio::any_io_executor& executor, std::string path);

    /// Waits for the next change; returns at once when there was one since the last call. False after close(), or when
    /// the kernel offers no inotify.
    asio::awaitable<bool> changed();
    void close();

private:
    void arm();
    void watch_target();
    bool drain();
    bool concerns_us(int watch, unsigned mask, const char* name) const;

    std::string path_;
    std::string folder_;
    std::string name_;  ///< the last component of path_
    asio::posix::stream_descriptor inotify_;
    int folder_watch_ = -1;  ///< of folder_, or of the nearest folder above it that exists
    std::string awaited_;    ///< what must appear in the watched folder: name_, or the next folder of the way
    int target_watch_ = -1;  ///< of the file that a link leads to
};

}  // namespace vmrouter::dhcp
