#include "src/metrics_server.hpp"

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <exception>
#include <list>

#include "src/accept.hpp"
#include "src/base/text.hpp"

namespace vmrouter {
namespace {

using asio::ip::tcp;

constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds patience{5};  // for the request and the response together

void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

std::string response(std::string_view status, std::string_view type, const std::string& body, bool with_body) {
    std::string text = "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: " + std::string(type) +
                       "\r\nContent-Length: " + std::to_string(body.size()) +
                       "\r\nConnection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n";
    return with_body ? text + body : text;
}

}  // namespace

std::string metrics_response(std::string_view head, const std::function<std::string()>& body) {
    constexpr std::string_view plain = "text/plain; charset=utf-8";
    const auto words = split(trim(head.substr(0, head.find('\n'))), ' ');
    if (words.size() != 3 || !words[2].starts_with("HTTP/1."))
        return response("400 Bad Request", plain, "this speaks HTTP/1.1\n", true);
    const bool is_head = words[0] == "HEAD";
    if (words[0] != "GET" && !is_head) return response("405 Method Not Allowed", plain, "only GET\n", true);
    const auto path = words[1].substr(0, words[1].find('?'));
    if (path != "/metrics") return response("404 Not Found", plain, "the metrics are at /metrics\n", !is_head);
    return response("200 OK", "text/plain; version=0.0.4; charset=utf-8", body(), !is_head);
}

struct MetricsServer::State {
    State(asio::io_context& io, const tcp& protocol, int listener, std::function<std::string()> make)
        : acceptor(io, protocol, listener), body(std::move(make)) {}

    tcp::acceptor acceptor;
    std::function<std::string()> body;
    std::list<std::shared_ptr<tcp::socket>> clients;
    bool stopped = false;
};

MetricsServer::MetricsServer(asio::io_context& io, FileDescriptor listener, bool is_ipv6,
                             std::function<std::string()> body)
    : state_(std::make_shared<State>(io, is_ipv6 ? tcp::v6() : tcp::v4(), listener.release(), std::move(body))) {
    asio::co_spawn(io, accept_all(state_, &take), rethrow);
}

MetricsServer::~MetricsServer() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->acceptor.close(ignored);
    for (auto& client : state_->clients) client->close(ignored);
}

void MetricsServer::take(const std::shared_ptr<State>& state, tcp::socket socket) {
    if (state->clients.size() >= max_clients) return;
    auto client = std::make_shared<tcp::socket>(std::move(socket));
    state->clients.push_back(client);
    asio::co_spawn(state->acceptor.get_executor(), serve(state, client), rethrow);
}

asio::awaitable<void> MetricsServer::serve(std::shared_ptr<State> state, std::shared_ptr<tcp::socket> socket) {
    asio::steady_timer limit(socket->get_executor());
    limit.expires_after(patience);
    limit.async_wait([socket](const asio::error_code& cancelled) {
        asio::error_code ignored;
        if (!cancelled) socket->close(ignored);
    });
    std::string in;
    const auto [failed, size] =
        co_await asio::async_read_until(*socket, asio::dynamic_buffer(in, max_request), "\r\n\r\n", as_result);
    if (!failed && !state->stopped) {
        const std::string out = metrics_response(std::string_view(in).substr(0, size), state->body);
        co_await asio::async_write(*socket, asio::buffer(out), as_result);
        asio::error_code ignored;
        socket->shutdown(tcp::socket::shutdown_send, ignored);
    }
    limit.cancel();
    asio::error_code ignored;
    socket->close(ignored);
    state->clients.remove(socket);
}

}  // namespace vmrouter
