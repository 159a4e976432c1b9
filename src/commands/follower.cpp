#include "src/commands/follower.hpp"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace vmrouter {
namespace {

using nlohmann::json;

/// What is left of a limit, for a wait that has several parts.
class Deadline {
public:
    explicit Deadline(std::optional<Milliseconds> limit)
        : until_(limit ? std::optional(std::chrono::steady_clock::now() + *limit) : std::nullopt) {}

    [[nodiscard]] std::optional<Milliseconds> left() const {
        if (!until_) return std::nullopt;
        return std::max(Milliseconds{0}, std::chrono::ceil<Milliseconds>(*until_ - std::chrono::steady_clock::now()));
    }
    [[nodiscard]] bool is_over() const { return until_ && std::chrono::steady_clock::now() >= *until_; }

private:
    std::optional<std::chrono::steady_clock::time_point> until_;
};

}  // namespace

Result<void> PathWatch::arm() {
    inotify_ = FileDescriptor(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!inotify_) return Failure{system_error("cannot watch for vmrouter", errno, path_)};
    auto folder = std::filesystem::path(path_).parent_path();
    constexpr auto events = IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
    while (inotify_add_watch(inotify_.get(), folder.c_str(), events) < 0) {
        if (errno != ENOENT || !folder.has_relative_path())
            return Failure{system_error("cannot watch for vmrouter", errno, folder)};
        folder = folder.parent_path();
    }
    return {};
}

Result<bool> PathWatch::wait(std::optional<Milliseconds> limit) {
    pollfd wait{inotify_.get(), POLLIN, 0};
    const int ready = poll(&wait, 1, limit ? static_cast<int>(limit->count()) : -1);
    if (ready < 0 && errno != EINTR) return Failure{system_error("cannot watch for vmrouter", errno, path_)};
    return ready > 0;
}

Result<void> Follower::connect() {
    client_.reset();
    auto client = ControlClient::connect(socket_);
    if (!client) return Failure{std::move(client).error()};
    if (auto accepted = client->request(request_); !accepted) return Failure{std::move(accepted).error()};
    client_ = std::move(*client);
    return {};
}

/// False when the time was over first.
Result<bool> Follower::reconnect(std::optional<Milliseconds> limit) {
    const Deadline deadline(limit);
    PathWatch watch(socket_);
    for (;;) {
        if (auto armed = watch.arm(); !armed) return Failure{std::move(armed).error()};
        // Nobody there, or somebody who is just going: the folder tells when that changes.
        if (connect()) return true;
        if (deadline.is_over()) return false;
        if (const auto changed = watch.wait(deadline.left()); !changed) return Failure{changed.error()};
    }
}

Result<std::optional<json>> Follower::next(std::optional<Milliseconds> limit) {
    const Deadline deadline(limit);
    for (;;) {
        if (client_) {
            auto event = client_->next_within(deadline.left().value_or(Milliseconds{-1}));
            if (event) return event;
            client_.reset();
            if (on_lost) on_lost();
        }
        const auto back = reconnect(deadline.left());
        if (!back) return Failure{back.error()};
        if (!*back) return std::optional<json>{};
        if (on_back) on_back();
    }
}

}  // namespace vmrouter
