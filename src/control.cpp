#include "src/control.hpp"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <cerrno>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>

#include "src/accept.hpp"
#include "src/control_client.hpp"

namespace vmrouter {
namespace {

using asio::local::stream_protocol;
using nlohmann::json;

constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);
constexpr const char* group_name = "vmrouter";

void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

/// One line; bytes that are no UTF-8 (a guest's) are replaced, never an exception.
std::string to_line(const json& object) {
    return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json error_object(const Error& error) {
    return {{"ok", false}, {"error", {{"what", error.what}, {"where", error.where}, {"hint", error.hint}}}};
}

/// The user at the other end.
std::optional<uid_t> peer_of(int socket) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
    return peer.uid;
}

}  // namespace

struct ControlServer::Client {
    Client(stream_protocol::socket connection, uid_t user)
        : socket(std::move(connection)), wake(socket.get_executor()), uid(user) {
        wake.expires_at(asio::steady_timer::time_point::max());
    }
    void send(std::string line) {
        out += line;
        wake.cancel();
    }
    [[nodiscard]] bool is_behind() const { return out.size() > max_backlog; }

    stream_protocol::socket socket;
    asio::steady_timer wake;  ///< cancelled when there is something to write, or when it was written
    uid_t uid;
    std::string out;
    std::optional<EventFilter> follows;
    bool closed = false;
};

struct ControlServer::State {
    State(asio::io_context& io, int listener, ControlHandler handle)
        : acceptor(io, stream_protocol(), listener), handler(std::move(handle)) {}

    stream_protocol::acceptor acceptor;
    ControlHandler handler;
    std::list<std::shared_ptr<Client>> clients;
    std::function<void()>* on_followers = nullptr;  ///< null when the server is gone
    bool stopped = false;

    void close(Client& client) {
        asio::error_code ignored;
        client.closed = true;
        client.socket.close(ignored);
        client.wake.cancel();
        if (std::exchange(client.follows, std::nullopt)) followers_changed();
    }
    void followers_changed() const {
        if (on_followers != nullptr && *on_followers) (*on_followers)();
    }
    /// Root always gets in: others cannot take every place.
    [[nodiscard]] bool has_room(uid_t uid) const {
        const auto others =
            std::count_if(clients.begin(), clients.end(), [](const auto& one) { return one->uid != 0; });
        return clients.size() < max_clients && (uid == 0 || static_cast<std::size_t>(others) < max_unprivileged);
    }
    static asio::awaitable<json> answer(std::shared_ptr<State> state, json request, std::shared_ptr<Client> client);
};

ControlServer::ControlServer(asio::io_context& io, FileDescriptor listener, ControlHandler handler)
    : state_(std::make_shared<State>(io, listener.release(), std::move(handler))) {
    state_->on_followers = &on_followers;
    asio::co_spawn(io, accept_all(state_, &take), rethrow);
}

ControlServer::~ControlServer() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->on_followers = nullptr;
    state_->acceptor.close(ignored);
    for (auto& client : state_->clients) state_->close(*client);
}

void ControlServer::stop_listening() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->acceptor.close(ignored);
}

bool ControlServer::has_followers(std::string_view kind) const {
    return std::any_of(state_->clients.begin(), state_->clients.end(),
                       [kind](const auto& client) { return client->follows && client->follows->wants(kind); });
}

void ControlServer::publish(const json& event) {
    std::string line;
    std::vector<std::shared_ptr<Client>> lost;
    for (auto& client : state_->clients) {
        if (!client->follows || !client->follows->admits(event)) continue;
        if (line.empty()) line = to_line(event);
        client->send(line);
        if (client->is_behind()) lost.push_back(client);
    }
    for (auto& client : lost) state_->close(*client);
}

void ControlServer::take(const std::shared_ptr<State>& state, stream_protocol::socket socket) {
    const auto uid = peer_of(socket.native_handle());
    if (!uid || !state->has_room(*uid)) return;
    auto client = std::make_shared<Client>(std::move(socket), *uid);
    state->clients.push_back(client);
    asio::co_spawn(state->acceptor.get_executor(), serve(state, client), rethrow);
    asio::co_spawn(state->acceptor.get_executor(), write(state, client), rethrow);
}

asio::awaitable<json> ControlServer::State::answer(std::shared_ptr<State> state, json request,
                                                   std::shared_ptr<Client> client) {
    if (!request.is_object() || !request.contains("command") || !request["command"].is_string())
        co_return error_object({"the request is no JSON object with a command", {}, {}});
    std::optional<EventFilter> filter;
    if (request["command"] == "monitor") {
        auto wanted = EventFilter::from_request(request);
        if (!wanted) co_return error_object(wanted.error());
        filter = std::move(*wanted);
    }
    Result<json> result = Failure{Error{}};
    try {
        result = co_await state->handler(std::move(request), client->uid);
    } catch (const json::exception&) {
        co_return error_object({"a member of the request is missing or of the wrong type", {}, {}});
    }
    if (!result) co_return error_object(result.error());
    if (filter && !client->closed && !state->stopped) {
        client->follows = std::move(filter);
        state->followers_changed();
    }
    co_return json{{"ok", true}, {"result", std::move(*result)}};
}

asio::awaitable<void> ControlServer::serve(std::shared_ptr<State> state, std::shared_ptr<Client> client) {
    std::string in;
    while (!client->closed) {
        const auto [failed, size] =
            co_await asio::async_read_until(client->socket, asio::dynamic_buffer(in, max_request), '\n', as_result);
        if (failed || client->closed) break;  // hung up, or a line that is too long
        auto request = json::parse(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(size), nullptr, false);
        in.erase(0, size);
        const json answer = co_await State::answer(state, std::move(request), client);
        client->send(to_line(answer));
        // One that asks and does not read is not asked for more until it has.
        while (!client->closed && client->is_behind()) co_await client->wake.async_wait(as_result);
    }
    state->close(*client);
    state->clients.remove(client);
}

asio::awaitable<void> ControlServer::write(std::shared_ptr<State> state, std::shared_ptr<Client> client) {
    while (!client->closed) {
        if (client->out.empty()) {
            co_await client->wake.async_wait(as_result);
            continue;
        }
        const std::string part = std::exchange(client->out, {});
        const auto [failed, size] = co_await asio::async_write(client->socket, asio::buffer(part), as_result);
        if (failed) state->close(*client);
        client->wake.cancel();
    }
}

Result<FileDescriptor> open_control_socket(const std::string& path) {
    const auto name = socket_name(path);
    if (!name) return Failure{Error{"the path of the control socket is too long", path, "set control.socket"}};
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Failure{system_error("cannot open a socket", errno, path)};
    // Only the instance that holds the lock comes here: a socket that is there is a dead one's. Anything else is not
    // ours.
    struct stat status {};
    if (lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) unlink(path.c_str());
    const auto previous = umask(0177);
    const int failed = bind(socket.get(), reinterpret_cast<const sockaddr*>(&*name), sizeof *name) == 0 ? 0 : errno;
    umask(previous);
    if (failed != 0) return Failure{system_error("cannot create the control socket", failed, path)};
    if (listen(socket.get(), 16) != 0) return Failure{system_error("cannot listen", errno, path)};
    const group* members = getgrnam(group_name);
    const bool shared = members != nullptr && chown(path.c_str(), 0, members->gr_gid) == 0;
    // After listen(): whoever waits for us in this folder sees the change, and connects.
    if (chmod(path.c_str(), shared ? 0660 : 0600) != 0) return Failure{system_error("cannot chmod", errno, path)};
    return socket;
}

}  // namespace vmrouter
