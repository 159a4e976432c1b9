#include "src/relay.hpp"

#include <array>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <exception>
#include <list>
#include <map>

#include "src/accept.hpp"
#include "src/base/clock.hpp"
#include "src/base/log.hpp"

namespace vmrouter {
namespace {

using asio::ip::tcp;
using asio::ip::udp;
using namespace asio::experimental::awaitable_operators;

constexpr log::Logger logger{"forward"};
constexpr std::size_t max_sessions = 256;
constexpr auto connect_limit = std::chrono::seconds{10};
constexpr auto udp_idle_limit = std::chrono::seconds{60};
constexpr auto as_result = asio::experimental::as_tuple(asio::use_awaitable);

/// A coroutine that ends with an exception is our bug: let it end the loop instead of vanishing.
void rethrow(std::exception_ptr exception) {
    if (exception) std::rethrow_exception(exception);
}

/// What both kinds of relay know.
struct Way {
    RelayTarget target;
    std::uint16_t port;
    asio::any_io_executor executor;
    bool stopped = false;

    /// Where the guest is now.
    template <class Protocol>
    [[nodiscard]] std::optional<typename Protocol::endpoint> guest() const {
        const auto address = target();
        if (!address) return std::nullopt;
        return typename Protocol::endpoint{asio::ip::address_v4{address->value}, port};
    }

    /// After each wait for clients: whether to wait for more. A failure (out of descriptors, most likely) costs a
    /// second, not a processor.
    asio::awaitable<bool> goes_on(bool failed) {
        if (failed && !stopped) {
            asio::steady_timer pause(executor, std::chrono::seconds{1});
            co_await pause.async_wait(as_result);
        }
        co_return !stopped;
    }
};

/// Copies until `from` ends, then tells `to` so. A failed write ends the other direction too.
asio::awaitable<void> pump(tcp::socket& from, tcp::socket& to) {
    std::array<char, 16384> buffer;
    asio::error_code ignored;
    for (;;) {
        const auto [failed, size] = co_await from.async_read_some(asio::buffer(buffer), as_result);
        if (failed) {
            to.shutdown(tcp::socket::shutdown_send, ignored);
            co_return;
        }
        const auto [not_written, written] =
            co_await asio::async_write(to, asio::buffer(buffer.data(), size), as_result);
        if (not_written) {
            from.close(ignored);
            to.close(ignored);
            co_return;
        }
    }
}

asio::awaitable<bool> connect_within(tcp::socket& socket, const tcp::endpoint& endpoint, Milliseconds limit) {
    asio::steady_timer timer(socket.get_executor(), limit);
    const auto outcome = co_await (socket.async_connect(endpoint, as_result) || timer.async_wait(as_result));
    co_return outcome.index() == 0 && !std::get<0>(std::get<0>(outcome));
}

}  // namespace

struct TcpRelay::State : Way {
    State(const Way& way, int listener) : Way(way), acceptor(executor, tcp::v4(), listener) {}

    tcp::acceptor acceptor;
    /// Both ends of every connection, so that a stop can close them.
    struct Pair {
        tcp::socket client;
        tcp::socket guest;
    };
    std::list<Pair> connections;
};

TcpRelay::TcpRelay(asio::any_io_executor executor, FileDescriptor listener, RelayTarget target, std::uint16_t port)
    : state_(std::make_shared<State>(Way{std::move(target), port, executor}, listener.release())) {
    asio::co_spawn(executor, accept_all(state_, &take), rethrow);
}

TcpRelay::~TcpRelay() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->acceptor.close(ignored);
    for (auto& pair : state_->connections) {
        pair.client.close(ignored);
        pair.guest.close(ignored);
    }
}

void TcpRelay::take(const std::shared_ptr<State>& state, tcp::socket client) {
    if (state->connections.size() < max_sessions)
        asio::co_spawn(state->executor, carry(state, std::move(client)), rethrow);
}

asio::awaitable<void> TcpRelay::carry(std::shared_ptr<State> state, tcp::socket client) {
    const auto endpoint = state->guest<tcp>();
    if (!endpoint) {
        logger.debug("REFUSE connection to port {}: the guest has no address", state->port);
        co_return;
    }
    const auto pair =
        state->connections.insert(state->connections.end(), {std::move(client), tcp::socket(state->executor)});
    if (co_await connect_within(pair->guest, *endpoint, connect_limit)) {
        asio::error_code ignored;
        pair->client.set_option(asio::socket_base::keep_alive(true), ignored);
        pair->guest.set_option(asio::socket_base::keep_alive(true), ignored);
        co_await (pump(pair->client, pair->guest) && pump(pair->guest, pair->client));
    } else {
        logger.debug("REFUSE connection to {}:{}: the guest does not answer", endpoint->address().to_string(),
                     state->port);
    }
    state->connections.erase(pair);
}

/// One peer on the loopback and the socket towards the guest that carries its datagrams.
struct UdpRelay::Session {
    Session(const asio::any_io_executor& executor, udp::endpoint client, udp::endpoint to)
        : peer(std::move(client)), target(std::move(to)), guest(executor, udp::v4()), idle(executor) {}

    void close() {
        asio::error_code ignored;
        guest.close(ignored);
        idle.cancel();
    }

    udp::endpoint peer;
    udp::endpoint target;
    udp::socket guest;
    asio::steady_timer idle;
};

struct UdpRelay::State : Way {
    State(const Way& way, int fd) : Way(way), socket(executor, udp::v4(), fd) {}

    udp::socket socket;
    std::map<udp::endpoint, std::shared_ptr<Session>> sessions;
};

UdpRelay::UdpRelay(asio::any_io_executor executor, FileDescriptor socket, RelayTarget target, std::uint16_t port)
    : state_(std::make_shared<State>(Way{std::move(target), port, executor}, socket.release())) {
    asio::co_spawn(executor, receive(state_), rethrow);
}

UdpRelay::~UdpRelay() {
    asio::error_code ignored;
    state_->stopped = true;
    state_->socket.close(ignored);
    for (auto& [peer, session] : state_->sessions) session->close();
    state_->sessions.clear();
}

asio::awaitable<void> UdpRelay::receive(std::shared_ptr<State> state) {
    std::array<char, 65536> buffer;
    for (;;) {
        udp::endpoint peer;
        const auto [failed, size] = co_await state->socket.async_receive_from(asio::buffer(buffer), peer, as_result);
        if (!co_await state->goes_on(static_cast<bool>(failed))) co_return;
        const auto target = state->guest<udp>();
        if (failed || !target) continue;
        const auto session = session_of(state, peer, *target);
        if (!session) continue;
        asio::error_code ignored;
        session->idle.expires_after(udp_idle_limit);
        session->guest.send(asio::buffer(buffer.data(), size), 0, ignored);
    }
}

/// The session of a peer; a new one when there is none or the guest has moved. Null when there are too many.
std::shared_ptr<UdpRelay::Session> UdpRelay::session_of(const std::shared_ptr<State>& state, const udp::endpoint& peer,
                                                        const udp::endpoint& target) {
    auto found = state->sessions.find(peer);
    if (found != state->sessions.end() && found->second->target == target) return found->second;
    if (found != state->sessions.end()) {
        found->second->close();
        state->sessions.erase(found);
    }
    if (state->sessions.size() >= max_sessions) return nullptr;
    auto session = std::make_shared<Session>(state->executor, peer, target);
    asio::error_code refused;
    session->guest.connect(target, refused);
    state->sessions.emplace(peer, session);
    asio::co_spawn(state->executor, answer(state, session), rethrow);
    return session;
}

asio::awaitable<void> UdpRelay::answer(std::shared_ptr<State> state, std::shared_ptr<Session> session) {
    std::array<char, 65536> buffer;
    session->idle.expires_after(udp_idle_limit);
    while (!state->stopped) {
        auto outcome = co_await (session->guest.async_receive(asio::buffer(buffer), as_result) ||
                                 session->idle.async_wait(as_result));
        if (state->stopped || !session->guest.is_open()) break;
        if (outcome.index() == 1) {
            // Cancelled: the client sent something and moved the limit; expired: nobody spoke for a minute.
            if (session->idle.expiry() > std::chrono::steady_clock::now()) continue;
            break;
        }
        const auto& [failed, size] = std::get<0>(outcome);
        if (failed) break;  // the guest refuses the port, or the session was closed
        asio::error_code ignored;
        session->idle.expires_after(udp_idle_limit);
        state->socket.send_to(asio::buffer(buffer.data(), size), session->peer, 0, ignored);
    }
    const auto current = state->sessions.find(session->peer);
    if (current != state->sessions.end() && current->second == session) state->sessions.erase(current);
}

}  // namespace vmrouter
