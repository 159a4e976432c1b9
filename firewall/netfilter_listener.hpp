#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <functional>

#include "src/base/file.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::firewall {

/// What netfilter sends by itself (events, logged packets), datagram by datagram.
class NetfilterListener {
public:
    NetfilterListener(asio::io_context& io, FileDescriptor socket);

    /// Until close() or until the descriptor fails. `datagram` sees bytes that live until it returns; `lost` is called
    /// when the kernel had to throw something away. Both stay valid as long as this runs.
    asio::awaitable<void> run(std::function<void(Bytes)> datagram, std::function<void()> lost);
    void close();

private:
    asio::posix::stream_descriptor socket_;
};

}  // namespace vmrouter::firewall
