#include "firewall/blocked.hpp"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <sys/socket.h>

#include <cerrno>

#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

namespace {

// The kernel delivers when this many wait, or after a tenth of a second.
constexpr std::uint32_t batch_size = 32;
constexpr std::uint32_t batch_time = 10;  // hundredths of a second
constexpr std::uint32_t headers = 64;     // bytes of each packet: enough for IPv4, ARP and ports

/// Binds the socket to the group, in one message as libnetfilter_log would in five.
Result<int> bind_group(int socket, std::uint16_t group) {
    const NetfilterMessage request(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, NLM_F_REQUEST | NLM_F_ACK, AF_UNSPEC, group);
    const nfulnl_msg_config_cmd command{NFULNL_CFG_CMD_BIND};
    nla_put(request.get(), NFULA_CFG_CMD, sizeof command, &command);
    nfulnl_msg_config_mode mode{};
    mode.copy_mode = NFULNL_COPY_PACKET;
    mode.copy_range = htonl(headers);
    nla_put(request.get(), NFULA_CFG_MODE, sizeof mode, &mode);
    nla_put_u32(request.get(), NFULA_CFG_TIMEOUT, htonl(batch_time));
    nla_put_u32(request.get(), NFULA_CFG_QTHRESH, htonl(batch_size));
    return netfilter_exchange(socket, request.bytes());
}

}  // namespace

Result<FileDescriptor> open_blocked_log(std::uint16_t group) {
    auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    const auto answer = bind_group(socket->get(), group);
    if (!answer) return Failure{answer.error()};
    const std::string where = "nflog group " + std::to_string(group);
    if (*answer == EBUSY)
        return Failure{system_error("another program reads our log of blocked packets", *answer, where,
                                    "blocked attempts stay counted by reason, but not by guest")};
    if (*answer != 0)
        return Failure{system_error("the kernel logs no packets", *answer, where,
                                    "it needs CONFIG_NETFILTER_NETLINK_LOG (try: modprobe nfnetlink_log)")};
    return socket;
}

BlockedLog::BlockedLog(asio::io_context& io, FileDescriptor socket, AttemptObserver& observer)
    : listener_(io, std::move(socket)), observer_(observer) {}

asio::awaitable<void> BlockedLog::run() {
    return listener_.run(
        [this](Bytes datagram) {
            for (const auto& attempt : parse_attempts(datagram)) observer_.blocked(attempt);
        },
        [this] { observer_.overrun(); });
}

void BlockedLog::close() {
    listener_.close();
}

}  // namespace vmrouter::firewall
