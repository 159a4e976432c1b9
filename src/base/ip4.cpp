#include "src/base/ip4.hpp"

#include <charconv>

namespace vmrouter {
namespace {

/// A decimal number without sign, leading zeros or surrounding space, at most `limit`.
std::optional<std::uint32_t> parse_decimal(std::string_view text, std::uint32_t limit) {
    if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        value = value * 10 + static_cast<std::uint32_t>(c - '0');
    }
    if (value > limit) return std::nullopt;
    return value;
}

std::optional<std::uint8_t> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
    return std::nullopt;
}

}  // namespace

std::optional<Ipv4> Ipv4::parse(std::string_view text) {
    std::uint32_t value = 0;
    for (int part = 0; part < 4; ++part) {
        const auto end = part < 3 ? text.find('.') : text.size();
        if (end == std::string_view::npos) return std::nullopt;
        const auto octet = parse_decimal(text.substr(0, end), 255);
        if (!octet) return std::nullopt;
        value = (value << 8) | *octet;
        text.remove_prefix(part < 3 ? end + 1 : end);
    }
    return Ipv4{value};
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
    const auto slash = text.find('/');
    const auto address = Ipv4::parse(text.substr(0, slash));
    if (!address) return std::nullopt;
    if (slash == std::string_view::npos) return Cidr{*address, 32};
    const auto length = parse_decimal(text.substr(slash + 1), 32);
    if (!length) return std::nullopt;
    return Cidr{*address, static_cast<std::uint8_t>(*length)};
}

std::optional<MacAddress> MacAddress::parse(std::string_view text) {
    MacAddress mac;
    if (text.size() != 17) return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i) {
        const auto high = hex_digit(text[3 * i]);
        const auto low = hex_digit(text[3 * i + 1]);
        if (!high || !low || (i < 5 && text[3 * i + 2] != ':')) return std::nullopt;
        mac.bytes[i] = static_cast<std::uint8_t>((*high << 4) | *low);
    }
    return mac;
}

std::string to_string(Ipv4 address) {
    char text[16];
    char* end = text;
    for (int shift = 24; shift >= 0; shift -= 8) {
        end = std::to_chars(end, text + sizeof text, (address.value >> shift) & 0xff).ptr;
        if (shift > 0) *end++ = '.';
    }
    return {text, end};
}

std::string to_string(const Cidr& cidr) {
    return to_string(cidr.address) + "/" + std::to_string(cidr.length);
}

std::string to_string(const MacAddress& mac) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(17);
    for (const auto byte : mac.bytes) {
        if (!text.empty()) text += ':';
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace vmrouter
