#pragma once

// The blocks of a pcapng file (draft-ietf-opsawg-pcapng), as bytes. One section a file, little-endian, times in
// nanoseconds. A block's length is known before it is written, so whatever is written so far is a whole file.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::pcapng {

/// Nanoseconds since the epoch.
using Timestamp = std::uint64_t;

inline constexpr std::uint32_t snap_length = 1U << 17;  ///< more than a GSO frame holds

/// Section Header Block: the program, the host, and what is captured.
std::string section(std::string_view program, std::string_view comment);

struct Interface {
    std::string name;
    std::string description;
    std::string comment;  ///< may be empty
};
/// Interface Description Block, Ethernet. The first one of a section is interface 0.
std::string interface(const Interface& one);

/// Name Resolution Block: the guests' names for their addresses.
std::string names(const std::vector<std::pair<Ipv4, std::string>>& guests);

struct Packet {
    std::uint32_t interface = 0;
    Timestamp time = 0;
    Bytes data;
    std::uint32_t original_length = 0;  ///< on the wire
    bool outbound = false;              ///< from the host's side of the interface
    std::string comment;                ///< may be empty
};
/// Enhanced Packet Block.
std::string packet(const Packet& one);

struct Statistics {
    std::uint32_t interface = 0;
    Timestamp begin = 0;
    Timestamp end = 0;
    std::uint64_t received = 0;
    std::uint64_t dropped = 0;  ///< by the kernel, for want of room
};
/// Interface Statistics Block.
std::string statistics(const Statistics& one);

}  // namespace vmrouter::pcapng
