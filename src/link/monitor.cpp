#include "src/link/monitor.hpp"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/system_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>

#include "src/link/attributes.hpp"
#include "src/link/messages.hpp"

namespace vmrouter::link {
namespace {

// One event is one datagram; the largest, of an interface with every statistic, is below 8 KiB.
constexpr std::size_t kBufferSize = 32 * 1024;
constexpr int kReceiveBuffer = 1 << 20;  // a hundred messages overrun the default
constexpr int kMessagesPerBatch = 4096;  // under a storm the consumer gets its turn as well

/// A later state of the same link replaces an earlier one; removal and re-creation stay apart.
void note_link(Events& events, bool removed, const nlmsghdr& message) {
    const auto header = header_of<ifinfomsg>(message);
    if (header.ifi_family == AF_BRIDGE) {  // the port's view; a link's own message follows, unless only flags changed
        events.port_flags = true;
        return;
    }
    const auto attributes = Attributes<IFLA_MAX>::of_message(message, sizeof header);
    if (attributes.find(IFLA_WIRELESS) != nullptr) return;  // signal strength
    auto link = parse_link(message);
    if (!link) return;
    const auto same = std::find_if(events.links.rbegin(), events.links.rend(),
                                   [&](const LinkEvent& event) { return event.link.index == link->index; });
    // Also a port that was on a bridge for a moment only has been there: somebody took it off, and whoever serves the
    // bridge must know.
    if (same != events.links.rend() && !same->removed && !removed && same->link.master == link->master) {
        same->link = std::move(*link);
    } else {
        events.links.push_back({removed, std::move(*link)});
    }
}

void note(Events& events, const nlmsghdr& message) {
    switch (message.nlmsg_type) {
        case RTM_NEWLINK:
            note_link(events, false, message);
            break;
        case RTM_DELLINK:
            note_link(events, true, message);
            break;
        case RTM_NEWADDR:
        case RTM_DELADDR: {
            const auto header = header_of<ifaddrmsg>(message);
            if (header.ifa_family == AF_INET6)
                events.addresses6.insert(static_cast<int>(header.ifa_index));
            else
                events.addresses = true;
            break;
        }
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
            (header_of<rtgenmsg>(message).rtgen_family == AF_INET6 ? events.routes6 : events.routes) = true;
            break;
        case RTM_NEWRULE:
        case RTM_DELRULE:
            events.rules = true;
            break;
        case RTM_NEWNETCONF:
        case RTM_DELNETCONF:
            events.settings = true;
            break;
        case NLMSG_OVERRUN:
            events.overrun = true;
            break;
        default:
            break;
    }
}

/// Walks the messages of one datagram.
void note_all(Events& events, std::array<char, kBufferSize>& buffer, std::size_t length) {
    void* start = buffer.data();
    auto* message = static_cast<nlmsghdr*>(start);
    for (int left = static_cast<int>(length); nlmsg_ok(message, left) != 0; message = nlmsg_next(message, &left)) {
        note(events, *message);
    }
}

}  // namespace

bool Events::empty() const {
    return !overrun && links.empty() && !addresses && addresses6.empty() && !routes && !routes6 && !rules &&
           !settings && !port_flags;
}

bool Events::networks_changed() const {
    return overrun || !links.empty() || addresses || routes || rules;
}

Result<FileDescriptor> open_event_socket() {
    FileDescriptor socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!socket) return Failure{system_error("cannot follow the kernel's links", errno, "netlink")};
    // FORCE needs CAP_NET_ADMIN; without it the limit of the machine applies.
    if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
        setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    const void* bytes = &address;
    if (bind(socket.get(), static_cast<const sockaddr*>(bytes), sizeof address) != 0)
        return Failure{system_error("cannot follow the kernel's links", errno, "netlink")};
    for (const int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                            RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV4_NETCONF}) {
        if (setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
            return Failure{system_error("cannot follow the kernel's links", errno, "netlink")};
    }
    return socket;
}

struct Monitor::Impl {
    asio::posix::stream_descriptor socket;
    alignas(nlmsghdr) std::array<char, kBufferSize> buffer{};

    Impl(asio::io_context& io, int fd) : socket(io, fd) {}
};

Monitor::Monitor(asio::io_context& io, FileDescriptor socket) : impl_(std::make_unique<Impl>(io, socket.get())) {
    static_cast<void>(socket.release());  // the stream_descriptor owns it now
}

Monitor::~Monitor() = default;

void Monitor::close() {
    asio::error_code ignored;
    impl_->socket.close(ignored);
}

Events Monitor::drain() {
    Events events;
    for (int i = 0; i < kMessagesPerBatch; ++i) {
        sockaddr_nl sender{};
        void* address = &sender;
        socklen_t size = sizeof sender;
        const auto got = recvfrom(impl_->socket.native_handle(), impl_->buffer.data(), impl_->buffer.size(),
                                  MSG_DONTWAIT | MSG_TRUNC, static_cast<sockaddr*>(address), &size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == ENOBUFS) {  // the kernel threw events away; those that are still queued count as well
            events.overrun = true;
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (got < 0) throw asio::system_error(asio::error_code(errno, asio::error::get_system_category()), "netlink");
        if (sender.nl_pid != 0) continue;  // not the kernel
        const auto length = static_cast<std::size_t>(got);
        if (length > impl_->buffer.size()) {
            events.overrun = true;
        } else {
            note_all(events, impl_->buffer, length);
        }
    }
    return events;
}

asio::awaitable<Events> Monitor::next() {
    for (;;) {
        Events events = drain();
        if (!events.empty()) co_return events;
        co_await impl_->socket.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    }
}

}  // namespace vmrouter::link
