#pragma once

#include <cstdint>
#include <string_view>

#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter {

/// The Internet checksum (RFC 1071) of `bytes`, continued from the partial sum `seed`; ready to be stored in a header.
/// A buffer that contains its own correct checksum sums to 0.
std::uint16_t internet_checksum(Bytes bytes, std::uint32_t seed = 0);

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`: finds torn and damaged records in files of ours.
std::uint32_t crc32c(std::string_view bytes);

/// The partial sum of the UDP pseudo-header (RFC 768), the seed for internet_checksum over header and payload.
std::uint32_t udp_pseudo_header(Ipv4 source, Ipv4 destination, std::uint16_t udp_length);

}  // namespace vmrouter
