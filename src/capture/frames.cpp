#include "src/capture/frames.hpp"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <span>

namespace vmrouter::recording {
namespace {

constexpr std::size_t batch = 32;
constexpr std::size_t tag_size = 4;
constexpr std::size_t addresses = 12;  // a tag stands behind the two MAC addresses
constexpr int receive_buffer = 32 << 20;

struct Control {
    alignas(cmsghdr) char bytes[128];
};

/// What the kernel tells beside the bytes.
struct Told {
    pcapng::Timestamp time = 0;
    bool tagged = false;
    std::uint16_t tag = 0;
    std::uint16_t tag_protocol = ETH_P_8021Q;
};

Told read_told(msghdr& message) {
    Told told;
    for (cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr; control = CMSG_NXTHDR(&message, control)) {
        if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_TIMESTAMPNS) {
            timespec stamp{};
            std::memcpy(&stamp, CMSG_DATA(control), sizeof stamp);
            told.time =
                static_cast<std::uint64_t>(stamp.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(stamp.tv_nsec);
        } else if (control->cmsg_level == SOL_PACKET && control->cmsg_type == PACKET_AUXDATA) {
            tpacket_auxdata data{};
            std::memcpy(&data, CMSG_DATA(control), sizeof data);
            told.tagged = (data.tp_status & TP_STATUS_VLAN_VALID) != 0;
            told.tag = data.tp_vlan_tci;
            if ((data.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0) told.tag_protocol = data.tp_vlan_tpid;
        }
    }
    return told;
}

/// The tag back to where it was on the wire: there is room for it before the frame.
Bytes with_tag(std::span<std::uint8_t> room, std::size_t size, const Told& told) {
    if (!told.tagged || size < addresses) return room.subspan(tag_size, size);
    std::memmove(room.data(), room.data() + tag_size, addresses);
    Writer writer(room.subspan(addresses, tag_size));
    writer.u16(told.tag_protocol);
    writer.u16(told.tag);
    return room.first(size + tag_size);
}

}  // namespace

Result<FrameSocket> FrameSocket::open(int interface_index, const std::string& name, const Filter& filter) {
    // Bound to no protocol until it is complete, so that nothing gets in that the filter would leave out.
    FileDescriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket)
        return Failure{
            system_error("cannot capture packets", errno, name, errno == EPERM ? "it takes root: use sudo" : "")};
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer, sizeof receive_buffer);
    setsockopt(socket.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(socket.get(), SOL_PACKET, PACKET_AUXDATA, &on, sizeof on);
    if (auto code = filter.kernel_program(); !code.empty()) {
        const sock_fprog program{static_cast<std::uint16_t>(code.size()), code.data()};
        if (setsockopt(socket.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
            return Failure{system_error("the kernel refuses the filter", errno, name)};
    }
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(ETH_P_ALL);
    where.sll_ifindex = interface_index;
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0)
        return Failure{system_error("cannot capture packets", errno, name)};
    return FrameSocket(std::move(socket));
}

bool FrameSocket::read(std::vector<std::uint8_t>& buffer, const std::function<void(const Frame&)>& each) {
    constexpr std::size_t room = pcapng::snap_length + tag_size;
    buffer.resize(batch * room);
    std::array<mmsghdr, batch> messages{};
    std::array<iovec, batch> parts{};
    std::array<sockaddr_ll, batch> sources{};
    std::array<Control, batch> controls{};
    for (std::size_t i = 0; i < batch; ++i) {
        parts[i] = {buffer.data() + i * room + tag_size, pcapng::snap_length};
        auto& header = messages[i].msg_hdr;
        header.msg_iov = &parts[i];
        header.msg_iovlen = 1;
        header.msg_name = &sources[i];
        header.msg_namelen = sizeof sources[i];
        header.msg_control = controls[i].bytes;
        header.msg_controllen = sizeof controls[i].bytes;
    }
    const int got = recvmmsg(socket_.get(), messages.data(), batch, MSG_DONTWAIT | MSG_TRUNC, nullptr);
    if (got < 0) return errno == EAGAIN || errno == EINTR || errno == ENETDOWN;  // down may come up again
    for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
        const auto length = std::size_t{messages[i].msg_len};
        const auto told = read_told(messages[i].msg_hdr);
        Frame frame;
        frame.data = with_tag(std::span(buffer).subspan(i * room, room),
                              std::min<std::size_t>(length, pcapng::snap_length), told);
        frame.original_length = static_cast<std::uint32_t>(length + (told.tagged ? tag_size : 0));
        frame.time = told.time;
        frame.outbound = sources[i].sll_pkttype == PACKET_OUTGOING;
        each(frame);
    }
    return true;
}

Counts FrameSocket::counts() {
    tpacket_stats stats{};
    socklen_t size = sizeof stats;
    // Reading sets the kernel's counters to 0; what was dropped is among tp_packets.
    if (getsockopt(socket_.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) {
        counts_.received += stats.tp_packets;
        counts_.dropped += stats.tp_drops;
    }
    return counts_;
}

}  // namespace vmrouter::recording
