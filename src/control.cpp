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

std::optional<sockaddr_un> socket_name(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path) return std::nullopt;
    std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
    return name;
}

}  // namespace

struct ControlServer::Client {
    explicit Client(stream_protocol::socket connection) : socket(std::move(connection)), wake(socket.get_executor()) {
        wake.expires_at(asio::steady_timer::time_point::max());
    }
    void send(std::string line) {
        out += line;
        wake.cancel();
    }

    stream_protocol::socket socket;
    asio::steady_timer wake;  ///< cancelled when there is something to write
    std::string out;
    bool follows = false;
    bool closed = false;
};

struct ControlServer::State {
    State(asio::io_context& io, int listener, ControlHandler handle)
        : acceptor(io, stream_protocol(), listener), handler(std::move(handle)) {}

    stream_protocol::acceptor acceptor;
    ControlHandler handler;
    std::list<std::shared_ptr<Client>> clients;
    bool stopped = false;

    void close(Client& client) {
        asio::error_code ignored;
        client.closed = true;
        client.socket.close(ignored);
        client.wake.cancel();
    }
};

ControlServer::ControlServer(asio::io_context& io, FileDescriptor listener, ControlHandler handler)
    : state_(std::make_shared<State>(io, listener.release(), std::move(handler))) {
    asio::co_spawn(io, accept(state_), rethrow);
}

ControlServer::~ControlServer() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->acceptor.close(ignored);
    for (auto& client : state_->clients) state_->close(*client);
}

void ControlServer::stop_listening() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->acceptor.close(ignored);
}

bool ControlServer::has_followers() const {
    return std::any_of(state_->clients.begin(), state_->clients.end(),
                       [](const auto& client) { return client->follows; });
}

void ControlServer::publish(const json& event) {
    const auto line = to_line(event);
    for (auto& client : state_->clients) {
        if (!client->follows || client->closed) continue;
        if (client->out.size() + line.size() > max_backlog)
            state_->close(*client);
        else
            client->send(line);
    }
}

asio::awaitable<void> ControlServer::accept(std::shared_ptr<State> state) {
    while (!state->stopped) {
        auto [failed, socket] = co_await state->acceptor.async_accept(as_result);
        if (state->stopped) co_return;
        if (failed || state->clients.size() >= max_clients) {
            asio::steady_timer pause(state->acceptor.get_executor(), std::chrono::milliseconds{100});
            co_await pause.async_wait(as_result);
            continue;
        }
        auto client = std::make_shared<Client>(std::move(socket));
        state->clients.push_back(client);
        asio::co_spawn(state->acceptor.get_executor(), serve(state, client), rethrow);
        asio::co_spawn(state->acceptor.get_executor(), write(state, client), rethrow);
    }
}

asio::awaitable<void> ControlServer::serve(std::shared_ptr<State> state, std::shared_ptr<Client> client) {
    std::string in;
    while (!client->closed) {
        const auto [failed, size] =
            co_await asio::async_read_until(client->socket, asio::dynamic_buffer(in, max_request), '\n', as_result);
        if (failed) break;  // hung up, or a line that is too long
        const auto request = json::parse(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(size), nullptr, false);
        in.erase(0, size);
        if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
            client->send(to_line(error_object({"the request is no JSON object with a command", {}, {}})));
            continue;
        }
        auto answer = co_await state->handler(request);
        client->send(
            to_line(answer ? json{{"ok", true}, {"result", std::move(*answer)}} : error_object(answer.error())));
        if (answer && request["command"] == "monitor") client->follows = true;
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
    if (const group* members = getgrnam(group_name); members != nullptr) {
        if (chown(path.c_str(), 0, members->gr_gid) == 0) chmod(path.c_str(), 0660);
    }
    if (listen(socket.get(), 16) != 0) return Failure{system_error("cannot listen", errno, path)};
    return socket;
}

Result<ControlClient> ControlClient::connect(const std::string& path) {
    const auto name = socket_name(path);
    if (!name) return Failure{Error{"the path of the control socket is too long", path, {}}};
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!socket) return Failure{system_error("cannot open a socket", errno, path)};
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*name), sizeof *name) != 0) {
        const int failed = errno;
        if (failed == EACCES)
            return Failure{Error{"you may not ask this vmrouter", path, "use sudo, or join the group vmrouter"}};
        return Failure{system_error("no vmrouter answers", failed, path, "start it, or name it with --instance")};
    }
    return ControlClient(std::move(socket), path);
}

void ControlClient::limit_wait(std::chrono::milliseconds limit) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(limit);
    timeval time{};
    time.tv_sec = seconds.count();
    time.tv_usec = std::chrono::microseconds(limit - seconds).count();
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

Result<std::string> ControlClient::read_line() {
    for (;;) {
        if (const auto end = buffer_.find('\n'); end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return line;
        }
        char chunk[65536];
        const auto got = read(socket_.get(), chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN)
            return Failure{Error{"the vmrouter does not answer", path_, "is it stopped? `vmrouter doctor` looks"}};
        if (got < 0) return Failure{system_error("cannot read the answer", errno, path_)};
        if (got == 0) return Failure{Error{"the vmrouter went away", path_, {}}};
        buffer_.append(chunk, static_cast<std::size_t>(got));
    }
}

Result<json> ControlClient::next() {
    auto line = read_line();
    if (!line) return Failure{std::move(line).error()};
    auto object = json::parse(*line, nullptr, false);
    if (object.is_discarded())
        return Failure{Error{"the answer is no JSON", path_, "is it another version of vmrouter?"}};
    return object;
}

Result<json> ControlClient::request(const json& request) {
    if (const int failed = write_all(socket_.get(), to_line(request)); failed != 0)
        return Failure{system_error("cannot send the request", failed, path_)};
    auto answer = next();
    if (!answer) return answer;
    if (answer->value("ok", false)) return (*answer)["result"];
    const auto error = answer->value("error", json::object());
    return Failure{Error{error.value("what", "it failed"), error.value("where", ""), error.value("hint", "")}};
}

}  // namespace vmrouter
