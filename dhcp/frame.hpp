#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

inline constexpr std::uint16_t server_port = 67;
inline constexpr std::uint16_t client_port = 68;

/// A UDP datagram as it lies in a received packet; `payload` points into the buffer that was parsed.
struct Datagram {
    MacAddress ethernet_source;
    MacAddress ethernet_destination;
    Ipv4 source;
    Ipv4 destination;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    Bytes payload;
};

enum class FrameError : std::uint8_t {
    TooShort,
    NotIpv4,  ///< EtherType, or a VLAN tag
    BadVersion,
    BadHeaderLength,
    IpOptions,       ///< source routes and the like: refused
    BadTotalLength,  ///< more than was received, or less than the headers
    BadIpChecksum,
    Fragment,
    NotUdp,
    BadUdpLength,
    BadUdpChecksum,
};
std::string_view to_string(FrameError error);

/// Whether the kernel says that the sender left the checksum to hardware (TP_STATUS_CSUMNOTREADY): then it is not
/// compared.
enum class ChecksumState : std::uint8_t { Verify, NotReady };

/// An Ethernet frame (SOCK_RAW). Padding after the IP packet is ignored.
Result<Datagram, FrameError> parse_frame(Bytes frame, ChecksumState checksum);
/// An IPv4 packet without its Ethernet header (SOCK_DGRAM); the Ethernet addresses stay zero.
Result<Datagram, FrameError> parse_packet(Bytes packet, ChecksumState checksum);

/// An IPv4 packet with UDP in it, both checksums right; a UDP sum of 0 is sent as 0xffff (RFC 768). TTL 64, DSCP CS6,
/// no fragmentation flag, identification 0. `payload` at most 65507 bytes.
std::vector<std::uint8_t> build_packet(Ipv4 source, std::uint16_t source_port, Ipv4 destination,
                                       std::uint16_t destination_port, Bytes payload);
/// The same behind an Ethernet header.
std::vector<std::uint8_t> build_frame(const MacAddress& ethernet_source, const MacAddress& ethernet_destination,
                                      Ipv4 source, std::uint16_t source_port, Ipv4 destination,
                                      std::uint16_t destination_port, Bytes payload);

}  // namespace vmrouter::dhcp
