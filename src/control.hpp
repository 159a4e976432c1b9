#pragma once

// The control socket: how the commands ask a running instance. JSON lines over a Unix stream socket: the client sends
// one object a line, {"command": "status"} with the command's own members; the answer is one object a line,
// {"ok": true, "result": ...} or {"ok": false, "error": {"what", "where", "hint"}}. `monitor` answers with a line for
// every event until the client hangs up. The socket belongs to root and the group "vmrouter" (mode 0660).

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// Answers a request; what it returns is the `result`. Called on the event loop; may wait, must not block.
using ControlHandler = std::function<asio::awaitable<Result<nlohmann::json>>(nlohmann::json request)>;

class ControlServer {
public:
    static constexpr std::size_t max_clients = 64;
    static constexpr std::size_t max_request = 65536;    ///< bytes of one line
    static constexpr std::size_t max_backlog = 1 << 20;  ///< bytes a slow `monitor` client may leave unread

    /// `listener`: a listening Unix stream socket, owned from here on.
    ControlServer(asio::io_context& io, FileDescriptor listener, ControlHandler handler);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Takes no new clients; those that are connected are served on.
    void stop_listening();
    /// Whether anybody follows events; then publish() is worth calling.
    [[nodiscard]] bool has_followers() const;
    /// Sends an event to everybody who follows. One that does not read is disconnected.
    void publish(const nlohmann::json& event);

private:
    struct Client;
    struct State;
    static asio::awaitable<void> accept(std::shared_ptr<State> state);
    static asio::awaitable<void> serve(std::shared_ptr<State> state, std::shared_ptr<Client> client);
    static asio::awaitable<void> write(std::shared_ptr<State> state, std::shared_ptr<Client> client);

    std::shared_ptr<State> state_;
};

/// A listening socket at `path` (a stale one is replaced), for root and the group "vmrouter" where that exists.
Result<FileDescriptor> open_control_socket(const std::string& path);

/// A client's connection. Blocking, for the commands.
class ControlClient {
public:
    /// Fails with a cure when nobody listens there or the socket may not be used.
    static Result<ControlClient> connect(const std::string& path);

    /// Gives up on an answer after so long; without it, waits for as long as it takes.
    void limit_wait(std::chrono::milliseconds limit);
    /// The `result` of one request, or the error that the instance answered with.
    Result<nlohmann::json> request(const nlohmann::json& request);
    /// The next event after a `monitor` request; an error when the instance went away.
    Result<nlohmann::json> next();

private:
    explicit ControlClient(FileDescriptor socket, std::string path)
        : socket_(std::move(socket)), path_(std::move(path)) {}
    Result<std::string> read_line();

    FileDescriptor socket_;
    std::string path_;
    std::string buffer_;
};

}  // namespace vmrouter
