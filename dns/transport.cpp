#include "dns/transport.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vmrouter::dns {

namespace {

constexpr int receive_buffer =
    8 << 20;  // bytes; a burst of more than ten thousand queries, each counted with its overhead
constexpr int backlog = 256;
constexpr int rounds = 4;  // batches before timers and other sockets get their turn

sockaddr_in socket_address(Ipv4 address, std::uint16_t port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(address.value);
    return in;
}

bool set(int fd, int level, int option, int value) {
    return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<FileDescriptor> open_bound(Ipv4 address, const std::string& device, std::uint16_t port, int type) {
    const char* protocol = type == SOCK_DGRAM ? "UDP" : "TCP";
    const auto where = fmt::format("{} port {} of {} on {}", protocol, port, to_string(address), device);
    FileDescriptor fd{::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (!fd) return Failure{system_error("cannot open a socket for DNS", errno, where)};
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device.data(), static_cast<socklen_t>(device.size())) != 0)
        return Failure{system_error("cannot bind DNS to its device", errno, where)};
    // Never for UDP, where it would let another program share our port unnoticed; for TCP it only forgives TIME_WAIT.
    if (type == SOCK_STREAM) set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);

    const auto in = socket_address(address, port);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0) {
        const char* hint =
            errno == EADDRINUSE
                ? "another DNS server listens there or on 0.0.0.0; let it listen on its own addresses "
                  "(dnsmasq: bind-dynamic, unbound: interface:, named: listen-on), or set dns.enabled = false"
            : errno == EACCES ? "ports below 1024 take root or CAP_NET_BIND_SERVICE"
                              : "";
        return Failure{system_error("cannot listen for DNS", errno, where, hint)};
    }
    return fd;
}

}  // namespace

Result<FileDescriptor> open_udp_socket(Ipv4 address, const std::string& device, std::uint16_t port) {
    auto fd = open_bound(address, device, port, SOCK_DGRAM);
    if (!fd) return fd;
    if (!set(fd->get(), SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer))
        set(fd->get(), SOL_SOCKET, SO_RCVBUF, receive_buffer);
    set(fd->get(), SOL_SOCKET, SO_RXQ_OVFL, 1);  // see UdpTransport::lost
    // Replies are small enough for every path, and a forged "fragmentation needed" must not change that.
    set(fd->get(), IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
    return fd;
}

Result<FileDescriptor> open_tcp_socket(Ipv4 address, const std::string& device, std::uint16_t port) {
    auto fd = open_bound(address, device, port, SOCK_STREAM);
    if (!fd) return fd;
    if (::listen(fd->get(), backlog) != 0)
        return Failure{system_error("cannot listen for DNS over TCP", errno, to_string(address))};
    return fd;
}

UdpTransport::UdpTransport(asio::any_io_executor executor, FileDescriptor socket)
    : socket_(executor, socket.release()), in_(batch * largest_query), out_(batch * largest_reply) {
    datagrams_.reserve(batch);
    for (std::size_t i = 0; i < batch; ++i) {
        in_parts_[i] = {in_.data() + i * largest_query, largest_query};
        in_headers_[i] = {};
        in_headers_[i].msg_hdr.msg_iov = &in_parts_[i];
        in_headers_[i].msg_hdr.msg_iovlen = 1;
        in_headers_[i].msg_hdr.msg_name = &from_[i];
        in_headers_[i].msg_hdr.msg_control = in_control_[i].data();
        out_headers_[i] = {};
        out_headers_[i].msg_hdr.msg_iov = &out_parts_[i];
        out_headers_[i].msg_hdr.msg_iovlen = 1;
        out_headers_[i].msg_hdr.msg_name = &to_[i];
        out_headers_[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
    }
}

void UdpTransport::start(Received received) {
    received_ = std::move(received);
    wait();
}

void UdpTransport::wait() {
    socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
        if (error) return;
        for (int round = 0; round < rounds && receive(); ++round) {
        }
        wait();
    });
}

/// One batch; true when there may be more.
bool UdpTransport::receive() {
    for (auto& header : in_headers_) {
        header.msg_hdr.msg_namelen = sizeof(sockaddr_in);
        header.msg_hdr.msg_controllen = sizeof(in_control_[0]);
    }
    const int count = ::recvmmsg(socket_.native_handle(), in_headers_.data(), batch, MSG_DONTWAIT, nullptr);
    if (count <= 0) return false;  // a pending error is taken off the socket by having been read

    read_lost(in_headers_[static_cast<std::size_t>(count) - 1].msg_hdr);
    datagrams_.clear();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        const auto& header = in_headers_[i];
        if ((header.msg_hdr.msg_flags & MSG_TRUNC) != 0 || header.msg_hdr.msg_namelen != sizeof(sockaddr_in)) continue;
        datagrams_.push_back({Bytes{in_.data() + i * largest_query, header.msg_len}, &from_[i]});
    }
    received_(datagrams_);
    flush();
    return static_cast<std::size_t>(count) == batch;
}

/// The kernel says with each datagram how many it has thrown away so far, once it has.
void UdpTransport::read_lost(msghdr& last) {
    for (auto* note = CMSG_FIRSTHDR(&last); note != nullptr; note = CMSG_NXTHDR(&last, note))
        if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL)
            std::memcpy(&lost_, CMSG_DATA(note), sizeof lost_);
}

std::span<std::uint8_t> UdpTransport::room() {
    if (pending_ == batch) flush();
    return {out_.data() + pending_ * largest_reply, largest_reply};
}

void UdpTransport::send(std::size_t size, const sockaddr_in& to) {
    out_parts_[pending_] = {out_.data() + pending_ * largest_reply, size};
    to_[pending_] = to;
    ++pending_;
}

void UdpTransport::flush() {
    std::size_t done = 0;
    while (done < pending_) {
        const int sent = ::sendmmsg(socket_.native_handle(), out_headers_.data() + done,
                                    static_cast<unsigned>(pending_ - done), MSG_DONTWAIT);
        if (sent > 0) {
            done += static_cast<std::size_t>(sent);
        } else if (errno == EAGAIN || errno == EBADF) {
            dropped_ += pending_ - done;
            break;
        } else if (errno != EINTR) {
            ++done;  // this one cannot be sent (a firewall, no neighbour); the next may
            ++dropped_;
        }
    }
    pending_ = 0;
}

void UdpTransport::close() {
    asio::error_code ignored;
    socket_.close(ignored);
}

}  // namespace vmrouter::dns
