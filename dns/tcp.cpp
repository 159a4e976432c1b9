#include "dns/tcp.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vmrouter::dns {

namespace {

constexpr std::size_t length_bytes = 2;
constexpr std::size_t first_buffer = 512;
constexpr int accepted_at_once = 32;
constexpr std::chrono::milliseconds descriptor_pause{100};  // out of descriptors: some will be closed meanwhile

void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
}

}  // namespace

// --- TcpConnection ---

TcpConnection::TcpConnection(TcpServer& server, asio::any_io_executor executor, FileDescriptor socket, Ipv4 peer,
                             std::uint16_t port)
    : server_(server),
      socket_(executor, socket.release()),
      room_(executor),
      peer_(peer),
      port_(port),
      idle_timer_([](void* self) { static_cast<TcpConnection*>(self)->idle_too_long(); }, this),
      stalled_([](void* self) { static_cast<TcpConnection*>(self)->close(); }, this) {}

asio::awaitable<void> TcpConnection::run(std::shared_ptr<TcpConnection> /*self*/) {
    asio::error_code error;
    set_idle_timer();
    while (open() && read_some()) {
        while (serve_messages() && crowded()) {  // back-pressure: what is not read stays in the client's window
            room_.expires_at(asio::steady_timer::time_point::max());
            co_await room_.async_wait(asio::redirect_error(asio::use_awaitable, error));
        }
        if (!open()) break;
        co_await socket_.async_wait(asio::posix::stream_descriptor::wait_read,
                                    asio::redirect_error(asio::use_awaitable, error));
    }
    half_closed_ = true;
    if (idle()) close();  // else when the last answer is out
}

/// False when the client is done or gone. Nothing to read is no reason to stop.
bool TcpConnection::read_some() {
    const auto& limits = server_.limits_;
    if (in_.size() - in_size_ < first_buffer / 2)
        in_.resize(std::min(std::max(in_.size() * 2, first_buffer), limits.largest_query + length_bytes));
    if (in_size_ == in_.size()) return true;
    const auto count = ::recv(socket_.native_handle(), in_.data() + in_size_, in_.size() - in_size_, MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    in_size_ += static_cast<std::size_t>(count);
    return count > 0;
}

/// Serves whole messages from the buffer until it is crowded; false when the connection is closed, as it is by a
/// message that is too long for a query.
bool TcpConnection::serve_messages() {
    std::size_t position = 0;
    collecting_ = true;
    while (open() && !crowded() && in_size_ - position >= length_bytes) {
        const auto size = static_cast<std::size_t>(in_[position] << 8 | in_[position + 1]);
        if (size > server_.limits_.largest_query) {
            close();
            break;
        }
        if (in_size_ - position < length_bytes + size) break;
        server_.serve_(*this, Bytes{in_}.subspan(position + length_bytes, size));
        position += length_bytes + size;
        set_idle_timer();
    }
    collecting_ = false;
    if (!open()) return false;
    std::memmove(in_.data(), in_.data() + position, in_size_ - position);
    in_size_ -= position;
    flush();
    return open();
}

bool TcpConnection::crowded() const {
    return waiting_ >= server_.limits_.pipelined || unsent() >= server_.limits_.soft_output;
}

void TcpConnection::send(Bytes message) {
    if (!open()) return;
    if (unsent() + message.size() > server_.limits_.hard_output) return close();
    const std::uint8_t length[] = {static_cast<std::uint8_t>(message.size() >> 8),
                                   static_cast<std::uint8_t>(message.size())};
    out_.insert(out_.end(), std::begin(length), std::end(length));
    out_.insert(out_.end(), message.begin(), message.end());
    if (!collecting_) flush();
}

/// Sends what the kernel takes now, and waits for the rest as long as the client reads at all.
void TcpConnection::flush() {
    if (writing_ || unsent() == 0) return;
    const auto count = ::send(socket_.native_handle(), out_.data() + sent_, unsent(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN && errno != EINTR) return close();
    if (count > 0) {
        sent_ += static_cast<std::size_t>(count);
        stalled_.cancel();
    }
    if (unsent() == 0) {
        out_.clear();
        sent_ = 0;
        if (half_closed_ && waiting_ == 0) return close();
    } else {
        if (sent_ > server_.limits_.soft_output) {
            out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
            sent_ = 0;
        }
        if (!stalled_.pending()) server_.wheel_.set(stalled_, server_.limits_.stalled);
        writing_ = true;
        socket_.async_wait(asio::posix::stream_descriptor::wait_write,
                           [self = shared_from_this()](const asio::error_code& error) {
                               self->writing_ = false;
                               if (!error) self->flush();
                           });
    }
    if (!crowded()) room_.cancel();
}

void TcpConnection::finished() {
    --waiting_;
    if (!open()) return;
    if (waiting_ == 0 && half_closed_ && unsent() == 0) return close();
    if (!crowded() && !collecting_) room_.cancel();
}

void TcpConnection::set_idle_timer() {
    const bool busy_server = server_.connections_.size() > server_.limits_.connections / 2;
    server_.wheel_.set(idle_timer_, busy_server ? server_.limits_.idle_crowded : server_.limits_.idle);
    server_.connections_.splice(server_.connections_.end(), server_.connections_, place_);
}

void TcpConnection::idle_too_long() {
    if (idle()) return close();
    server_.wheel_.set(idle_timer_, server_.limits_.idle);  // it waits for us, not we for it
}

void TcpConnection::close() {
    if (!open()) return;
    idle_timer_.cancel();
    stalled_.cancel();
    room_.cancel();
    asio::error_code ignored;
    socket_.close(ignored);
    server_.remove(*this);
}

// --- TcpServer ---

TcpServer::TcpServer(asio::any_io_executor executor, Wheel& wheel, FileDescriptor socket, TcpLimits limits)
    : executor_(executor), wheel_(wheel), socket_(executor, socket.release()), pause_(executor), limits_(limits) {}

TcpServer::~TcpServer() {
    close();
}

void TcpServer::start(Welcome welcome, Serve serve) {
    welcome_ = std::move(welcome);
    serve_ = std::move(serve);
    wait();
}

void TcpServer::close() {
    asio::error_code ignored;
    socket_.close(ignored);
    pause_.cancel();
    while (!connections_.empty()) connections_.front()->close();
}

void TcpServer::wait() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
        if (!error) accept();
    });
}

void TcpServer::accept() {
    for (int i = 0; i < accepted_at_once; ++i) {
        sockaddr_in from{};
        socklen_t size = sizeof from;
        FileDescriptor socket{::accept4(socket_.native_handle(), reinterpret_cast<sockaddr*>(&from), &size,
                                        SOCK_NONBLOCK | SOCK_CLOEXEC)};
        if (socket) {
            welcome(std::move(socket), Ipv4{ntohl(from.sin_addr.s_addr)}, ntohs(from.sin_port));
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            pause_.expires_after(descriptor_pause);
            pause_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const asio::error_code& error) {
                if (!error && !alive.expired()) wait();
            });
            return;
        } else if (errno == EAGAIN) {
            break;
        }
    }
    wait();
}

void TcpServer::welcome(FileDescriptor socket, Ipv4 peer, std::uint16_t port) {
    if (!welcome_(peer)) return;
    if (!make_room(peer)) {
        ++refused_;
        return;
    }
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto connection = std::make_shared<TcpConnection>(*this, executor_, std::move(socket), peer, port);
    connection->place_ = connections_.insert(connections_.end(), connection.get());
    ++by_guest_[peer];
    ++accepted_;
    auto& reader = *connection;
    asio::co_spawn(executor_, reader.run(std::move(connection)), rethrow);
}

/// A guest at its cap, or the guest with most connections when all are in use, loses the one it used longest ago.
bool TcpServer::make_room(Ipv4 peer) {
    const auto own = by_guest_.find(peer);
    if (own != by_guest_.end() && own->second >= limits_.per_guest) return close_oldest_idle(peer);
    if (connections_.size() < limits_.connections) return true;
    const auto most = std::max_element(by_guest_.begin(), by_guest_.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    return close_oldest_idle(most->first);
}

bool TcpServer::close_oldest_idle(Ipv4 peer) {
    for (auto* connection : connections_) {
        if (connection->peer_ != peer || !connection->idle()) continue;
        connection->close();
        return true;
    }
    return false;
}

void TcpServer::remove(TcpConnection& connection) {
    connections_.erase(connection.place_);
    const auto count = by_guest_.find(connection.peer_);
    if (--count->second == 0) by_guest_.erase(count);
}

}  // namespace vmrouter::dns
