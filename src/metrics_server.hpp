#pragma once

// GET /metrics over HTTP, for Prometheus and nobody else: one request a connection, a few connections at a time, each
// with a short time limit.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/file.hpp"

namespace vmrouter {

/// The response to a request head (everything up to the empty line): 200 with what `body` makes, 404, 405 or 400. Pure
/// but for `body`.
std::string metrics_response(std::string_view head, const std::function<std::string()>& body);

class MetricsServer {
public:
    static constexpr std::size_t max_clients = 8;
    static constexpr std::size_t max_request = 8192;  ///< bytes

    /// `listener`: a listening TCP socket, owned from here on; `body` makes the metrics when they are asked for.
    MetricsServer(asio::io_context& io, FileDescriptor listener, bool is_ipv6, std::function<std::string()> body);
    ~MetricsServer();
    MetricsServer(const MetricsServer&) = delete;
    MetricsServer& operator=(const MetricsServer&) = delete;

private:
    struct State;
    static void take(const std::shared_ptr<State>& state, asio::ip::tcp::socket socket);
    static asio::awaitable<void> serve(std::shared_ptr<State> state, std::shared_ptr<asio::ip::tcp::socket> socket);

    std::shared_ptr<State> state_;
};

}  // namespace vmrouter
