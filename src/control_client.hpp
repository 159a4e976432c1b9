#pragma once

// The commands' end of the control socket. The protocol is described in control.hpp.

#include <sys/un.h>

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// The address of a Unix socket; nullopt when the path is too long for one.
std::optional<sockaddr_un> socket_name(const std::string& path);

/// A client's connection. Blocking, for the commands.
class ControlClient {
public:
    /// Fails with a cure when nobody listens there or the socket may not be used.
    static Result<ControlClient> connect(const std::string& path);

    /// The `result` of one request, or the error that the instance answered with. Fails when it says nothing for ten
    /// seconds.
    Result<nlohmann::json> request(const nlohmann::json& request);
    /// The next event after a `monitor` request; an error when the instance went away.
    Result<nlohmann::json> next();
    /// The same, or nullopt when nothing came within `limit`.
    Result<std::optional<nlohmann::json>> next_within(Milliseconds limit);

    /// Readable when there is something for next(); what was read before may hold whole lines already.
    [[nodiscard]] int descriptor() const { return socket_.get(); }
    [[nodiscard]] bool has_line() const { return buffer_.find('\n') != std::string::npos; }

private:
    explicit ControlClient(FileDescriptor socket, std::string path)
        : socket_(std::move(socket)), path_(std::move(path)) {}
    Result<bool> fill();

    FileDescriptor socket_;
    std::string path_;
    std::string buffer_;
};

}  // namespace vmrouter
