#pragma once

// The few bytes with which we ask whether somebody has an address: ARP probes (RFC 826, RFC 5227 section 2.1.1) on the
// segment, ICMP echo (RFC 792) through a relay. Whole Ethernet frames, pure.

#include <cstdint>
#include <optional>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

/// An ARP packet for IPv4 over Ethernet.
struct ArpPacket {
    bool request = false;  ///< otherwise a reply
    MacAddress sender_mac;
    Ipv4 sender;
    Ipv4 target;

    friend bool operator==(const ArpPacket&, const ArpPacket&) = default;
};

/// nullopt for anything but an ARP request or reply of that kind.
std::optional<ArpPacket> parse_arp(Bytes frame);

/// "Who has `target`?" to all, from nobody (sender address 0, so that no cache learns anything from it).
std::vector<std::uint8_t> arp_probe(const MacAddress& ours, Ipv4 target);

/// An ICMP echo request. `cookie` comes back in the answer: whoever did not see the request cannot forge one.
struct EchoRequest {
    MacAddress ethernet_source;
    MacAddress ethernet_destination;  ///< of the relay: it is the way to `target`
    Ipv4 source;
    Ipv4 target;
    std::uint16_t identifier = 0;
    std::uint64_t cookie = 0;
};
std::vector<std::uint8_t> echo_request(const EchoRequest& request);

struct EchoReply {
    Ipv4 source;
    std::uint16_t identifier = 0;
    std::uint64_t cookie = 0;
};
/// nullopt for anything but a well-formed answer to one of our requests.
std::optional<EchoReply> parse_echo_reply(Bytes frame);

}  // namespace vmrouter::dhcp
