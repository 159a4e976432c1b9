#pragma once

// DNS over TCP (RFC 7766, 9210): many queries on one connection, answered as they are ready, in whatever order. Every
// connection is on its own; one that is idle, slow or half-written holds a descriptor and a timer and nothing else.

#include <sys/types.h>

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "dns/wheel.hpp"
#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

class TcpServer;

struct TcpLimits {
    std::size_t connections = 512;  ///< all together
    std::size_t per_guest = 16;
    std::size_t pipelined = 64;             ///< queries of one connection that wait for an answer; then it is not read
    std::size_t largest_query = 4096;       ///< bytes; a longer one ends the connection
    std::size_t soft_output = 64 * 1024;    ///< bytes of unread answers; then it is not read
    std::size_t hard_output = 512 * 1024;   ///< then it is closed
    std::chrono::milliseconds idle{10000};  ///< between queries, and for one query from first to last byte
    std::chrono::milliseconds idle_crowded{2000};  ///< when more than half of all connections are in use
    std::chrono::milliseconds stalled{5000};       ///< a client that does not read its answers
};

/// One connection. Kept alive by its reader and by the queries that wait for an answer.
class TcpConnection : public std::enable_shared_from_this<TcpConnection> {
public:
    TcpConnection(TcpServer& server, asio::any_io_executor executor, FileDescriptor socket, Ipv4 peer,
                  std::uint16_t port);

    [[nodiscard]] Ipv4 peer() const { return peer_; }
    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] bool open() const { return socket_.is_open(); }

    /// Queues one answer; it leaves at once unless more are being collected. Nothing happens when it is closed.
    void send(Bytes message);
    /// A query was handed to an upstream: the answer comes later, by send() or not at all; then finished().
    void waiting() { ++waiting_; }
    void finished();
    void close();

private:
    friend class TcpServer;
    asio::awaitable<void> run(std::shared_ptr<TcpConnection> self);
    bool read_some();
    bool serve_messages();
    void flush();
    void idle_too_long();
    void set_idle_timer();
    [[nodiscard]] bool crowded() const;
    [[nodiscard]] bool idle() const { return waiting_ == 0 && unsent() == 0; }
    [[nodiscard]] std::size_t unsent() const { return out_.size() - sent_; }

    TcpServer& server_;
    asio::posix::stream_descriptor socket_;
    asio::steady_timer room_;  ///< cancelled when reading may go on
    Ipv4 peer_;
    std::uint16_t port_;
    std::vector<std::uint8_t> in_;
    std::size_t in_size_ = 0;  ///< bytes of in_ that were received and not served
    std::vector<std::uint8_t> out_;
    std::size_t sent_ = 0;  ///< of out_
    std::size_t waiting_ = 0;
    bool collecting_ = false;
    bool writing_ = false;
    bool half_closed_ = false;  ///< the client has said all it will
    Timeout idle_timer_;
    Timeout stalled_;
    std::list<TcpConnection*>::iterator place_;
};

/// The TCP listener.
class TcpServer {
public:
    /// Serves one query: `connection` may be kept (waiting, send, finished) when the answer must be waited for.
    using Serve = std::function<void(TcpConnection& connection, Bytes query)>;
    /// May this address connect at all?
    using Welcome = std::function<bool(Ipv4 peer)>;

    TcpServer(asio::any_io_executor executor, Wheel& wheel, FileDescriptor socket, TcpLimits limits = {});
    ~TcpServer();
    TcpServer(const TcpServer&) = delete;
    TcpServer& operator=(const TcpServer&) = delete;

    void start(Welcome welcome, Serve serve);
    void close();

    [[nodiscard]] std::size_t connections() const { return connections_.size(); }
    [[nodiscard]] std::uint64_t accepted() const { return accepted_; }
    [[nodiscard]] std::uint64_t refused() const { return refused_; }  ///< because of the caps

private:
    friend class TcpConnection;
    void wait();
    void accept();
    void welcome(FileDescriptor socket, Ipv4 peer, std::uint16_t port);
    bool make_room(Ipv4 peer);
    bool close_oldest_idle(Ipv4 peer);
    void remove(TcpConnection& connection);

    asio::any_io_executor executor_;
    Wheel& wheel_;
    asio::posix::stream_descriptor socket_;
    asio::steady_timer pause_;
    TcpLimits limits_;
    Welcome welcome_;
    Serve serve_;
    std::list<TcpConnection*> connections_;  ///< the one that was used longest ago first
    std::unordered_map<Ipv4, std::size_t> by_guest_;
    std::uint64_t accepted_ = 0;
    std::uint64_t refused_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< for a pause that has ended when we go
};

}  // namespace vmrouter::dns
