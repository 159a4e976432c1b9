#pragma once

// The frames of the throw-away guest, byte by byte, and what comes back. Every probe carries a token that address
// translation leaves alone: 24 letters in the payload, or the sequence number of a TCP segment. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::proof {

using Frame = std::vector<std::uint8_t>;

namespace tcp_flag {
inline constexpr std::uint8_t syn = 0x02;
inline constexpr std::uint8_t reset = 0x04;
inline constexpr std::uint8_t ack = 0x10;
}  // namespace tcp_flag

inline constexpr std::uint16_t ethertype_ip4 = 0x0800;
inline constexpr std::uint16_t ethertype_arp = 0x0806;
inline constexpr std::uint16_t ethertype_ip6 = 0x86dd;

/// Who sends to whom.
struct Path {
    MacAddress from;
    MacAddress to;
    Ipv4 source;
    Ipv4 destination;
};

/// "vmrouter-verify-0badcafe".
std::string token_text(std::uint32_t token);
/// The token in a packet (network header first, or any bytes): its text anywhere, or a TCP sequence number (but of a
/// reset, which carries the number after it).
struct Found {
    std::optional<std::uint32_t> text;
    std::optional<std::uint32_t> sequence;
    Ipv4 source;  ///< of an IPv4 packet
    Ipv4 destination;
};
Found find_token(Bytes packet, std::uint16_t ethertype);

Frame udp_frame(const Path& path, std::uint16_t source_port, std::uint16_t port, Bytes payload, Bytes options = {});
Frame tcp_frame(const Path& path, std::uint16_t source_port, std::uint16_t port, std::uint32_t sequence,
                std::uint32_t acknowledged, std::uint8_t flags);
/// `type` 8: echo request, 13: timestamp request.
Frame icmp_frame(const Path& path, std::uint8_t type, std::uint16_t identifier, std::uint16_t number, Bytes payload);

struct Arp {
    std::uint16_t operation = 1;  ///< 1: request, 2: reply
    MacAddress sender_mac;
    Ipv4 sender;
    MacAddress target_mac;
    Ipv4 target;
};
/// Padded to the least size of a frame; the padding carries the token.
Frame arp_frame(const MacAddress& from, const MacAddress& to, const Arp& arp, std::uint32_t token);
std::optional<Arp> parse_arp(Bytes packet);

struct Path6 {
    MacAddress from;
    MacAddress to;
    Ipv6 source;
    Ipv6 destination;
};
Frame udp6_frame(const Path6& path, std::uint16_t source_port, std::uint16_t port, Bytes payload);
/// ICMPv6: `body` is what follows the four bytes of type, code and checksum.
Frame icmp6_frame(const Path6& path, std::uint8_t type, Bytes body);
/// fe80::/64 of a MAC.
Ipv6 link_local(const MacAddress& mac);
MacAddress multicast_mac(Ipv4 group);
MacAddress multicast_mac(const Ipv6& group);

/// An Ethernet frame of any type around a payload.
Frame plain_frame(const MacAddress& from, const MacAddress& to, std::uint16_t ethertype, Bytes payload);
/// The same frame behind VLAN tags.
Frame tagged(const Frame& frame, const std::vector<std::uint16_t>& ethertypes);

/// A query for the A record of `name`; empty when the name is none.
std::vector<std::uint8_t> dns_query(std::uint16_t id, std::string_view name);
struct DnsAnswer {
    std::uint16_t id = 0;
    std::uint8_t rcode = 0;
    std::vector<Ipv4> addresses;
};
std::optional<DnsAnswer> parse_dns(Bytes payload);

/// What a packet that came to the guest is an answer to, by the port that its probe was sent from.
struct Reply {
    enum class Kind { Data, SynAck, Reset, Error, Echo };
    Kind kind = Kind::Data;
    std::uint16_t port = 0;     ///< the probe's; of an echo reply its identifier
    std::uint16_t service = 0;  ///< of TCP: the port that answers
    Ipv4 from;                  ///< who says so
    Bytes payload;              ///< of UDP
};
/// For IPv4 packets to `guest`; nullopt for everything that answers nothing.
std::optional<Reply> parse_reply(Bytes packet, Ipv4 guest);

}  // namespace vmrouter::proof
