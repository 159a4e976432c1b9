#pragma once

// The big block lists: files in hosts format, a million lines each perhaps, read at start and again when they change. A
// list is read in slices between which queries are answered; the old one serves until the new one is complete.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dns/blocklist.hpp"
#include "dns/files_watcher.hpp"

namespace vmrouter::dns {

/// What reading the files came to.
struct ListReport {
    std::size_t names = 0;
    std::size_t bad_lines = 0;
    std::vector<std::string> errors;  ///< of files that could not be read; the others count
};

/// All at once, for the start: a million names take about a second.
std::shared_ptr<const Blocklist> read_lists(const std::vector<std::string>& paths, ListReport& report);

class ListKeeper {
public:
    /// Called with every complete list.
    using Loaded = std::function<void(std::shared_ptr<const Blocklist>, const ListReport&)>;

    ListKeeper(asio::any_io_executor executor, std::vector<std::string> paths, Loaded loaded);
    ~ListKeeper();
    ListKeeper(const ListKeeper&) = delete;
    ListKeeper& operator=(const ListKeeper&) = delete;

    /// Reads the files in slices whenever one changes from now on.
    void follow();
    /// Reads them all (again), in slices.
    void reload();

private:
    struct State;
    static asio::awaitable<void> load(std::shared_ptr<State> state);
    static void request(const std::shared_ptr<State>& state);

    std::shared_ptr<State> state_;  ///< shared with the coroutine that reads, which may end later
    std::unique_ptr<FilesWatcher> watcher_;
};

}  // namespace vmrouter::dns
