#include "dns/zones.hpp"

#include <string>

namespace vmrouter::dns {
namespace {

Name must_parse(const std::string& text) {
    const auto name = Name::parse(text);
    return name ? *name : Name{};
}

bool is_in_addr_arpa(const Suffixes& suffixes) {
    static const Name zone = must_parse("in-addr.arpa");
    return suffixes.labels() > 2 && equal_folded(suffixes.wire(suffixes.labels() - 2), zone.wire());
}

/// One label as a decimal octet without leading zeros; -1 for anything else.
int octet(Bytes label) {
    if (label.empty() || label.size() > 3 || (label.size() > 1 && label[0] == '0')) return -1;
    int value = 0;
    for (const std::uint8_t digit : label) {
        if (digit < '0' || digit > '9') return -1;
        value = value * 10 + (digit - '0');
    }
    return value <= 255 ? value : -1;
}

int nibble(Bytes label) {
    if (label.size() != 1) return -1;
    const std::uint8_t c = label[0];
    if (c >= '0' && c <= '9') return c - '0';
    const int letter = c | 0x20;
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

Bytes label(const Suffixes& suffixes, std::size_t i) {
    const Bytes wire = suffixes.wire(i);
    return wire.subspan(1, wire[0]);
}

}  // namespace

std::vector<Zone> special_zones() {
    std::vector<Zone> zones;
    const auto add = [&zones](const std::string& name, ZoneKind kind) { zones.push_back({must_parse(name), kind}); };
    add("localhost", ZoneKind::Localhost);
    for (const char* name : {"invalid", "test", "local", "onion", "alt"}) add(name, ZoneKind::Absent);
    for (const char* name : {"home.arpa", "service.arpa"}) add(name, ZoneKind::Empty);
    add("resolver.arpa", ZoneKind::Resolver);
    add("ipv4only.arpa", ZoneKind::Ipv4Only);

    for (const char* name :
         {"0", "10", "127", "254.169", "168.192", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255"})
        add(std::string(name) + ".in-addr.arpa", ZoneKind::Reverse);
    for (int i = 16; i < 32; ++i) add(std::to_string(i) + ".172.in-addr.arpa", ZoneKind::Reverse);
    for (int i = 64; i < 128; ++i) add(std::to_string(i) + ".100.in-addr.arpa", ZoneKind::Reverse);

    std::string zeros;
    for (int i = 0; i < 31; ++i) zeros += "0.";
    add("0." + zeros + "ip6.arpa", ZoneKind::Reverse);
    add("1." + zeros + "ip6.arpa", ZoneKind::Reverse);
    // Unique local, link-local and (deprecated, but private all the same) site-local addresses; documentation.
    for (const char* name :
         {"c.f", "d.f", "8.e.f", "9.e.f", "a.e.f", "b.e.f", "c.e.f", "d.e.f", "e.e.f", "f.e.f", "8.b.d.0.1.0.0.2"})
        add(std::string(name) + ".ip6.arpa", ZoneKind::Reverse);
    return zones;
}

std::vector<Name> lan_domains() {
    std::vector<Name> names;
    for (const char* name : {"lan", "internal", "intranet", "private", "corp", "home"})
        names.push_back(must_parse(name));
    return names;
}

std::optional<Reverse4> parse_reverse4(const Suffixes& suffixes) {
    if (!is_in_addr_arpa(suffixes)) return std::nullopt;
    Reverse4 reverse;
    std::size_t i = suffixes.labels() - 2;
    for (; i > 0 && reverse.octets < 4; --i, ++reverse.octets) {
        const int value = octet(label(suffixes, i - 1));
        if (value < 0) break;
        reverse.first.value |= static_cast<std::uint32_t>(value) << (24 - 8 * reverse.octets);
    }
    if (reverse.octets == 0) return std::nullopt;
    reverse.whole = i == 0;
    return reverse;
}

std::optional<Ipv6> parse_reverse6(const Suffixes& suffixes) {
    static const Name zone = must_parse("ip6.arpa");
    if (suffixes.labels() != 34 || !equal_folded(suffixes.wire(32), zone.wire())) return std::nullopt;
    Ipv6 address;
    for (std::size_t i = 0; i < 32; ++i) {
        const int value = nibble(label(suffixes, 31 - i));
        if (value < 0) return std::nullopt;
        address.bytes[i / 2] = static_cast<std::uint8_t>(address.bytes[i / 2] << 4 | value);
    }
    return address;
}

Name reverse_name(Ipv4 address) {
    std::string text;
    for (int shift = 0; shift < 32; shift += 8) text += std::to_string((address.value >> shift) & 0xff) + ".";
    return must_parse(text + "in-addr.arpa");
}

Name reverse_name(const Ipv6& address) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 16; i-- > 0;) {
        text += digits[address.bytes[i] & 15];
        text += '.';
        text += digits[address.bytes[i] >> 4];
        text += '.';
    }
    return must_parse(text + "ip6.arpa");
}

}  // namespace vmrouter::dns
