#pragma once

// Several files that others write, followed as one.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dns/file_watcher.hpp"

namespace vmrouter::dns {

class FilesWatcher {
public:
    /// Calls `changed` whenever one of the files may have changed, a moment after the writer is done; from the loop,
    /// and never after this object is gone.
    FilesWatcher(asio::any_io_executor executor, std::vector<std::string> paths, std::function<void()> changed);
    ~FilesWatcher();
    FilesWatcher(const FilesWatcher&) = delete;
    FilesWatcher& operator=(const FilesWatcher&) = delete;

private:
    struct State;
    static asio::awaitable<void> watch(std::shared_ptr<State> state, FileWatcher* file);

    std::shared_ptr<State> state_;  ///< shared with the coroutines, which may end later
};

}  // namespace vmrouter::dns
