#include "src/base/checksum.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace vmrouter {
namespace {

constexpr std::array<std::uint32_t, 256> crc32c_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78U : 0U);
        table[i] = value;
    }
    return table;
}

std::uint16_t folded(std::uint64_t sum) {
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

}  // namespace

std::uint16_t internet_checksum(Bytes bytes, std::uint32_t seed) {
    // Four bytes at a time, in the machine's order: the sum is the same but for the order of its bytes (RFC 1071
    // section 2 (B) and (C)).
    std::uint64_t sum = 0;
    std::uint32_t word = 0;
    for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
        std::memcpy(&word, bytes.data(), sizeof word);
        sum += word;
    }
    std::array<std::uint8_t, sizeof word> rest{};
    std::ranges::copy(bytes, rest.begin());
    std::memcpy(&word, rest.data(), sizeof word);
    sum += word;
    std::uint32_t in_order = folded(sum);
    if constexpr (std::endian::native == std::endian::little) in_order = (in_order & 0xff) << 8 | in_order >> 8;
    return static_cast<std::uint16_t>(~folded(std::uint64_t{in_order} + seed));
}

std::uint32_t crc32c(std::string_view bytes) {
    static constexpr auto table = crc32c_table();
    std::uint32_t value = ~std::uint32_t{0};
    for (const char byte : bytes) value = (value >> 8) ^ table[(value ^ static_cast<std::uint8_t>(byte)) & 0xff];
    return ~value;
}

std::uint32_t udp_pseudo_header(Ipv4 source, Ipv4 destination, std::uint16_t udp_length) {
    constexpr std::uint32_t udp = 17;
    return (source.value >> 16) + (source.value & 0xffff) + (destination.value >> 16) + (destination.value & 0xffff) +
           udp + udp_length;
}

}  // namespace vmrouter
