#include "dns/lists.hpp"

#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "src/base/file.hpp"

namespace vmrouter::dns {

namespace {

constexpr std::size_t most_bytes = std::size_t{256} << 20;  // of one file
constexpr std::size_t slice = std::size_t{64}
                              << 10;  // bytes between two chances for everything else: half a millisecond

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
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
    std::vector<std::string> paths;
    Loaded loaded;
    bool loading = false;
    bool again = false;  ///< something changed while the files were read
    bool closed = false;
};

ListKeeper::ListKeeper(asio::any_io_executor executor, std::vector<std::string> paths, Loaded loaded)
    : state_(std::make_shared<State>()) {
    state_->executor = executor;
    state_->loaded = std::move(loaded);
    state_->paths = std::move(paths);
}

ListKeeper::~ListKeeper() {
    state_->closed = true;
}

void ListKeeper::follow() {
    watcher_ = std::make_unique<FilesWatcher>(state_->executor, state_->paths, [this] { reload(); });
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
    asio::co_spawn(state->executor, load(state), rethrow);
}

asio::awaitable<void> ListKeeper::load(std::shared_ptr<State> state) {
    do {
        state->again = false;
        auto list = std::make_shared<Blocklist>();
        ListReport report;
        for (const auto& path : state->paths) {
            const auto text = read_file(path, most_bytes);
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
