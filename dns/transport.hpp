#pragma once

// The listeners on the segment: sockets that are bound to our address and to our device, and datagrams in batches. What
// takes many calls elsewhere (receive, send) takes two here, whatever the number of queries that wait.

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <asio/any_io_executor.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

/// A UDP socket on `address`, reachable only through `device`, port 53. Needs CAP_NET_BIND_SERVICE. When the port is
/// taken the hint says what to look for; the caller may know which process it is.
Result<FileDescriptor> open_udp_socket(Ipv4 address, const std::string& device, std::uint16_t port = 53);
/// Likewise, listening for TCP.
Result<FileDescriptor> open_tcp_socket(Ipv4 address, const std::string& device, std::uint16_t port = 53);

/// The UDP listener: calls back with every batch that waits, sends replies in batches.
class UdpTransport {
public:
    static constexpr std::size_t batch = 64;
    static constexpr std::size_t largest_query = 4096;  ///< longer ones are dropped
    static constexpr std::size_t largest_reply = 1232;

    struct Datagram {
        Bytes bytes;
        const sockaddr_in* from;
    };
    using Received = std::function<void(std::span<const Datagram>)>;

    UdpTransport(asio::any_io_executor executor, FileDescriptor socket);

    /// Starts to listen. `received` is called with one batch after the other; when it returns, what it sent is flushed.
    void start(Received received);

    /// Room for one reply of up to largest_reply bytes, until the next call of room() or send().
    std::span<std::uint8_t> room();
    /// Sends the first `size` bytes of the last room() to `to`, with the next flush().
    void send(std::size_t size, const sockaddr_in& to);
    /// Replies that the kernel does not take at once are dropped, as any datagram may be.
    void flush();

    [[nodiscard]] std::uint64_t dropped() const { return dropped_; }
    /// Queries that the kernel threw away because its buffer was full, as of the last batch; wraps.
    [[nodiscard]] std::uint32_t lost() const { return lost_; }
    void close();

private:
    void wait();
    bool receive();
    void read_lost(msghdr& last);

    asio::posix::stream_descriptor socket_;
    Received received_;
    std::vector<Datagram> datagrams_;
    std::vector<std::uint8_t> in_;
    std::vector<std::uint8_t> out_;
    std::array<sockaddr_in, batch> from_;
    std::array<sockaddr_in, batch> to_;
    std::array<iovec, batch> in_parts_;
    std::array<iovec, batch> out_parts_;
    std::array<mmsghdr, batch> in_headers_;
    alignas(cmsghdr) std::array<std::array<std::uint8_t, CMSG_SPACE(sizeof(std::uint32_t))>, batch> in_control_;
    std::array<mmsghdr, batch> out_headers_;
    std::size_t pending_ = 0;  ///< replies in out_
    std::uint64_t dropped_ = 0;
    std::uint32_t lost_ = 0;
};

}  // namespace vmrouter::dns
