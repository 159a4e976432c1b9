#include "dhcp/packet_socket.hpp"

#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vmrouter::dhcp {
namespace {

// Offsets into an Ethernet frame with an IPv4 header; X holds the length of that header in the last three.
constexpr std::uint32_t at_ethertype = 12;
constexpr std::uint32_t at_ip = 14;
constexpr std::uint32_t at_fragment = 20;
constexpr std::uint32_t at_protocol = 23;
constexpr std::uint32_t at_source_port = 14;
constexpr std::uint32_t at_destination_port = 16;
constexpr std::uint32_t at_icmp_type = 14;
constexpr std::uint32_t at_icmp_identifier = 18;

constexpr std::uint16_t load_byte = BPF_LD | BPF_B | BPF_ABS;
constexpr std::uint16_t load_half = BPF_LD | BPF_H | BPF_ABS;
constexpr std::uint16_t load_byte_indexed = BPF_LD | BPF_B | BPF_IND;
constexpr std::uint16_t load_half_indexed = BPF_LD | BPF_H | BPF_IND;
constexpr std::uint16_t load_header_length = BPF_LDX | BPF_B | BPF_MSH;
constexpr std::uint16_t jump_equal = BPF_JMP | BPF_JEQ | BPF_K;
constexpr std::uint16_t jump_any_bit = BPF_JMP | BPF_JSET | BPF_K;
constexpr std::uint16_t verdict = BPF_RET | BPF_K;
constexpr std::uint32_t everything = 0x40000;

// The two numbers are how many instructions to skip when the test holds and when it does not.
constexpr std::array<sock_filter, 19> dhcp_filter{{
    /*  0 */ {load_half, 0, 0, at_ethertype},
    /*  1 */ {jump_equal, 0, 16, ETH_P_IP},
    /*  2 */ {load_half, 0, 0, at_fragment},
    /*  3 */ {jump_any_bit, 14, 0, 0x1fff},  // a later fragment has no ports
    /*  4 */ {load_header_length, 0, 0, at_ip},
    /*  5 */ {load_byte, 0, 0, at_protocol},
    /*  6 */ {jump_equal, 0, 5, IPPROTO_UDP},
    /*  7 */ {load_half_indexed, 0, 0, at_destination_port},
    /*  8 */ {jump_equal, 8, 0, 67},
    /*  9 */ {jump_equal, 0, 8, 68},
    /* 10 */ {load_half_indexed, 0, 0, at_source_port},
    /* 11 */ {jump_equal, 5, 6, 67},
    /* 12 */ {jump_equal, 0, 5, IPPROTO_ICMP},
    /* 13 */ {load_byte_indexed, 0, 0, at_icmp_type},
    /* 14 */ {jump_equal, 0, 3, 0},  // echo reply
    /* 15 */ {load_half_indexed, 0, 0, at_icmp_identifier},
    /* 16 */ {jump_equal, 0, 1, echo_identifier},
    /* 17 */ {verdict, 0, 0, everything},
    /* 18 */ {verdict, 0, 0, 0},
}};
constexpr std::array<sock_filter, 1> accept_filter{{{verdict, 0, 0, everything}}};
constexpr std::array<sock_filter, 1> drop_filter{{{verdict, 0, 0, 0}}};

int attach(int fd, std::span<const sock_filter> filter) {
    // The kernel only reads the program, whatever the type of the pointer says.
    std::array<sock_filter, dhcp_filter.size()> copy{};
    std::copy(filter.begin(), filter.end(), copy.begin());
    const sock_fprog program{static_cast<unsigned short>(filter.size()), copy.data()};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 ? 0 : errno;
}

std::string interface_name(unsigned ifindex) {
    char name[IF_NAMESIZE]{};
    if (if_indextoname(ifindex, name) != nullptr) return name;
    return "interface " + std::to_string(ifindex);
}

Failure<Error> failure(std::string what, unsigned ifindex) {
    const int failed = errno;
    return Failure{system_error(std::move(what), failed, interface_name(ifindex),
                                failed == EPERM ? "run as root, or with CAP_NET_RAW" : "")};
}

/// A packet socket is created for no protocol, given its filter and only then bound: between creation and filter it
/// would otherwise queue frames of any interface.
Result<FileDescriptor> open_filtered(unsigned ifindex, std::uint16_t protocol, std::span<const sock_filter> filter) {
    FileDescriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return failure("cannot open a packet socket", ifindex);
    if (const int failed = attach(fd.get(), filter); failed != 0) {
        errno = failed;
        return failure("cannot attach the filter to a packet socket", ifindex);
    }
    const int on = 1;
    if (setsockopt(fd.get(), SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) != 0)
        return failure("cannot ask for checksum and VLAN status on a packet socket", ifindex);
    // Kernels before 4.20 do not know it; there, receive() leaves our own frames out.
    setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
    // Room for a thousand guests that start at once. Refused without CAP_NET_ADMIN, where the default must do.
    const int room = 1 << 20;
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);

    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_protocol = htons(protocol);
    address.sll_ifindex = static_cast<int>(ifindex);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return failure("cannot bind a packet socket", ifindex);
    return fd;
}

}  // namespace

Result<FileDescriptor> open_packet_socket(unsigned ifindex) {
    return open_filtered(ifindex, ETH_P_IP, dhcp_filter);
}

// ETH_P_IP on a bridge's port sees nothing: the bridge takes the frame before protocols are looked at.
Result<FileDescriptor> open_port_socket(unsigned ifindex) {
    return open_filtered(ifindex, ETH_P_ALL, dhcp_filter);
}

Result<FileDescriptor> open_probe_socket(unsigned ifindex) {
    return open_filtered(ifindex, ETH_P_ARP, accept_filter);
}

void set_deaf(int arp, bool deaf) {
    if (deaf)
        attach(arp, drop_filter);
    else
        attach(arp, accept_filter);
}

Result<FileDescriptor> open_udp_discard_socket(const std::string& interface) {
    FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return Failure{system_error("cannot open a UDP socket", errno, interface)};
    if (const int failed = attach(fd.get(), drop_filter); failed != 0)
        return Failure{system_error("cannot attach a filter to a UDP socket", failed, interface)};
    if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, interface.c_str(),
                   static_cast<socklen_t>(interface.size())) != 0)
        return Failure{system_error("cannot bind a UDP socket to the interface", errno, interface)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(67);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return fd;
    const int failed = errno;
    return Failure{system_error("cannot listen on UDP port 67", failed, interface,
                                failed == EADDRINUSE ? "stop the DHCP server that serves this interface, or let it "
                                                       "listen on its own interfaces only"
                                                     : "")};
}

Result<Sockets> open_sockets(const std::string& interface) {
    Sockets sockets;
    sockets.interface = interface;
    sockets.ifindex = if_nametoindex(interface.c_str());
    if (sockets.ifindex == 0) return Failure{system_error("there is no such interface", errno, interface)};

    auto udp = open_udp_discard_socket(interface);
    if (!udp) return Failure{std::move(udp.error())};
    sockets.udp = std::move(*udp);
    auto packet = open_packet_socket(sockets.ifindex);
    if (!packet) return Failure{std::move(packet.error())};
    sockets.packet = std::move(*packet);
    auto arp = open_probe_socket(sockets.ifindex);
    if (!arp) return Failure{std::move(arp.error())};
    sockets.arp = std::move(*arp);

    sockaddr_ll bound{};
    socklen_t size = sizeof bound;
    if (getsockname(sockets.packet.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0)
        return failure("cannot read the hardware address", sockets.ifindex);
    if (bound.sll_halen != sockets.mac.bytes.size())
        return Failure{Error{"the interface has no Ethernet address", interface, "DHCP needs an Ethernet interface"}};
    std::copy_n(bound.sll_addr, sockets.mac.bytes.size(), sockets.mac.bytes.begin());
    return sockets;
}

struct FrameBatch::Slot {
    std::array<std::uint8_t, 2048> frame;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(tpacket_auxdata))> control;
    sockaddr_ll from;
    iovec buffer;
};

FrameBatch::FrameBatch(std::size_t slots) : slots_(slots), headers_(slots) {
    frames_.reserve(slots);
}
FrameBatch::~FrameBatch() = default;

namespace {

/// tp_status of PACKET_AUXDATA; 0 when the kernel sent none.
std::uint32_t packet_status(msghdr& message) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA) continue;
        tpacket_auxdata auxiliary{};
        std::memcpy(&auxiliary, CMSG_DATA(part), sizeof auxiliary);
        return auxiliary.tp_status;
    }
    return 0;
}

}  // namespace

int FrameBatch::receive(int fd, For whom) {
    frames_.clear();
    full_ = false;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        Slot& slot = slots_[i];
        slot.buffer = {slot.frame.data(), slot.frame.size()};
        msghdr& header = headers_[i].msg_hdr;
        header = {};
        header.msg_name = &slot.from;
        header.msg_namelen = sizeof slot.from;
        header.msg_iov = &slot.buffer;
        header.msg_iovlen = 1;
        header.msg_control = slot.control.data();
        header.msg_controllen = slot.control.size();
    }
    const int count = recvmmsg(fd, headers_.data(), static_cast<unsigned>(headers_.size()), MSG_DONTWAIT, nullptr);
    if (count < 0) return errno;
    full_ = static_cast<std::size_t>(count) == slots_.size();

    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
        const Slot& slot = slots_[i];
        if ((headers_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
        // A frame with a VLAN tag reaches an untagged socket too, with tag 0 in the status; only its type (other host)
        // gives it away when the tag's device is not ours.
        // On a port the status still has the tag.
        const auto type = slot.from.sll_pkttype;
        const bool for_others = type == PACKET_OTHERHOST && whom == For::Anybody;
        if (type != PACKET_HOST && type != PACKET_BROADCAST && !for_others) continue;
        const std::uint32_t status = packet_status(headers_[i].msg_hdr);
        if ((status & TP_STATUS_VLAN_VALID) != 0) continue;
        frames_.push_back({Bytes(slot.frame.data(), headers_[i].msg_len), (status & TP_STATUS_CSUMNOTREADY) == 0, 0});
    }
    return 0;
}

int send_frame(int fd, Bytes frame) {
    return send(fd, frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

std::size_t send_frames(int fd, std::span<const Bytes> frames, int& failed) {
    failed = 0;
    std::vector<iovec> buffers(frames.size());
    std::vector<mmsghdr> headers(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
        buffers[i] = {const_cast<std::uint8_t*>(frames[i].data()), frames[i].size()};  // sendmmsg only reads
        headers[i].msg_hdr.msg_iov = &buffers[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    std::size_t sent = 0;
    while (sent < frames.size()) {
        const int count = sendmmsg(fd, headers.data() + sent, static_cast<unsigned>(frames.size() - sent),
                                   MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) {
            failed = errno;
            return sent;
        }
        sent += static_cast<std::size_t>(count);
    }
    return sent;
}

}  // namespace vmrouter::dhcp
