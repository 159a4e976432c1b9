#include "firewall/netfilter_listener.hpp"

#include <sys/socket.h>

#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdint>
#include <vector>

namespace vmrouter::firewall {

namespace {

// Under a storm the rest of the program gets its turn after so many.
constexpr int datagrams_at_once = 64;

}  // namespace

NetfilterListener::NetfilterListener(asio::io_context& io, FileDescriptor socket) : socket_(io, socket.release()) {}

asio::awaitable<void> NetfilterListener::run(std::function<void(Bytes)> datagram, std::function<void()> lost) {
    std::vector<std::uint8_t> buffer(65536);
    for (;;) {
        asio::error_code error;
        co_await socket_.async_wait(socket_.wait_read, asio::redirect_error(asio::use_awaitable, error));
        if (error) co_return;
        for (int i = 0; i < datagrams_at_once; ++i) {
            const ssize_t size = ::recv(socket_.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (size < 0 && errno == EINTR) continue;
            if (size < 0 && errno == ENOBUFS) {
                lost();
                continue;
            }
            if (size <= 0) break;
            datagram(Bytes(buffer).first(static_cast<std::size_t>(size)));
            if (!socket_.is_open()) co_return;
        }
    }
}

void NetfilterListener::close() {
    asio::error_code ignored;
    socket_.close(ignored);
}

}  // namespace vmrouter::firewall
