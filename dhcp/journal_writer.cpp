#include "dhcp/journal_writer.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/async_result.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

namespace vmrouter::dhcp {
namespace {

/// The hint for errors whose cure is not obvious from the text of errno.
std::string hint_for(int errnum) {
    switch (errnum) {
        case ENOSPC:
        case EDQUOT:
            return "free some space on that file system; nothing else has to be done";
        case EROFS:
            return "mount that file system read-write; nothing else has to be done";
        default:
            return {};
    }
}

/// Which file a path leads to; nullopt: none.
std::optional<std::pair<dev_t, ino_t>> identity(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return std::nullopt;
    return std::pair{status.st_dev, status.st_ino};
}

}  // namespace

JournalWriter::JournalWriter(asio::any_io_executor executor, std::string path)
    : path_(std::move(path)),
      refusal_{"the journal was never opened", path_, {}},
      executor_(std::move(executor)),
      thread_([this] { loop(); }) {}

JournalWriter::~JournalWriter() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

asio::awaitable<Result<void>> JournalWriter::append(std::string records) {
    return submit([this, records = std::move(records)] { return append_now(records); });
}

asio::awaitable<Result<void>> JournalWriter::rewrite(std::string content) {
    return submit([this, content = std::move(content)] { return rewrite_now(content); });
}

void JournalWriter::move_to(std::string path) {
    enqueue({[this, path = std::move(path)] {
                 path_ = path;
                 return Result<void>{};
             },
             [](const Result<void>&) {}});
}

asio::awaitable<Result<void>> JournalWriter::replace(std::string path, std::string content) {
    return submit(
        [path = std::move(path), content = std::move(content)] { return replace_file_unsynced(path, content, 0644); });
}

asio::awaitable<Result<void>> JournalWriter::submit(std::function<Result<void>()> work) {
    auto initiation = [this, work = std::move(work)](auto handler) mutable {
        // std::function wants to be copied and a coroutine's handler can only be moved. The work guard keeps the
        // executor's run() going while the only thing that is left to happen happens on the other thread.
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto guard = asio::make_work_guard(executor_);
        enqueue({std::move(work), [shared, guard](Result<void> result) mutable {
                     asio::post(guard.get_executor(),
                                [shared = std::move(shared), result = std::move(result)]() mutable {
                                    std::move (*shared)(std::move(result));
                                });
                     guard.reset();
                 }});
    };
    return asio::async_initiate<const asio::use_awaitable_t<>, void(Result<void>)>(std::move(initiation),
                                                                                   asio::use_awaitable);
}

void JournalWriter::enqueue(Job job) {
    {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(std::move(job));
    }
    wake_.notify_one();
}

void JournalWriter::loop() {
    // Signals are the main thread's business: none may be delivered here in the middle of a write.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), "dhcp-journal");

    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        Job job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        job.complete(job.work());
        lock.lock();
    }
}

Result<void> JournalWriter::append_now(const std::string& records) {
    if (!file_) return Failure{refusal_};
    int failed = write_all(file_.get(), records);
    if (failed == 0 && fdatasync(file_.get()) != 0) failed = errno;
    if (failed == 0) return {};
    file_.reset();
    appends_ = false;
    refusal_ = system_error("cannot write the DHCP journal", failed, path_, hint_for(failed));
    return Failure{refusal_};
}

Result<void> JournalWriter::rewrite_now(const std::string& content) {
    const auto before = identity(path_);
    if (auto replaced = replace_file(path_, content, 0600); !replaced) {
        // Only where the new one is in place, though perhaps not for good, would the old one take records in vain.
        if (identity(path_) != before) file_.reset();
        if (!file_) refusal_ = replaced.error();
        appends_ = static_cast<bool>(file_);
        return replaced;
    }
    file_ = FileDescriptor(open(path_.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC));
    appends_ = static_cast<bool>(file_);
    if (file_) return {};
    refusal_ = system_error("cannot open the DHCP journal", errno, path_);
    return Failure{refusal_};
}

}  // namespace vmrouter::dhcp
