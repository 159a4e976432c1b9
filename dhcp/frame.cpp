#include "dhcp/frame.hpp"

#include <cassert>

#include "src/base/checksum.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t ethernet_size = 14;
constexpr std::size_t ip_size = 20;
constexpr std::size_t udp_size = 8;
constexpr std::uint16_t ethertype_ipv4 = 0x0800;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t class_selector_6 = 0xc0;  // network control, as dnsmasq and ISC dhcpd mark it
constexpr std::uint8_t time_to_live = 64;

MacAddress read_mac(Reader& reader) {
    MacAddress mac;
    const Bytes bytes = reader.bytes(mac.bytes.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) mac.bytes[i] = bytes[i];
    return mac;
}

/// The UDP datagram inside an IP packet whose header has been judged.
Result<Datagram, FrameError> parse_udp(Datagram datagram, Bytes udp, ChecksumState checksum) {
    Reader reader(udp);
    datagram.source_port = reader.u16();
    datagram.destination_port = reader.u16();
    const std::uint16_t length = reader.u16();
    const std::uint16_t sum = reader.u16();
    if (!reader.ok() || length < udp_size || length > udp.size()) return Failure{FrameError::BadUdpLength};
    if (checksum == ChecksumState::Verify && sum != 0) {  // 0: the sender made none (RFC 768)
        const std::uint32_t seed = udp_pseudo_header(datagram.source, datagram.destination, length);
        if (internet_checksum(udp.first(length), seed) != 0) return Failure{FrameError::BadUdpChecksum};
    }
    datagram.payload = reader.bytes(length - udp_size);
    return datagram;
}

void write_packet(Writer& writer, Ipv4 source, std::uint16_t source_port, Ipv4 destination,
                  std::uint16_t destination_port, Bytes payload) {
    assert(payload.size() <= 65535 - ip_size - udp_size);
    const auto udp_length = static_cast<std::uint16_t>(udp_size + payload.size());
    const std::size_t start = writer.position();
    writer.u8(0x45);
    writer.u8(class_selector_6);
    writer.u16(static_cast<std::uint16_t>(ip_size + udp_length));
    writer.u16(0);  // identification: a datagram that is never fragmented needs none (RFC 6864)
    writer.u16(0);
    writer.u8(time_to_live);
    writer.u8(protocol_udp);
    writer.u16(0);
    writer.u32(source.value);
    writer.u32(destination.value);
    writer.patch_u16(start + 10, internet_checksum(writer.written().subspan(start)));

    const std::size_t udp = writer.position();
    writer.u16(source_port);
    writer.u16(destination_port);
    writer.u16(udp_length);
    writer.u16(0);
    writer.bytes(payload);
    const std::uint16_t sum =
        internet_checksum(writer.written().subspan(udp), udp_pseudo_header(source, destination, udp_length));
    writer.patch_u16(udp + 6, sum == 0 ? 0xffff : sum);
    assert(writer.ok());
}

}  // namespace

std::string_view to_string(FrameError error) {
    switch (error) {
        case FrameError::TooShort:
            return "too short";
        case FrameError::NotIpv4:
            return "not IPv4";
        case FrameError::BadVersion:
            return "wrong IP version";
        case FrameError::BadHeaderLength:
            return "bad IP header length";
        case FrameError::IpOptions:
            return "has IP options";
        case FrameError::BadTotalLength:
            return "bad IP length";
        case FrameError::BadIpChecksum:
            return "wrong IP checksum";
        case FrameError::Fragment:
            return "is a fragment";
        case FrameError::NotUdp:
            return "not UDP";
        case FrameError::BadUdpLength:
            return "bad UDP length";
        case FrameError::BadUdpChecksum:
            return "wrong UDP checksum";
    }
    return "";
}

Result<Datagram, FrameError> parse_frame(Bytes frame, ChecksumState checksum) {
    Reader reader(frame);
    const MacAddress destination = read_mac(reader);
    const MacAddress source = read_mac(reader);
    const std::uint16_t ethertype = reader.u16();
    if (!reader.ok()) return Failure{FrameError::TooShort};
    if (ethertype != ethertype_ipv4) return Failure{FrameError::NotIpv4};
    auto datagram = parse_packet(reader.rest(), checksum);
    if (datagram) {
        datagram->ethernet_source = source;
        datagram->ethernet_destination = destination;
    }
    return datagram;
}

Result<Datagram, FrameError> parse_packet(Bytes packet, ChecksumState checksum) {
    Reader reader(packet);
    const std::uint8_t version_and_length = reader.u8();
    reader.skip(1);
    const std::uint16_t total_length = reader.u16();
    reader.skip(2);
    const std::uint16_t fragment = reader.u16();
    reader.skip(1);
    const std::uint8_t protocol = reader.u8();
    reader.skip(2);
    Datagram datagram;
    datagram.source = Ipv4{reader.u32()};
    datagram.destination = Ipv4{reader.u32()};
    if (!reader.ok()) return Failure{FrameError::TooShort};

    if (version_and_length >> 4 != 4) return Failure{FrameError::BadVersion};
    const std::size_t header_size = (version_and_length & 0x0fU) * 4U;
    if (header_size < ip_size) return Failure{FrameError::BadHeaderLength};
    if (header_size > ip_size) return Failure{FrameError::IpOptions};
    if (total_length < ip_size || total_length > packet.size()) return Failure{FrameError::BadTotalLength};
    // The header's sum is never left to hardware on Linux, so it is always compared.
    if (internet_checksum(packet.first(ip_size)) != 0) return Failure{FrameError::BadIpChecksum};
    if ((fragment & 0x3fff) != 0) return Failure{FrameError::Fragment};  // more fragments, or an offset
    if (protocol != protocol_udp) return Failure{FrameError::NotUdp};
    return parse_udp(datagram, packet.subspan(ip_size, total_length - ip_size), checksum);
}

std::vector<std::uint8_t> build_packet(Ipv4 source, std::uint16_t source_port, Ipv4 destination,
                                       std::uint16_t destination_port, Bytes payload) {
    std::vector<std::uint8_t> packet(ip_size + udp_size + payload.size());
    Writer writer(packet);
    write_packet(writer, source, source_port, destination, destination_port, payload);
    return packet;
}

std::vector<std::uint8_t> build_frame(const MacAddress& ethernet_source, const MacAddress& ethernet_destination,
                                      Ipv4 source, std::uint16_t source_port, Ipv4 destination,
                                      std::uint16_t destination_port, Bytes payload) {
    std::vector<std::uint8_t> frame(ethernet_size + ip_size + udp_size + payload.size());
    Writer writer(frame);
    writer.bytes(ethernet_destination.bytes);
    writer.bytes(ethernet_source.bytes);
    writer.u16(ethertype_ipv4);
    write_packet(writer, source, source_port, destination, destination_port, payload);
    return frame;
}

}  // namespace vmrouter::dhcp
