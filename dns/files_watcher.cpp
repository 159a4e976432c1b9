#include "dns/files_watcher.hpp"

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <list>
#include <system_error>
#include <utility>

namespace vmrouter::dns {

namespace {

void rethrow_but_aborted(std::exception_ptr error) {
    if (!error) return;
    try {
        std::rethrow_exception(error);
    } catch (const std::system_error& stopped) {
        if (stopped.code() != asio::error::operation_aborted) throw;
    }
}

}  // namespace

struct FilesWatcher::State {
    std::list<FileWatcher> files;
    std::function<void()> changed;
    bool closed = false;
};

FilesWatcher::FilesWatcher(asio::any_io_executor executor, std::vector<std::string> paths,
                           std::function<void()> changed)
    : state_(std::make_shared<State>()) {
    state_->changed = std::move(changed);
    for (auto& path : paths) state_->files.emplace_back(executor, std::move(path));
    for (auto& file : state_->files) asio::co_spawn(executor, watch(state_, &file), rethrow_but_aborted);
}

FilesWatcher::~FilesWatcher() {
    state_->closed = true;
    for (auto& file : state_->files) file.close();
}

asio::awaitable<void> FilesWatcher::watch(std::shared_ptr<State> state, FileWatcher* file) {
    while (!state->closed) {
        co_await file->changed();
        if (!state->closed) state->changed();
    }
}

}  // namespace vmrouter::dns
