#pragma once

// Packets as files: hexadecimal bytes, '#' starts a comment.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "src/base/text.hpp"

namespace vmrouter::dhcp {

inline std::vector<std::uint8_t> from_hex(std::string_view text) {
    return parse_hex(text).value();
}

inline std::vector<std::uint8_t> read_packet(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::uint8_t> bytes;
    for (std::string line; std::getline(file, line);) {
        const auto piece = parse_hex(trim(std::string_view{line}.substr(0, line.find('#'))));
        if (piece) bytes.insert(bytes.end(), piece->begin(), piece->end());
    }
    return bytes;
}

/// tests/data/dhcp/NAME.hex
inline std::vector<std::uint8_t> packet(std::string_view name) {
    return read_packet(std::filesystem::path(VMROUTER_TEST_DATA) / "dhcp" / (std::string(name) + ".hex"));
}

/// All of them, by name.
inline std::vector<std::pair<std::string, std::vector<std::uint8_t>>> all_packets() {
    std::vector<std::pair<std::string, std::vector<std::uint8_t>>> packets;
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(VMROUTER_TEST_DATA) / "dhcp"))
        packets.emplace_back(entry.path().stem().string(), read_packet(entry.path()));
    return packets;
}

}  // namespace vmrouter::dhcp
