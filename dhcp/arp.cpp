#include "dhcp/arp.hpp"

#include <algorithm>

#include "src/base/checksum.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint16_t ethertype_arp = 0x0806;
constexpr std::uint16_t arp_ethernet = 1;
constexpr std::uint16_t arp_request = 1;
constexpr std::uint16_t arp_reply = 2;
constexpr std::uint8_t icmp = 1;
constexpr std::uint8_t icmp_echo_reply = 0;
constexpr std::uint8_t icmp_echo_request = 8;
constexpr std::size_t ethernet_size = 14;
constexpr std::size_t ip_size = 20;
constexpr std::size_t arp_size = 28;
constexpr std::size_t echo_size = 16;  // header and cookie
constexpr std::size_t minimum_frame = 60;

MacAddress read_mac(Reader& reader) {
    MacAddress mac;
    const Bytes bytes = reader.bytes(mac.bytes.size());
    std::copy(bytes.begin(), bytes.end(), mac.bytes.begin());
    return mac;
}

}  // namespace

std::optional<ArpPacket> parse_arp(Bytes frame) {
    Reader reader(frame);
    reader.skip(12);
    if (reader.u16() != ethertype_arp || reader.u16() != arp_ethernet || reader.u16() != ethertype_ipv4)
        return std::nullopt;
    if (reader.u8() != 6 || reader.u8() != 4) return std::nullopt;
    const std::uint16_t operation = reader.u16();
    ArpPacket packet;
    packet.request = operation == arp_request;
    packet.sender_mac = read_mac(reader);
    packet.sender = Ipv4{reader.u32()};
    reader.skip(6);
    packet.target = Ipv4{reader.u32()};
    if (!reader.ok() || (operation != arp_request && operation != arp_reply)) return std::nullopt;
    return packet;
}

std::vector<std::uint8_t> arp_probe(const MacAddress& ours, Ipv4 target) {
    std::vector<std::uint8_t> frame(minimum_frame);
    Writer writer(frame);
    writer.bytes(MacAddress::broadcast().bytes);
    writer.bytes(ours.bytes);
    writer.u16(ethertype_arp);
    writer.u16(arp_ethernet);
    writer.u16(ethertype_ipv4);
    writer.u8(6);
    writer.u8(4);
    writer.u16(arp_request);
    writer.bytes(ours.bytes);
    writer.u32(0);
    writer.zeros(6);
    writer.u32(target.value);
    static_assert(ethernet_size + arp_size <= minimum_frame);
    return frame;
}

std::vector<std::uint8_t> echo_request(const EchoRequest& request) {
    std::vector<std::uint8_t> frame(minimum_frame);
    Writer writer(frame);
    writer.bytes(request.ethernet_destination.bytes);
    writer.bytes(request.ethernet_source.bytes);
    writer.u16(ethertype_ipv4);

    writer.u16(0x4500);
    writer.u16(static_cast<std::uint16_t>(ip_size + echo_size));
    writer.u32(0);
    writer.u8(64);  // ttl
    writer.u8(icmp);
    writer.u16(0);
    writer.u32(request.source.value);
    writer.u32(request.target.value);
    writer.patch_u16(ethernet_size + 10, internet_checksum(writer.written().subspan(ethernet_size)));

    const std::size_t start = writer.position();
    writer.u8(icmp_echo_request);
    writer.u8(0);
    writer.u16(0);
    writer.u16(request.identifier);
    writer.u16(0);  // sequence
    writer.u32(static_cast<std::uint32_t>(request.cookie >> 32));
    writer.u32(static_cast<std::uint32_t>(request.cookie));
    writer.patch_u16(start + 2, internet_checksum(writer.written().subspan(start)));
    return frame;
}

std::optional<EchoReply> parse_echo_reply(Bytes frame) {
    Reader reader(frame);
    reader.skip(12);
    if (reader.u16() != ethertype_ipv4) return std::nullopt;
    const std::uint8_t version_and_length = reader.u8();
    const std::size_t header_size = std::size_t{4} * (version_and_length & 0xf);
    reader.skip(1);
    const std::size_t total = reader.u16();
    reader.skip(5);
    if (reader.u8() != icmp || version_and_length >> 4 != 4 || header_size < ip_size) return std::nullopt;
    reader.skip(2);
    EchoReply reply;
    reply.source = Ipv4{reader.u32()};
    reader.seek(ethernet_size + header_size);
    const Bytes message = reader.rest().first(std::min(reader.remaining(), total - std::min(total, header_size)));
    if (message.size() != echo_size || internet_checksum(message) != 0) return std::nullopt;
    if (reader.u16() != icmp_echo_reply << 8) return std::nullopt;
    reader.skip(2);
    reply.identifier = reader.u16();
    reader.skip(2);
    reply.cookie = std::uint64_t{reader.u32()} << 32;
    reply.cookie |= reader.u32();
    if (!reader.ok()) return std::nullopt;
    return reply;
}

}  // namespace vmrouter::dhcp
