#pragma once

// An instance followed over its restarts: when it goes away, the folder of its socket tells when it is back.

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "src/base/clock.hpp"
#include "src/control_client.hpp"

namespace vmrouter {

/// Tells of changes in the folder of a path, or in the nearest one above it that is there.
class PathWatch {
public:
    explicit PathWatch(std::string path) : path_(std::move(path)) {}

    /// Begins to watch anew; whatever happens from here on wakes wait().
    Result<void> arm();
    /// Until something happens; false when nothing did within `limit`.
    Result<bool> wait(std::optional<Milliseconds> limit);

private:
    std::string path_;
    FileDescriptor inotify_;
};

class Follower {
public:
    /// `request` is sent after each connection: {"command": "monitor", ...}.
    Follower(std::string socket, nlohmann::json request) : socket_(std::move(socket)), request_(std::move(request)) {}

    /// Connects, without waiting for an instance.
    Result<void> connect();
    /// The next event; nullopt after `limit`. When the instance goes away, calls `on_lost`, waits for it to come back
    /// (or another to take its place), and calls `on_back`. An error when it refuses us.
    Result<std::optional<nlohmann::json>> next(std::optional<Milliseconds> limit);
    [[nodiscard]] const ControlClient* client() const { return client_ ? &*client_ : nullptr; }

    std::function<void()> on_lost;
    std::function<void()> on_back;

private:
    Result<bool> reconnect(std::optional<Milliseconds> limit);

    std::string socket_;
    nlohmann::json request_;
    std::optional<ControlClient> client_;
};

}  // namespace vmrouter
