#include "dns/lists.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "src/base/file.hpp"

namespace vmrouter::dns {

namespace {

constexpr std::size_t most_bytes = std::size_t{256} << 20;  // of one file
constexpr std::size_t longest_line = std::size_t{1} << 20;
// Bytes between two chances for everything else: half a millisecond.
constexpr std::size_t slice = std::size_t{64} << 10;

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

/// A file of lines, a slice at a time.
class Slices {
public:
    explicit Slices(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (!file_) error_ = system_error("cannot open the file", errno, path_);
    }

    /// The next lines, whole ones unless one is longer than any should be; empty at the end and after an error.
    std::string_view next() {
        text_.erase(0, given_);
        given_ = 0;
        const auto in_line = [&] { return text_.size() < longest_line && text_.find('\n') == std::string::npos; };
        while (!error_ && !ended_ && (text_.size() < slice || in_line())) read_more();
        const auto line_end = text_.rfind('\n');
        given_ = ended_ || line_end == std::string::npos ? text_.size() : line_end + 1;
        return std::string_view{text_}.substr(0, given_);
    }
    [[nodiscard]] const std::optional<Error>& error() const { return error_; }

private:
    void read_more() {
        const std::size_t size = text_.size();
        text_.resize(size + slice);
        const auto got = ::read(file_.get(), text_.data() + size, slice);
        const int failed = errno;
        text_.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        if (got == 0) ended_ = true;
        if (got < 0 && failed != EINTR) error_ = system_error("cannot read the file", failed, path_);
        if (got > 0) total_ += static_cast<std::size_t>(got);
        if (total_ > most_bytes)
            error_ = Error{"the file is larger than " + std::to_string(most_bytes) + " bytes", path_, {}};
        if (error_) text_.clear();
    }

    std::string path_;
    FileDescriptor file_;
    std::optional<Error> error_;
    std::string text_;       ///< what was given last, and what comes after it
    std::size_t given_ = 0;  ///< of text_
    std::size_t total_ = 0;
    bool ended_ = false;
};

}  // namespace

std::shared_ptr<const Blocklist> read_lists(const std::vector<std::string>& paths, ListReport& report) {
    auto list = std::make_shared<Blocklist>();
    for (const auto& path : paths) {
        Slices file(path);
        for (auto lines = file.next(); !lines.empty(); lines = file.next()) report.bad_lines += list->add_hosts(lines);
        if (file.error()) report.errors.push_back(to_string(*file.error()));
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
            Slices file(path);
            for (auto lines = file.next(); !lines.empty(); lines = file.next()) {
                report.bad_lines += list->add_hosts(lines);
                co_await asio::post(state->executor, asio::use_awaitable);
                if (state->closed) co_return;
            }
            if (file.error()) report.errors.push_back(to_string(*file.error()));
        }
        while (list->finish_some()) {
            co_await asio::post(state->executor, asio::use_awaitable);
            if (state->closed) co_return;
        }
        report.names = list->size();
        if (!state->again) state->loaded(std::move(list), report);
    } while (state->again);
    state->loading = false;
}

}  // namespace vmrouter::dns
