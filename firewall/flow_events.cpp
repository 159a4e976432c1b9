#include "firewall/flow_events.hpp"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "firewall/conntrack.hpp"
#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

struct FlowEvents::State {
    State(asio::io_context& io, FileDescriptor file, FlowObserver& who) : socket(io, file.release()), observer(&who) {}

    asio::posix::stream_descriptor socket;
    FlowObserver* observer;  ///< null when FlowEvents is gone
};

std::vector<Flow> parse_new_flows(Bytes datagram) {
    std::vector<std::uint64_t> aligned((datagram.size() + 7) / 8);  // headers are read in place
    if (!datagram.empty()) std::memcpy(aligned.data(), datagram.data(), datagram.size());
    std::vector<Flow> flows;
    int left = static_cast<int>(datagram.size());
    for (auto* message = reinterpret_cast<nlmsghdr*>(aligned.data()); nlmsg_ok(message, left);
         message = nlmsg_next(message, &left)) {
        if (message->nlmsg_type != ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW)) continue;
        if (nlmsg_datalen(message) < static_cast<int>(sizeof(nfgenmsg))) continue;
        nfgenmsg header{};
        std::memcpy(&header, nlmsg_data(message), sizeof header);
        if (header.nfgen_family == AF_INET) flows.push_back(parse_flow(*message));
    }
    return flows;
}

Result<FileDescriptor> open_flow_events() {
    auto socket = open_netfilter_socket();
    if (!socket) return socket;
    const int group = NFNLGRP_CONNTRACK_NEW;
    if (::setsockopt(socket->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
        return Failure{system_error("the kernel does not tell of new connections", errno, {},
                                    "it needs CONFIG_NF_CT_NETLINK (try: modprobe nf_conntrack_netlink)")};
    return socket;
}

FlowEvents::FlowEvents(asio::io_context& io, FileDescriptor socket, FlowObserver& observer)
    : state_(std::make_shared<State>(io, std::move(socket), observer)) {
    asio::co_spawn(io, run(state_), asio::detached);
}

FlowEvents::~FlowEvents() {
    asio::error_code ignored;
    state_->observer = nullptr;
    state_->socket.close(ignored);
}

asio::awaitable<void> FlowEvents::run(std::shared_ptr<State> state) {
    std::vector<std::uint8_t> buffer(65536);
    while (state->observer != nullptr) {
        asio::error_code error;
        co_await state->socket.async_wait(asio::posix::stream_descriptor::wait_read,
                                          asio::redirect_error(asio::use_awaitable, error));
        if (error) co_return;
        while (state->observer != nullptr) {
            const ssize_t size = ::recv(state->socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (size < 0 && errno == EINTR) continue;
            if (size < 0 && errno == ENOBUFS) {
                state->observer->flows_lost();
                continue;
            }
            if (size <= 0) break;
            for (const auto& flow : parse_new_flows(Bytes(buffer).first(static_cast<std::size_t>(size))))
                if (state->observer != nullptr) state->observer->began(flow);
        }
    }
}

}  // namespace vmrouter::firewall
