#pragma once

// The disk, behind a thread of its own. Everything the server writes goes through it in order, so that a stalled disk
// (an SD card, a full journal, NFS) holds up neither DNS nor the reception of further DHCP packets: the coroutine that
// waits for its batch is the only thing that waits.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

/// Writes one journal (and, in passing, other files) from one thread. The public functions belong to the executor's
/// thread; what they return completes there.
class JournalWriter {
public:
    /// Nothing is opened before the first rewrite(): a journal always begins as a complete one.
    JournalWriter(asio::any_io_executor executor, std::string path);
    /// Finishes what was asked for, then joins the thread. Completions that were not yet delivered stay with the
    /// executor.
    ~JournalWriter();
    JournalWriter(const JournalWriter&) = delete;
    JournalWriter& operator=(const JournalWriter&) = delete;

    /// Appends `records` and syncs them: one write, one fdatasync, whatever their number. After an error the file is
    /// closed and every further append fails with the same error until rewrite() succeeds, because a failed sync leaves
    /// open what of the file is on disk, and a short write leaves half a record at its end.
    asio::awaitable<Result<void>> append(std::string records);

    /// Replaces the journal by `content` (new file, sync, rename, sync of the folder) and goes on appending to that.
    /// After an error the journal that there was still takes records (appends()), unless the new one is in its place.
    asio::awaitable<Result<void>> rewrite(std::string content);

    /// There is a journal that takes records.
    [[nodiscard]] bool appends() const { return appends_; }

    /// The next rewrite() makes the journal there; until then the old one is appended to.
    void move_to(std::string path);

    /// Replaces another file by rename, without a sync: a snapshot whose loss in a power cut costs nothing.
    asio::awaitable<Result<void>> replace(std::string path, std::string content);

private:
    struct Job {
        std::function<Result<void>()> work;          ///< on the writer thread
        std::function<void(Result<void>)> complete;  ///< posts to the executor
    };

    asio::awaitable<Result<void>> submit(std::function<Result<void>()> work);
    void enqueue(Job job);
    void loop();

    // The writer thread's own.
    Result<void> append_now(const std::string& records);
    Result<void> rewrite_now(const std::string& content);
    std::string path_;
    FileDescriptor file_;
    Error refusal_;                     ///< why there is no file_
    std::atomic<bool> appends_{false};  ///< there is a file_

    asio::any_io_executor executor_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    std::thread thread_;  ///< last: starts when everything else is there
};

}  // namespace vmrouter::dhcp
