#include "src/commands/verify_frames.hpp"

#include <algorithm>
#include <array>

#include "src/base/checksum.hpp"
#include "src/base/text.hpp"

namespace vmrouter::proof {
namespace {

constexpr std::string_view marker = "vmrouter-verify-";
constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;
constexpr std::uint8_t protocol_icmp6 = 58;
constexpr std::size_t least_frame = 60;
constexpr std::size_t udp_header = 8;

void ethernet(Writer& out, const MacAddress& from, const MacAddress& to, std::uint16_t type) {
    out.bytes(to.bytes);
    out.bytes(from.bytes);
    out.u16(type);
}

/// Frame, IPv4 header and `segment` (its own checksum done).
Frame ip4_frame(const Path& path, std::uint8_t protocol, Bytes segment, Bytes options = {}) {
    const std::size_t header = 20 + options.size();
    Frame frame(14 + header + segment.size());
    Writer out(frame);
    ethernet(out, path.from, path.to, ethertype_ip4);
    out.u8(static_cast<std::uint8_t>(0x40U | (header / 4)));
    out.u8(0);
    out.u16(static_cast<std::uint16_t>(header + segment.size()));
    out.u16(0);
    out.u16(0);
    out.u8(64);
    out.u8(protocol);
    out.u16(0);
    out.u32(path.source.value);
    out.u32(path.destination.value);
    out.bytes(options);
    out.patch_u16(24, internet_checksum(Bytes(frame).subspan(14, header)));
    out.bytes(segment);
    return frame;
}

/// The pseudo-header of RFC 793 and 768 for any protocol.
std::uint32_t pseudo_header(const Path& path, std::uint8_t protocol, std::size_t length) {
    return udp_pseudo_header(path.source, path.destination, static_cast<std::uint16_t>(length)) - protocol_udp +
           protocol;
}

/// UDP header and payload; `pseudo` is the sum of the pseudo-header.
std::vector<std::uint8_t> udp_segment(std::uint16_t source_port, std::uint16_t port, Bytes payload,
                                      std::uint32_t pseudo) {
    std::vector<std::uint8_t> segment(udp_header + payload.size());
    Writer out(segment);
    out.u16(source_port);
    out.u16(port);
    out.u16(static_cast<std::uint16_t>(segment.size()));
    out.u16(0);
    out.bytes(payload);
    out.patch_u16(6, internet_checksum(segment, pseudo));
    return segment;
}

std::uint32_t pseudo_header6(const Path6& path, std::uint8_t protocol, std::size_t length) {
    std::uint32_t sum = protocol + static_cast<std::uint32_t>(length);
    for (const auto* address : {&path.source, &path.destination})
        for (std::size_t i = 0; i < 16; i += 2)
            sum += static_cast<std::uint32_t>((address->bytes.at(i) << 8) | address->bytes.at(i + 1));
    return sum;
}

Frame ip6_frame(const Path6& path, std::uint8_t protocol, Bytes segment) {
    Frame frame(14 + 40 + segment.size());
    Writer out(frame);
    ethernet(out, path.from, path.to, ethertype_ip6);
    out.u32(0x60000000);
    out.u16(static_cast<std::uint16_t>(segment.size()));
    out.u8(protocol);
    out.u8(255);
    out.bytes(path.source.bytes);
    out.bytes(path.destination.bytes);
    out.bytes(segment);
    return frame;
}

/// An IPv4 packet taken apart; nullopt when it is none.
struct Packet {
    Ipv4 source;
    Ipv4 destination;
    std::uint8_t protocol = 0;
    Bytes segment;
};
std::optional<Packet> parse_packet(Bytes bytes) {
    if (bytes.size() < 20 || bytes[0] >> 4 != 4) return std::nullopt;
    const std::size_t header = static_cast<std::size_t>(bytes[0] & 0x0f) * 4;
    if (header < 20 || bytes.size() < header) return std::nullopt;
    Packet packet;
    Reader in(bytes);
    in.skip(9);
    packet.protocol = in.u8();
    in.skip(2);
    packet.source = Ipv4{in.u32()};
    packet.destination = Ipv4{in.u32()};
    packet.segment = bytes.subspan(header);
    return packet;
}

/// The name at the reader's place is skipped: labels, and a pointer ends it.
void skip_name(Reader& in) {
    while (in.ok()) {
        const auto length = in.u8();
        if (length == 0) return;
        if ((length & 0xc0) == 0xc0) {
            in.skip(1);
            return;
        }
        in.skip(length);
    }
}

}  // namespace

std::string token_text(std::uint32_t token) {
    const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(token >> 24),
                                            static_cast<std::uint8_t>(token >> 16),
                                            static_cast<std::uint8_t>(token >> 8), static_cast<std::uint8_t>(token)};
    return std::string(marker) + to_hex(bytes, "");
}

Found find_token(Bytes packet, std::uint16_t ethertype) {
    Found found;
    const auto at = std::search(packet.begin(), packet.end(), marker.begin(), marker.end());
    if (packet.end() - at >= static_cast<std::ptrdiff_t>(marker.size() + 8)) {
        const std::string digits(at + marker.size(), at + marker.size() + 8);
        const auto bytes = parse_hex(digits);
        if (bytes && bytes->size() == 4) found.text = Reader(*bytes).u32();
    }
    Bytes segment;
    std::uint8_t protocol = 0;
    if (ethertype == ethertype_ip4) {
        const auto ip = parse_packet(packet);
        if (!ip) return found;
        found.source = ip->source;
        found.destination = ip->destination;
        segment = ip->segment;
        protocol = ip->protocol;
    } else if (ethertype == ethertype_ip6 && packet.size() >= 40) {
        protocol = packet[6];
        segment = packet.subspan(40);
    }
    if (protocol == protocol_tcp && segment.size() >= 14 && (segment[13] & tcp_flag::reset) == 0) {
        Reader in(segment);
        in.skip(4);
        found.sequence = in.u32();
    }
    return found;
}

Frame udp_frame(const Path& path, std::uint16_t source_port, std::uint16_t port, Bytes payload, Bytes options) {
    const auto pseudo = pseudo_header(path, protocol_udp, udp_header + payload.size());
    return ip4_frame(path, protocol_udp, udp_segment(source_port, port, payload, pseudo), options);
}

Frame tcp_frame(const Path& path, std::uint16_t source_port, std::uint16_t port, std::uint32_t sequence,
                std::uint32_t acknowledged, std::uint8_t flags) {
    std::vector<std::uint8_t> segment(20);
    Writer out(segment);
    out.u16(source_port);
    out.u16(port);
    out.u32(sequence);
    out.u32(acknowledged);
    out.u8(0x50);
    out.u8(flags);
    out.u16(64240);
    out.u16(0);
    out.u16(0);
    out.patch_u16(16, internet_checksum(segment, pseudo_header(path, protocol_tcp, segment.size())));
    return ip4_frame(path, protocol_tcp, segment);
}

Frame icmp_frame(const Path& path, std::uint8_t type, std::uint16_t identifier, std::uint16_t number, Bytes payload) {
    std::vector<std::uint8_t> segment(8 + payload.size());
    Writer out(segment);
    out.u8(type);
    out.u8(0);
    out.u16(0);
    out.u16(identifier);
    out.u16(number);
    out.bytes(payload);
    out.patch_u16(2, internet_checksum(segment));
    return ip4_frame(path, protocol_icmp, segment);
}

Frame arp_frame(const MacAddress& from, const MacAddress& to, const Arp& arp, std::uint32_t token) {
    Frame frame(14 + 28 + 24);
    Writer out(frame);
    ethernet(out, from, to, ethertype_arp);
    out.u16(1);
    out.u16(ethertype_ip4);
    out.u8(6);
    out.u8(4);
    out.u16(arp.operation);
    out.bytes(arp.sender_mac.bytes);
    out.u32(arp.sender.value);
    out.bytes(arp.target_mac.bytes);
    out.u32(arp.target.value);
    out.text(token_text(token));
    return frame;
}

std::optional<Arp> parse_arp(Bytes packet) {
    Reader in(packet);
    const bool ethernet_ip4 = in.u16() == 1 && in.u16() == ethertype_ip4 && in.u8() == 6 && in.u8() == 4;
    Arp arp;
    arp.operation = in.u16();
    const auto mac = [&in] {
        MacAddress out;
        const auto bytes = in.bytes(6);
        if (bytes.size() == 6) std::copy(bytes.begin(), bytes.end(), out.bytes.begin());
        return out;
    };
    arp.sender_mac = mac();
    arp.sender = Ipv4{in.u32()};
    arp.target_mac = mac();
    arp.target = Ipv4{in.u32()};
    if (!in.ok() || !ethernet_ip4) return std::nullopt;
    return arp;
}

Frame udp6_frame(const Path6& path, std::uint16_t source_port, std::uint16_t port, Bytes payload) {
    const auto pseudo = pseudo_header6(path, protocol_udp, udp_header + payload.size());
    return ip6_frame(path, protocol_udp, udp_segment(source_port, port, payload, pseudo));
}

Frame icmp6_frame(const Path6& path, std::uint8_t type, Bytes body) {
    std::vector<std::uint8_t> segment(4 + body.size());
    Writer out(segment);
    out.u8(type);
    out.u8(0);
    out.u16(0);
    out.bytes(body);
    out.patch_u16(2, internet_checksum(segment, pseudo_header6(path, protocol_icmp6, segment.size())));
    return ip6_frame(path, protocol_icmp6, segment);
}

Ipv6 link_local(const MacAddress& mac) {
    Ipv6 address;
    const auto& m = mac.bytes;
    address.bytes = {0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2),
                     m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
    return address;
}

MacAddress multicast_mac(Ipv4 group) {
    return MacAddress{{0x01, 0x00, 0x5e, static_cast<std::uint8_t>((group.value >> 16) & 0x7f),
                       static_cast<std::uint8_t>(group.value >> 8), static_cast<std::uint8_t>(group.value)}};
}

MacAddress multicast_mac(const Ipv6& group) {
    return MacAddress{{0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]}};
}

Frame plain_frame(const MacAddress& from, const MacAddress& to, std::uint16_t ethertype, Bytes payload) {
    Frame frame(std::max(least_frame, 14 + payload.size()));
    Writer out(frame);
    ethernet(out, from, to, ethertype);
    out.bytes(payload);
    return frame;
}

Frame tagged(const Frame& frame, const std::vector<std::uint16_t>& ethertypes) {
    Frame out(frame.begin(), frame.begin() + 12);
    for (const auto type : ethertypes)
        for (const auto byte : {type >> 8, type & 0xff, 0, 5}) out.push_back(static_cast<std::uint8_t>(byte));
    out.insert(out.end(), frame.begin() + 12, frame.end());
    return out;
}

std::vector<std::uint8_t> dns_query(std::uint16_t id, std::string_view name) {
    std::vector<std::uint8_t> query(12 + name.size() + 2 + 4);
    Writer out(query);
    out.u16(id);
    out.u16(0x0100);
    out.u16(1);
    out.zeros(6);
    for (const auto label : split(name, '.')) {
        if (label.empty() || label.size() > 63) return {};
        out.u8(static_cast<std::uint8_t>(label.size()));
        out.text(label);
    }
    out.u8(0);
    out.u16(1);
    out.u16(1);
    if (!out.ok() || name.size() > 253) return {};
    query.resize(out.position());
    return query;
}

std::optional<DnsAnswer> parse_dns(Bytes payload) {
    Reader in(payload);
    DnsAnswer answer;
    answer.id = in.u16();
    const auto flags = in.u16();
    answer.rcode = static_cast<std::uint8_t>(flags & 0x0f);
    const auto questions = in.u16();
    const auto records = in.u16();
    in.skip(4);
    if (!in.ok() || (flags & 0x8000) == 0) return std::nullopt;
    for (int i = 0; i < questions && in.ok(); ++i) {
        skip_name(in);
        in.skip(4);
    }
    for (int i = 0; i < records && in.ok(); ++i) {
        skip_name(in);
        const auto type = in.u16();
        in.skip(6);
        const auto length = in.u16();
        if (type == 1 && length == 4)
            answer.addresses.push_back(Ipv4{in.u32()});
        else
            in.skip(length);
    }
    return in.ok() ? std::optional(answer) : std::nullopt;
}

std::optional<Reply> parse_reply(Bytes bytes, Ipv4 guest) {
    const auto packet = parse_packet(bytes);
    if (!packet || packet->destination != guest) return std::nullopt;
    Reply reply;
    reply.from = packet->source;
    Reader in(packet->segment);
    if (packet->protocol == protocol_udp) {
        in.skip(2);
        reply.port = in.u16();
        in.skip(4);
        reply.payload = in.rest();
        return in.ok() ? std::optional(reply) : std::nullopt;
    }
    if (packet->protocol == protocol_tcp) {
        reply.service = in.u16();
        reply.port = in.u16();
        in.skip(9);
        const auto flags = in.u8();
        if (!in.ok()) return std::nullopt;
        reply.kind = (flags & tcp_flag::reset) != 0 ? Reply::Kind::Reset : Reply::Kind::SynAck;
        return reply;
    }
    if (packet->protocol != protocol_icmp) return std::nullopt;
    const auto type = in.u8();
    in.skip(3);
    if (type == 0 || type == 14) {
        reply.kind = Reply::Kind::Echo;
        reply.port = in.u16();
        return in.ok() ? std::optional(reply) : std::nullopt;
    }
    if (type != 3 && type != 11 && type != 12) return std::nullopt;
    in.skip(4);
    const auto quoted = parse_packet(in.rest());
    if (!quoted) return std::nullopt;
    Reader inner(quoted->segment);
    if (quoted->protocol == protocol_icmp) inner.skip(4);
    reply.kind = Reply::Kind::Error;
    reply.port = inner.u16();
    return inner.ok() ? std::optional(reply) : std::nullopt;
}

}  // namespace vmrouter::proof
