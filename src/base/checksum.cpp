#include "src/base/checksum.hpp"

#include <array>

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

}  // namespace

std::uint16_t internet_checksum(Bytes bytes, std::uint32_t seed) {
    std::uint64_t sum = seed;
    std::size_t i = 0;
    for (; i + 1 < bytes.size(); i += 2) sum += static_cast<std::uint32_t>((bytes[i] << 8) | bytes[i + 1]);
    if (i < bytes.size()) sum += static_cast<std::uint32_t>(bytes[i] << 8);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
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
