#include "dhcp/hardware.hpp"

#include <algorithm>
#include <cstring>

#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

/// One byte written with one or two hexadecimal digits.
std::optional<std::uint8_t> hex_byte(std::string_view text) {
    if (text.empty() || text.size() > 2) return std::nullopt;
    std::uint8_t value = 0;
    for (const char c : text) {
        int digit = 0;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F')
            digit = c - 'A' + 10;
        else
            return std::nullopt;
        value = static_cast<std::uint8_t>(value * 16 + digit);
    }
    return value;
}

}  // namespace

HardwareAddress::HardwareAddress(const MacAddress& mac) : length(6) {
    std::copy(mac.bytes.begin(), mac.bytes.end(), bytes.begin());
}

HardwareAddress::HardwareAddress(std::uint8_t hardware_type, Bytes address)
    : type(hardware_type), length(static_cast<std::uint8_t>(std::min(address.size(), most))) {
    std::copy_n(address.begin(), length, bytes.begin());
}

std::optional<MacAddress> HardwareAddress::mac() const {
    if (type != ethernet || length != 6) return std::nullopt;
    MacAddress mac;
    std::copy_n(bytes.begin(), 6, mac.bytes.begin());
    return mac;
}

std::optional<HardwareAddress> HardwareAddress::parse(std::string_view text) {
    HardwareAddress result;
    if (text.size() >= 3 && text[2] == '-') {
        const auto type = hex_byte(text.substr(0, 2));
        if (!type) return std::nullopt;
        result.type = *type;
        text.remove_prefix(3);
        if (text.empty()) return result;
    }
    for (const auto part : split(text, ':')) {
        const auto byte = hex_byte(part);
        if (!byte || part.size() != 2 || result.length == result.bytes.size()) return std::nullopt;
        result.bytes[result.length++] = *byte;
    }
    return result;
}

std::string to_string(const HardwareAddress& address) {
    std::string hex = to_hex(address.view());
    if (address.type == HardwareAddress::ethernet && !address.empty()) return hex;
    return to_hex(Bytes{&address.type, 1}) + "-" + hex;
}

std::uint64_t hash_bytes(Bytes bytes, std::uint64_t seed) {
    // Multiply and fold eight bytes at a time: collisions cannot be computed without the seed, which is all we ask of
    // it.
    constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
    const auto fold = [](std::uint64_t a, std::uint64_t b) {
        __extension__ using Wide = unsigned __int128;
        const Wide product = static_cast<Wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    std::uint64_t hash = seed ^ (bytes.size() * odd);
    while (!bytes.empty()) {
        std::uint64_t word = 0;
        const std::size_t size = std::min<std::size_t>(bytes.size(), sizeof word);
        std::memcpy(&word, bytes.data(), size);
        hash = fold(hash ^ word ^ odd, odd ^ (seed << 1 | 1));
        bytes = bytes.subspan(size);
    }
    return fold(hash ^ odd, 0xd6e8feb86659fd93);
}

}  // namespace vmrouter::dhcp
