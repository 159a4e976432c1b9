#include "firewall/netfilter_socket.hpp"

#include <netlink/msg.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace vmrouter::firewall {

Result<FileDescriptor> open_netfilter_socket(std::size_t buffer) {
    FileDescriptor fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
    if (!fd) {
        return Failure{system_error("no netlink socket for netfilter", errno, {},
                                    "the kernel needs nftables: CONFIG_NETFILTER_NETLINK and CONFIG_NF_TABLES (modules "
                                    "nfnetlink and nf_tables)")};
    }
    const int size = static_cast<int>(buffer);
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
        static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return Failure{system_error("cannot bind a netlink socket", errno)};
    return fd;
}

Result<int> netfilter_exchange(int socket, Bytes messages, const std::function<void(const nlmsghdr&)>& each) {
    std::array<std::uint8_t, 4096> stale;  // what an earlier exchange left unread must not answer this one
    while (::recv(socket, stale.data(), stale.size(), MSG_DONTWAIT) >= 0 || errno == EINTR) continue;
    if (::send(socket, messages.data(), messages.size(), 0) < 0)
        return Failure{system_error("cannot send to netfilter", errno)};

    // Aligned for the headers that the kernel lays into it; 32 KiB is what it fills in a dump at most.
    std::vector<std::uint64_t> buffer(32768 / sizeof(std::uint64_t));
    for (;;) {
        pollfd wait{socket, POLLIN, 0};
        const int ready = ::poll(&wait, 1, 1000);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return Failure{system_error("netfilter does not answer", ready == 0 ? ETIMEDOUT : errno)};
        const ssize_t received = ::recv(socket, buffer.data(), buffer.size() * sizeof(std::uint64_t), 0);
        if (received < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (received < 0) return Failure{system_error("cannot read from netfilter", errno)};

        int left = static_cast<int>(received);
        for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(message, left);
             message = nlmsg_next(message, &left)) {
            if (message->nlmsg_type == NLMSG_DONE) return 0;
            if (message->nlmsg_type == NLMSG_ERROR) {
                int error = 0;  // the first field of nlmsgerr
                if (nlmsg_datalen(message) >= static_cast<int>(sizeof error))
                    std::memcpy(&error, nlmsg_data(message), sizeof error);
                return -error;
            }
            if (each) each(*message);
        }
    }
}

}  // namespace vmrouter::firewall
