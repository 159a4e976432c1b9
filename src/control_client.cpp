#include "src/control_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr Milliseconds patience{10'000};          // an instance answers at once; a stopped one never does
constexpr std::size_t longest_line = 256U << 20;  // a status of many thousand leases

}  // namespace

std::optional<sockaddr_un> socket_name(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path) return std::nullopt;
    std::memcpy(name.sun_path, path.c_str(), path.size() + 1);
    return name;
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

/// Reads what there is, waiting for it; false at the end.
Result<bool> ControlClient::fill() {
    char chunk[65536];
    for (;;) {
        const auto got = read(socket_.get(), chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != ECONNRESET) return Failure{system_error("cannot read the answer", errno, path_)};
        if (got <= 0) return false;
        buffer_.append(chunk, static_cast<std::size_t>(got));
        if (buffer_.size() > longest_line) return Failure{Error{"the answer has no end", path_, {}}};
        return true;
    }
}

Result<json> ControlClient::next() {
    for (;;) {
        auto object = next_within(Milliseconds{-1});
        if (!object) return Failure{std::move(object).error()};
        if (*object) return std::move(**object);
    }
}

Result<std::optional<json>> ControlClient::next_within(Milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    std::size_t searched = 0;
    for (;;) {
        if (const auto end = buffer_.find('\n', searched); end != std::string::npos) {
            auto object =
                json::parse(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
            buffer_.erase(0, end + 1);
            if (object.is_discarded())
                return Failure{Error{"the answer is no JSON", path_, "is it another version of vmrouter?"}};
            return std::optional(std::move(object));
        }
        searched = buffer_.size();
        const auto left = std::chrono::ceil<Milliseconds>(until - std::chrono::steady_clock::now());
        pollfd wait{socket_.get(), POLLIN, 0};
        const int ready =
            poll(&wait, 1, limit.count() < 0 ? -1 : static_cast<int>(std::max(left, Milliseconds{0}).count()));
        if (ready < 0 && errno != EINTR) return Failure{system_error("cannot wait for the answer", errno, path_)};
        if (ready == 0) return std::optional<json>{};
        if (ready < 0) continue;
        const auto more = fill();
        if (!more) return Failure{more.error()};
        if (!*more) return Failure{Error{"the vmrouter went away", path_, {}}};
    }
}

Result<json> ControlClient::request(const json& request) {
    const std::string line = request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    if (const int failed = write_all(socket_.get(), line); failed != 0)
        return Failure{system_error("cannot send the request", failed, path_)};
    auto answer = next_within(patience);
    if (!answer) return Failure{std::move(answer).error()};
    if (!*answer)
        return Failure{
            Error{"the vmrouter does not answer", path_, "is it stopped? Its log may say what it waits for"}};
    if (!(*answer)->is_object()) return Failure{Error{"the answer is no object", path_, {}}};
    if ((*answer)->value("ok", false)) return std::move((**answer)["result"]);
    const auto error = (*answer)->value("error", json::object());
    return Failure{Error{error.value("what", "it failed"), error.value("where", ""), error.value("hint", "")}};
}

}  // namespace vmrouter
