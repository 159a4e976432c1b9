#pragma once

// Sockets that see and send whole Ethernet frames (packet(7)), because a DHCP server talks to clients that have no
// address yet, and because a firewall of the host can neither drop nor spoil what goes this way. Opening one takes
// CAP_NET_RAW; using one does not.

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

/// The identifier of our ICMP echo requests; the filter of open_packet_socket() lets only answers to it pass.
inline constexpr std::uint16_t echo_identifier = 0x766d;

/// Everything the server needs on its segment, opened by whoever has the privilege.
struct Sockets {
    unsigned ifindex = 0;
    std::string interface;
    MacAddress mac;         ///< of the interface: the source of our frames
    FileDescriptor packet;  ///< open_packet_socket()
    FileDescriptor arp;     ///< open_probe_socket()
    FileDescriptor udp;     ///< open_udp_discard_socket()
};

/// Receives DHCP requests (UDP to port 67), answers of other DHCP servers (UDP from port 67 to port 68) and ICMP echo
/// replies to us; sends any frame. Nothing else is ever queued: the filter is in place before the socket is bound.
Result<FileDescriptor> open_packet_socket(unsigned ifindex);

/// Receives and sends ARP.
Result<FileDescriptor> open_probe_socket(unsigned ifindex);

/// Keeps UDP port 67 of the device ours, so that the kernel answers no unicast renewal with "port unreachable". A
/// filter drops everything before it is queued: the socket need never be read. EADDRINUSE means that another DHCP
/// server holds the port; the caller, who can look, adds its name.
Result<FileDescriptor> open_udp_discard_socket(const std::string& interface);

/// Sees the same frames as open_packet_socket() on one port of a bridge, where the socket on the bridge itself cannot
/// tell ports apart. Never used for sending.
Result<FileDescriptor> open_port_socket(unsigned ifindex);

/// All of a segment's sockets at once.
Result<Sockets> open_sockets(const std::string& interface);

/// With `deaf`, the socket receives nothing until it is called again without: a server that waits for no ARP answer is
/// not woken by the segment's ARP. Needs no privilege; a refusal only costs wake-ups.
void set_deaf(int arp, bool deaf);

/// A frame as it arrived.
struct ReceivedFrame {
    Bytes bytes;                ///< from the Ethernet header on; lives until the next receive()
    bool checksum_done = true;  ///< false: a local sender left the UDP checksum to a device that was never asked
    unsigned port = 0;          ///< ifindex of the bridge port it came from; 0: not known
};

/// A buffer that takes many frames in one system call.
class FrameBatch {
public:
    explicit FrameBatch(std::size_t slots);
    ~FrameBatch();
    FrameBatch(const FrameBatch&) = delete;
    FrameBatch& operator=(const FrameBatch&) = delete;

    enum class For { Us, Anybody };

    /// Reads what waits, at most as many frames as there are slots, without blocking. 0, or the errno (EAGAIN: nothing
    /// was there). Frames with a VLAN tag, outgoing, longer than a slot, or for other hosts are left out (For::Anybody:
    /// those for others are wanted, as on a bridge's port, whose own hardware address nobody speaks to). So frames()
    /// may be empty after success; full() then still says whether more may wait.
    int receive(int fd, For whom = For::Us);
    [[nodiscard]] std::span<ReceivedFrame> frames() { return frames_; }
    [[nodiscard]] bool full() const { return full_; }

private:
    struct Slot;

    std::vector<Slot> slots_;
    std::vector<mmsghdr> headers_;
    std::vector<ReceivedFrame> frames_;
    bool full_ = false;
};

/// Sends one frame through a packet socket that is bound to its interface. 0 or the errno.
int send_frame(int fd, Bytes frame);

/// Sends many; the number that were sent. Stops at the first that the kernel refuses, whose errno goes to `failed`.
std::size_t send_frames(int fd, std::span<const Bytes> frames, int& failed);

}  // namespace vmrouter::dhcp
