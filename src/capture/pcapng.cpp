#include "src/capture/pcapng.hpp"

#include <algorithm>

namespace vmrouter::pcapng {
namespace {

enum BlockType : std::uint32_t {
    SectionHeader = 0x0a0d0d0a,
    InterfaceDescription = 1,
    NameResolution = 4,
    InterfaceStatistics = 5,
    EnhancedPacket = 6,
};

enum Option : std::uint16_t {
    End = 0,
    Comment = 1,
    InterfaceName = 2,
    InterfaceDescriptionText = 3,
    TimeResolution = 9,
    Application = 4,  // of a section
    Flags = 2,        // of a packet
    StartTime = 2,    // of statistics
    EndTime = 3,
    Received = 4,
    Dropped = 5,
};

constexpr std::size_t longest_text = 1024;

/// A block under construction, little-endian.
class Block {
public:
    explicit Block(BlockType type) {
        u32(type);
        u32(0);  // the length, when it is known
    }
    void u16(std::uint16_t value) {
        for (unsigned shift = 0; shift < 16; shift += 8) bytes_ += static_cast<char>(value >> shift);
    }
    void u32(std::uint32_t value) {
        for (unsigned shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(value >> shift);
    }
    /// A time: the upper half first.
    void time(Timestamp value) {
        u32(static_cast<std::uint32_t>(value >> 32));
        u32(static_cast<std::uint32_t>(value));
    }
    void u64(std::uint64_t value) {
        u32(static_cast<std::uint32_t>(value));
        u32(static_cast<std::uint32_t>(value >> 32));
    }
    void text(std::string_view value) { bytes_ += value; }
    void pad() { bytes_.resize((bytes_.size() + 3) & ~std::size_t{3}, '\0'); }

    void option(Option code, std::string_view value) {
        if (value.empty()) return;
        value = value.substr(0, longest_text);
        u16(code);
        u16(static_cast<std::uint16_t>(value.size()));
        text(value);
        pad();
    }
    void option_u64(Option code, std::uint64_t value) {
        u16(code);
        u16(8);
        u64(value);
    }
    void option_time(Option code, Timestamp value) {
        u16(code);
        u16(8);
        time(value);
    }
    /// Ends the options, if there were any.
    void end_options() {
        u16(End);
        u16(0);
    }
    std::string done() && {
        const auto length = static_cast<std::uint32_t>(bytes_.size() + 4);
        for (unsigned i = 0; i < 4; ++i) bytes_[4 + i] = static_cast<char>(length >> (8 * i));
        u32(length);
        return std::move(bytes_);
    }

private:
    std::string bytes_;
};

}  // namespace

std::string section(std::string_view program, std::string_view comment) {
    constexpr std::uint32_t magic = 0x1a2b3c4d;
    constexpr std::uint32_t unknown = 0xffffffff;
    Block block(SectionHeader);
    block.u32(magic);
    block.u16(1);  // version 1.0
    block.u16(0);
    block.u32(unknown);  // the section's length
    block.u32(unknown);
    block.option(Comment, comment);
    block.option(Application, program);
    block.end_options();
    return std::move(block).done();
}

std::string interface(const Interface& one) {
    constexpr std::uint16_t ethernet = 1;
    Block block(InterfaceDescription);
    block.u16(ethernet);
    block.u16(0);
    block.u32(snap_length);
    block.option(Comment, one.comment);
    block.option(InterfaceName, one.name);
    block.option(InterfaceDescriptionText, one.description);
    block.option(TimeResolution, "\x09");  // 10^-9 s
    block.end_options();
    return std::move(block).done();
}

std::string names(const std::vector<std::pair<Ipv4, std::string>>& guests) {
    constexpr std::uint16_t ipv4 = 1;
    Block block(NameResolution);
    for (const auto& [address, name] : guests) {
        const auto shown = std::string_view(name).substr(0, longest_text);
        block.u16(ipv4);
        block.u16(static_cast<std::uint16_t>(4 + shown.size() + 1));
        for (int shift = 24; shift >= 0; shift -= 8)
            block.text(std::string(1, static_cast<char>(address.value >> static_cast<unsigned>(shift))));
        block.text(shown);
        block.text(std::string_view("", 1));
        block.pad();
    }
    block.u16(0);  // the end of the records
    block.u16(0);
    return std::move(block).done();
}

std::string packet(const Packet& one) {
    constexpr std::uint32_t inbound_flag = 1;
    constexpr std::uint32_t outbound_flag = 2;
    Block block(EnhancedPacket);
    block.u32(one.interface);
    block.time(one.time);
    block.u32(static_cast<std::uint32_t>(one.data.size()));
    block.u32(one.original_length);
    block.text({reinterpret_cast<const char*>(one.data.data()), one.data.size()});
    block.pad();
    block.option(Comment, one.comment);
    block.u16(Flags);
    block.u16(4);
    block.u32(one.outbound ? outbound_flag : inbound_flag);
    block.end_options();
    return std::move(block).done();
}

std::string statistics(const Statistics& one) {
    Block block(InterfaceStatistics);
    block.u32(one.interface);
    block.time(one.end);
    block.option_time(StartTime, one.begin);
    block.option_time(EndTime, one.end);
    block.option_u64(Received, one.received);
    block.option_u64(Dropped, one.dropped);
    block.end_options();
    return std::move(block).done();
}

}  // namespace vmrouter::pcapng
