#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dhcp/packet_socket.hpp"
#include "dhcp/signal.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

/// The sockets of one segment on the event loop: frames in, frames out, and which bridge port a frame came from. A
/// packet socket on a bridge cannot tell its ports apart, so each port has a socket of its own that sees the same frame
/// a moment earlier; the two are matched by their bytes.
class Transport {
public:
    Transport(const asio::any_io_executor& executor, Sockets sockets);

    /// All frames that wait, after waiting for the first: DHCP requests, answers of other DHCP servers and ICMP echo
    /// replies. Valid until the next call. Empty when the interface reported an error (then take_error() has it) and
    /// after close().
    asio::awaitable<std::span<const ReceivedFrame>> receive();

    /// Why the last receive() came back empty; an Error with an empty text when there is none, or when it was told
    /// before.
    Error take_error() { return std::exchange(error_, {}); }

    /// How many of `frames` the kernel took. What it does not take is lost, as on any wire.
    std::size_t send(std::span<const Bytes> frames, int& failed);

    /// New sockets for a segment that was made anew. The old ones are closed, a waiting receive() goes on with these.
    void replace_sockets(Sockets sockets);
    void close();

    /// A port of the bridge. The same interface again replaces its socket.
    void add_port(unsigned ifindex, FileDescriptor socket);
    void remove_port(unsigned ifindex);

    [[nodiscard]] const Sockets& sockets() const { return sockets_; }

private:
    struct Port {
        Port(const asio::any_io_executor& executor, int fd) : descriptor(executor, fd) {}
        asio::posix::stream_descriptor descriptor;
    };
    struct Sighting {
        std::uint64_t frame = 0;  ///< hash of its bytes
        unsigned port = 0;
    };

    void assign(Sockets sockets);
    void watch(unsigned ifindex);
    int drain(unsigned ifindex, int fd);
    void fail(Error error, int errnum);
    void drain_ready_ports();
    unsigned port_of(Bytes frame);

    asio::any_io_executor executor_;
    Sockets sockets_;
    asio::posix::stream_descriptor packet_;
    Signal rebound_;
    bool closed_ = false;
    Error error_;
    bool failing_ = false;  ///< since an error, until a receive works
    Milliseconds pause_{50};
    Signal::TimePoint resume_at_{};
    FrameBatch batch_;
    FrameBatch port_batch_;
    std::unordered_map<unsigned, std::shared_ptr<Port>> ports_;
    std::deque<Sighting> sightings_;                  ///< frames that a port has seen and the bridge has not yet
    std::vector<std::vector<std::uint8_t>> strange_;  ///< answers of other servers, seen on a port only
    std::vector<unsigned> strange_ports_;
    std::vector<std::vector<std::uint8_t>> delivered_;  ///< strange_ while the caller looks at it
    std::vector<ReceivedFrame> frames_;
};

}  // namespace vmrouter::dhcp
