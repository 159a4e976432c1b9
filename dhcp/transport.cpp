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

void Transport::rebind(Sockets sockets) {
    asio::error_code ignored;
    packet_.close(ignored);
    sightings_.clear();
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
        if (strange_.empty()) {
            asio::error_code waited;
            co_await packet_.async_wait(asio::posix::stream_descriptor::wait_read,
                                        asio::redirect_error(asio::use_awaitable, waited));
            if (closed_ || !packet_.is_open()) continue;
            // Cancelled: by rebind(), or because a port has seen something. Anything else cannot be waited out.
            if (waited && waited != asio::error::operation_aborted) {
                error_ = system_error("cannot wait for DHCP packets", waited.value(), sockets_.interface);
                break;
            }
        }
        const int failed = batch_.receive(packet_.native_handle());
        if (failed != 0 && failed != EAGAIN && failed != EINTR) {
            error_ = system_error("cannot receive DHCP packets", failed, sockets_.interface);
            break;
        }
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
                                    drain(ifindex, same->descriptor.native_handle());
                                    if (!strange_.empty()) {
                                        asio::error_code ignored;
                                        packet_.cancel(ignored);
                                    }
                                    watch(ifindex);
                                });
}

void Transport::drain(unsigned ifindex, int fd) {
    // An error (the port went down or away) is read and forgotten: remove_port() follows when it matters.
    while (port_batch_.receive(fd, FrameBatch::For::Anybody) == 0) {
        for (const ReceivedFrame& frame : port_batch_.frames()) {
            if (is_server_answer(frame.bytes) && strange_.size() < most_strange) {
                strange_.emplace_back(frame.bytes.begin(), frame.bytes.end());
                strange_ports_.push_back(ifindex);
            }
            if (sightings_.size() >= most_sightings) sightings_.pop_front();
            sightings_.push_back({fingerprint(frame.bytes), ifindex});
        }
        if (!port_batch_.full()) return;
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
