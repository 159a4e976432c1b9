#pragma once

// The control socket: how the commands ask a running instance. JSON lines over a Unix stream socket: the client sends
// one object a line, {"command": "status"} with the command's own members; the answer is one object a line,
// {"ok": true, "result": ...} or {"ok": false, "error": {"what", "where", "hint"}}. After `monitor` (members "only" and
// "guest", see EventFilter) a line follows for every event until the client hangs up. ARCHITECTURE.md lists commands
// and shapes. The socket belongs to root and the group "vmrouter" (mode 0660; 0600 where there is no such group).
// A client can harm only itself: lines, clients and what one leaves unread are bounded.

#include <sys/types.h>

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
#include "src/event_filter.hpp"

namespace vmrouter {

/// Answers a request of a process of user `uid`; what it returns is the `result`. Called on the event loop; may wait,
/// must not block.
using ControlHandler = std::function<asio::awaitable<Result<nlohmann::json>>(nlohmann::json request, uid_t uid)>;

class ControlServer {
public:
    static constexpr std::size_t max_clients = 64;
    static constexpr std::size_t max_unprivileged = 48;  ///< of those, of users other than root
    static constexpr std::size_t max_request = 65536;    ///< bytes of one line
    static constexpr std::size_t max_backlog = 1 << 20;  ///< bytes a client may leave unread and still get more

    /// `listener`: a listening Unix stream socket, owned from here on.
    ControlServer(asio::io_context& io, FileDescriptor listener, ControlHandler handler);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Takes no new clients; those that are connected are served on.
    void stop_listening();
    /// Whether anybody follows events of this kind; then publish() is worth calling.
    [[nodiscard]] bool has_followers(std::string_view kind) const;
    /// Sends an event to everybody whose filter admits it. One that does not read is disconnected.
    void publish(const nlohmann::json& event);
    /// Called when somebody begins or ceases to follow.
    std::function<void()> on_followers;

private:
    struct Client;
    struct State;
    static void take(const std::shared_ptr<State>& state, asio::local::stream_protocol::socket socket);
    static asio::awaitable<void> serve(std::shared_ptr<State> state, std::shared_ptr<Client> client);
    static asio::awaitable<void> write(std::shared_ptr<State> state, std::shared_ptr<Client> client);

    std::shared_ptr<State> state_;
};

/// A listening socket at `path` (a stale one is replaced), for root and the group "vmrouter" where that exists.
Result<FileDescriptor> open_control_socket(const std::string& path);

}  // namespace vmrouter
