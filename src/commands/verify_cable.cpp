#include "src/commands/verify_cable.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/veth.hpp"

namespace vmrouter::proof {
namespace {

constexpr std::size_t largest = 65536;
constexpr const char* far_end = "eth0";

/// A packet socket; `index` 0: on every interface.
Result<FileDescriptor> packet_socket(int type, int index, const std::string& where) {
    FileDescriptor socket(::socket(AF_PACKET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Failure{system_error("cannot open a packet socket", errno, where, "run it with sudo")};
    const int room = 32 << 20;
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    sockaddr_ll name{};
    name.sll_family = AF_PACKET;
    name.sll_protocol = htons(ETH_P_ALL);
    name.sll_ifindex = index;
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
        return Failure{system_error("cannot listen on the interface", errno, where)};
    return socket;
}

/// Reads what waits.
void drain(int fd, const std::function<void(const Arrived&)>& take) {
    static std::array<std::uint8_t, largest> buffer;
    for (;;) {
        sockaddr_ll from{};
        socklen_t length = sizeof from;
        const auto size = recvfrom(fd, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
        if (size < 0) return;
        take({from.sll_ifindex, from.sll_pkttype == PACKET_OUTGOING, ntohs(from.sll_protocol),
              Bytes(buffer).first(static_cast<std::size_t>(size))});
    }
}

/// As drain(), of a raw socket: IPv4 comes with its header, IPv6 without.
void drain_raw(int fd, std::uint16_t ethertype, const std::function<void(const Arrived&)>& take) {
    static std::array<std::uint8_t, largest> buffer;
    for (;;) {
        const auto size = recv(fd, buffer.data(), buffer.size(), 0);
        if (size < 0) return;
        take({0, false, ethertype, Bytes(buffer).first(static_cast<std::size_t>(size))});
    }
}

}  // namespace

Result<Cable> Cable::make(link::Netlink& netlink, const std::string& name, std::optional<MacAddress> near,
                          const MacAddress& mac) {
    Cable cable;
    auto space = link::make_namespace();
    if (!space) return Failure{std::move(space).error()};
    cable.space_ = std::move(*space);
    if (auto made = link::create_veth(netlink, name, near, far_end, mac, cable.space_); !made)
        return Failure{std::move(made).error()};
    cable.netlink_ = &netlink;
    cable.name_ = name;
    cable.index_ = netlink.index_of(name);
    auto opened = link::in_namespace(cable.space_, [&]() -> Result<void> {
        auto there = link::Netlink::open();
        if (!there) return Failure{std::move(there).error()};
        if (auto up = link::set_up(*there, far_end); !up) return up;
        auto socket = packet_socket(SOCK_RAW, there->index_of(far_end), far_end);
        if (!socket) return Failure{std::move(socket).error()};
        cable.socket_ = std::move(*socket);
        return {};
    });
    if (!opened) return Failure{std::move(opened).error()};
    return cable;
}

Result<Cable> Cable::to_bridge(link::Netlink& netlink, const std::string& bridge, const std::string& name,
                               const MacAddress& mac) {
    auto cable = make(netlink, name, std::nullopt, mac);
    if (!cable) return cable;
    if (auto port = link::enslave(netlink, name, bridge); !port) return Failure{std::move(port).error()};
    if (auto up = link::set_up(netlink, name); !up) return Failure{std::move(up).error()};
    return cable;
}

Result<Cable> Cable::onto(link::Netlink& netlink, const std::string& interface, const std::string& name,
                          const MacAddress& mac) {
    auto links = link::read_links(netlink);
    if (!links) return Failure{std::move(links).error()};
    const auto target =
        std::find_if(links->begin(), links->end(), [&](const auto& one) { return one.name == interface; });
    if (target == links->end()) return Failure{Error{"there is no such interface", interface, {}}};
    auto cable = make(netlink, name, target->mac, mac);
    if (!cable) return cable;
    auto ears = packet_socket(SOCK_RAW, netlink.index_of(interface), interface);
    if (!ears) return Failure{std::move(ears).error()};
    cable->ears_ = std::move(*ears);
    if (auto redirected = link::redirect_arrivals(netlink, name, interface); !redirected)
        return Failure{std::move(redirected).error()};
    if (auto up = link::set_up(netlink, name); !up) return Failure{std::move(up).error()};
    return cable;
}

Cable::~Cable() {
    if (netlink_ != nullptr && !name_.empty()) [[maybe_unused]]
        const auto gone = link::delete_link(*netlink_, name_);
}

void Cable::send(const Frame& frame) const {
    // A full queue or an interface that goes down: the sighting that is missing then says so.
    [[maybe_unused]] const auto sent = ::send(socket_.get(), frame.data(), frame.size(), 0);
}

void Cable::receive(const std::function<void(const Arrived&)>& take) const {
    drain(fd(), [&](const Arrived& frame) {
        if (frame.outgoing == static_cast<bool>(ears_)) take(frame);
    });
}

Result<Watch> Watch::open() {
    Watch watch;
    auto all = packet_socket(SOCK_DGRAM, 0, "every interface");
    if (!all) return Failure{std::move(all).error()};
    watch.all_ = std::move(*all);
    for (const int family : {AF_INET, AF_INET6}) {
        for (const int protocol :
             {int{IPPROTO_UDP}, int{IPPROTO_TCP}, family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6}}) {
            FileDescriptor socket(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
            if (!socket && family == AF_INET6) continue;  // a kernel without IPv6
            if (!socket) return Failure{system_error("cannot open a raw socket", errno, {}, "run it with sudo")};
            const int room = 8 << 20;
            setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
            (family == AF_INET ? watch.delivered4_ : watch.delivered6_).push_back(std::move(socket));
        }
    }
    return watch;
}

void Watch::receive(const std::function<void(const Arrived&)>& crossed,
                    const std::function<void(const Arrived&)>& reached) const {
    drain(all_.get(), crossed);
    for (const auto& socket : delivered4_) drain_raw(socket.get(), ethertype_ip4, reached);
    for (const auto& socket : delivered6_) drain_raw(socket.get(), 0, reached);
}

std::vector<int> Watch::fds() const {
    std::vector<int> all{all_.get()};
    for (const auto* sockets : {&delivered4_, &delivered6_})
        for (const auto& socket : *sockets) all.push_back(socket.get());
    return all;
}

unsigned Watch::lost() const {
    tpacket_stats statistics{};
    socklen_t size = sizeof statistics;
    if (getsockopt(all_.get(), SOL_PACKET, PACKET_STATISTICS, &statistics, &size) != 0) return 0;
    return statistics.tp_drops;
}

}  // namespace vmrouter::proof
