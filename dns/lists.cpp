#include "dns/lists.hpp"

#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <system_error>
#include <utility>

#include "src/base/file.hpp"

namespace vmrouter::dns {

namespace {

constexpr std::size_t most_bytes = std::size_t{256} << 20;  // of one file
constexpr std::size_t slice = std::size_t{64}
                              << 10;  // bytes between two chances for everything else: half a millisecond

void rethrow_but_aborted(std::exception_ptr error) {
    if (!error) return;
    try {
        std::rethrow_exception(error);
    } catch (const std::system_error& stopped) {
        if (stopped.code() != asio::error::operation_aborted) throw;
    }
}

}  // namespace

std::shared_ptr<const Blocklist> read_lists(const std::vector<std::string>& paths, ListReport& report) {
    auto list = std::make_shared<Blocklist>();
    for (const auto& path : paths) {
        const auto text = read_file(path, most_bytes);
        if (text)
            report.bad_lines += list->add_hosts(*text);
        else
            report.errors.push_back(to_string(text.error()));
    }
    list->finish();
    report.names = list->size();
    return list;
}

struct ListKeeper::State {
    asio::any_io_executor executor;
    std::list<FileWatcher> files;
    Loaded loaded;
    bool loading = false;
    bool again = false;  ///< something changed while the files were read
    bool closed = false;
};

ListKeeper::ListKeeper(asio::any_io_executor executor, std::vector<std::string> paths, Loaded loaded)
    : state_(std::make_shared<State>()) {
    state_->executor = executor;
    state_->loaded = std::move(loaded);
    for (auto& path : paths) state_->files.emplace_back(executor, std::move(path));
}

ListKeeper::~ListKeeper() {
    state_->closed = true;
    for (auto& file : state_->files) file.close();
}

void ListKeeper::follow() {
    for (auto& file : state_->files) asio::co_spawn(state_->executor, watch(state_, &file), rethrow_but_aborted);
}

void ListKeeper::reload() {
    request(state_);
}

void ListKeeper::request(const std::shared_ptr<State>& state) {
    if (state->loading) {
        state->again = true;
        return;
    }
    state->loading = true;
    asio::co_spawn(state->executor, load(state), rethrow_but_aborted);
}

asio::awaitable<void> ListKeeper::watch(std::shared_ptr<State> state, FileWatcher* file) {
    while (!state->closed) {
        co_await file->changed();
        request(state);
    }
}

asio::awaitable<void> ListKeeper::load(std::shared_ptr<State> state) {
    do {
        state->again = false;
        auto list = std::make_shared<Blocklist>();
        ListReport report;
        for (const auto& file : state->files) {
            const auto text = read_file(file.path(), most_bytes);
            if (!text) {
                report.errors.push_back(to_string(text.error()));
                continue;
            }
            for (std::string_view rest = *text; !rest.empty();) {
                const auto end = rest.find('\n', slice);
                report.bad_lines += list->add_hosts(rest.substr(0, end));
                rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
                co_await asio::post(state->executor, asio::use_awaitable);
                if (state->closed) co_return;
            }
        }
        list->finish();
        report.names = list->size();
        if (!state->again) state->loaded(std::move(list), report);
    } while (state->again);
    state->loading = false;
}

}  // namespace vmrouter::dns
