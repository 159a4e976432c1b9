#include "src/base/checksum.hpp"

namespace vmrouter {

std::uint16_t internet_checksum(Bytes bytes, std::uint32_t seed) {
    std::uint64_t sum = seed;
    std::size_t i = 0;
    for (; i + 1 < bytes.size(); i += 2) sum += static_cast<std::uint32_t>((bytes[i] << 8) | bytes[i + 1]);
    if (i < bytes.size()) sum += static_cast<std::uint32_t>(bytes[i] << 8);
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

std::uint32_t udp_pseudo_header(Ipv4 source, Ipv4 destination, std::uint16_t udp_length) {
    constexpr std::uint32_t udp = 17;
    return (source.value >> 16) + (source.value & 0xffff) + (destination.value >> 16) + (destination.value & 0xffff) +
           udp + udp_length;
}

}  // namespace vmrouter
