#include "dhcp/transport.hpp"

#include <poll.h>

#include <algorithm>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <functional>
#include <iterator>
#include <string_view>

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t batch_size = 64;
constexpr std::size_t port_batch_size = 32;
constexpr std::size_t most_sightings = 1024;
constexpr Milliseconds first_pause{50};
constexpr Milliseconds longest_pause{10'000};
constexpr std::size_t most_strange = 16;  ///< a guest that floods us as a server is heard often enough

std::uint64_t fingerprint(Bytes frame) {
    return std::hash<std::string_view>{}({reinterpret_cast<const char*>(frame.data()), frame.size()});
}

/// UDP to port 68; the filter has seen to the rest.
bool is_server_answer(Bytes frame) {
    Reader reader(frame);
    reader.skip(14);
    const std::size_t header_size = std::size_t{4} * (reader.u8() & 0xf);
    reader.seek(14 + header_size + 2);
    return reader.u16() == 68 && reader.ok() && frame[23] == 17;
}

}  // namespace

Transport::Transport(const asio::any_io_executor& executor, Sockets sockets)
    : executor_(executor), packet_(executor), rebound_(executor), batch_(batch_size), port_batch_(port_batch_size) {
    assign(std::move(sockets));
}

void Transport::assign(Sockets sockets) {
    sockets_ = std::move(sockets);
    if (sockets_.packet) packet_.assign(sockets_.packet.release());
}

void Transport::replace_sockets(Sockets sockets) {
    asio::error_code ignored;
    packet_.close(ignored);
    sightings_.clear();
    failing_ = false;
    pause_ = first_pause;
    assign(std::move(sockets));
    rebound_.notify();
}

void Transport::close() {
    closed_ = true;
    rebound_.notify();
    asio::error_code ignored;
    packet_.close(ignored);
    for (auto& [ifindex, port] : ports_) port->descriptor.close(ignored);
    ports_.clear();
}

asio::awaitable<std::span<const ReceivedFrame>> Transport::receive() {
    frames_.clear();
    while (!closed_) {
        if (!packet_.is_open()) {
            co_await rebound_.wait();
            continue;
        }
        if (failing_) {
            co_await rebound_.wait_until(resume_at_);
            if (closed_ || !packet_.is_open()) continue;
        } else if (strange_.empty()) {
            asio::error_code waited;
            co_await packet_.async_wait(asio::posix::stream_descriptor::wait_read,
                                        asio::redirect_error(asio::use_awaitable, waited));
            if (closed_ || !packet_.is_open()) continue;
            // Cancelled: by replace_sockets(), or because a port has seen something. Anything else cannot be waited
            // out.
            if (waited && waited != asio::error::operation_aborted) {
                fail(system_error("cannot wait for DHCP packets", waited.value(), sockets_.interface), waited.value());
                break;
            }
        }
        const int failed = batch_.receive(packet_.native_handle());
        if (failed != 0 && failed != EAGAIN && failed != EINTR) {
            fail(system_error("cannot receive DHCP packets", failed, sockets_.interface), failed);
            break;
        }
        failing_ = false;
        pause_ = first_pause;
        // After the bridge's socket: a port sees a frame first, so what we have just read waits there already.
        drain_ready_ports();
        if (failed == 0) {
            for (ReceivedFrame frame : batch_.frames()) {
                frame.port = port_of(frame.bytes);
                const bool told_by_port = frame.port != 0 && is_server_answer(frame.bytes);
                if (!told_by_port) frames_.push_back(frame);
            }
        }
        delivered_ = std::exchange(strange_, {});
        for (std::size_t i = 0; i < delivered_.size(); ++i)
            frames_.push_back({delivered_[i], false, strange_ports_[i]});
        strange_ports_.clear();
        if (!frames_.empty()) break;
    }
    co_return std::span<const ReceivedFrame>(frames_);
}

/// An error may be over when it is read (the interface went down), or stay: then it is looked at less and less often,
/// and said once. An interface that is gone does not come back to this socket.
void Transport::fail(Error error, int errnum) {
    if (!std::exchange(failing_, true)) error_ = std::move(error);
    resume_at_ =
        errnum == ENODEV || errnum == EBADF ? Signal::TimePoint::max() : std::chrono::steady_clock::now() + pause_;
    pause_ = std::min(2 * pause_, longest_pause);
}

std::size_t Transport::send(std::span<const Bytes> frames, int& failed) {
    failed = EBADF;
    if (!packet_.is_open()) return 0;
    return send_frames(packet_.native_handle(), frames, failed);
}

void Transport::add_port(unsigned ifindex, FileDescriptor socket) {
    remove_port(ifindex);
    ports_.emplace(ifindex, std::make_shared<Port>(executor_, socket.release()));
    watch(ifindex);
}

void Transport::remove_port(unsigned ifindex) {
    const auto found = ports_.find(ifindex);
    if (found == ports_.end()) return;
    asio::error_code ignored;
    found->second->descriptor.close(ignored);
    ports_.erase(found);
    std::erase_if(sightings_, [&](const Sighting& sighting) { return sighting.port == ifindex; });
}

// A port's socket must be emptied even when nothing arrives through the bridge, because the firewall dropped it there;
// otherwise its queue would fill with old frames and miss the new ones.
void Transport::watch(unsigned ifindex) {
    const auto& port = ports_.at(ifindex);
    // Weak: the handler of a port that was removed finds nothing.
    port->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [this, ifindex, weak = std::weak_ptr<Port>(port)](const asio::error_code& waited) {
                                    const auto same = weak.lock();
                                    if (waited || !same || !same->descriptor.is_open()) return;
                                    const int failed = drain(ifindex, same->descriptor.native_handle());
                                    if (!strange_.empty()) {
                                        asio::error_code ignored;
                                        packet_.cancel(ignored);
                                    }
                                    // What lasts would be read again and again; remove_port() follows.
                                    if (failed == 0 || failed == ENETDOWN) watch(ifindex);
                                });
}

/// 0 when the socket is empty, else the errno.
int Transport::drain(unsigned ifindex, int fd) {
    for (;;) {
        const int failed = port_batch_.receive(fd, FrameBatch::For::Anybody);
        if (failed == EAGAIN || failed == EINTR) return 0;
        if (failed != 0) return failed;
        for (const ReceivedFrame& frame : port_batch_.frames()) {
            if (is_server_answer(frame.bytes) && strange_.size() < most_strange) {
                strange_.emplace_back(frame.bytes.begin(), frame.bytes.end());
                strange_ports_.push_back(ifindex);
            }
            if (sightings_.size() >= most_sightings) sightings_.pop_front();
            sightings_.push_back({fingerprint(frame.bytes), ifindex});
        }
        if (!port_batch_.full()) return 0;
    }
}

void Transport::drain_ready_ports() {
    if (ports_.empty()) return;
    std::vector<pollfd> waiting;
    std::vector<unsigned> indices;
    for (const auto& [ifindex, port] : ports_) {
        waiting.push_back({port->descriptor.native_handle(), POLLIN, 0});
        indices.push_back(ifindex);
    }
    if (poll(waiting.data(), waiting.size(), 0) <= 0) return;
    for (std::size_t i = 0; i < waiting.size(); ++i)
        if (waiting[i].revents != 0) drain(indices[i], waiting[i].fd);
}

unsigned Transport::port_of(Bytes frame) {
    if (sightings_.empty()) return 0;
    const std::uint64_t wanted = fingerprint(frame);
    // The latest first: an older one of the same bytes was dropped between port and bridge, perhaps as a forgery.
    const auto sighting = std::find_if(sightings_.rbegin(), sightings_.rend(),
                                       [&](const Sighting& candidate) { return candidate.frame == wanted; });
    if (sighting == sightings_.rend()) return 0;
    const unsigned port = sighting->port;
    sightings_.erase(std::next(sighting).base());
    return port;
}

}  // namespace vmrouter::dhcp
