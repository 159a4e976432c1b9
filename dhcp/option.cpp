#include "dhcp/option.hpp"

#include <algorithm>
#include <array>
#include <cassert>

namespace vmrouter::dhcp {
namespace {

Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// Calls `visit(code, value)` for every piece in an area, up to its end option, its end, or a piece that runs past it.
template <class Visit>
void for_each_piece(Bytes area, Visit visit) {
    Reader reader(area);
    while (reader.remaining() > 0) {
        const std::uint8_t code = reader.u8();
        if (code == option::end) return;
        if (code == option::pad) continue;
        const std::size_t size = reader.u8();
        const Bytes value = reader.bytes(size);
        if (!reader.ok()) return;
        visit(code, value);
    }
}

}  // namespace

std::size_t Options::index_of(std::uint8_t code) const {
    return static_cast<std::size_t>(std::ranges::find(slots_, code, &Slot::code) - slots_.begin());
}

Options::Entry Options::operator[](std::size_t index) const {
    const Slot& slot = slots_[index];
    return {slot.code, Bytes{bytes_}.subspan(slot.offset, slot.size)};
}

std::optional<Bytes> Options::find(std::uint8_t code) const {
    const std::size_t index = index_of(code);
    if (index == slots_.size()) return std::nullopt;
    return (*this)[index].value;
}

std::optional<std::uint8_t> Options::u8(std::uint8_t code) const {
    const auto value = find(code);
    if (!value || value->size() != 1) return std::nullopt;
    return Reader{*value}.u8();
}

std::optional<std::uint16_t> Options::u16(std::uint8_t code) const {
    const auto value = find(code);
    if (!value || value->size() != 2) return std::nullopt;
    return Reader{*value}.u16();
}

std::optional<std::uint32_t> Options::u32(std::uint8_t code) const {
    const auto value = find(code);
    if (!value || value->size() != 4) return std::nullopt;
    return Reader{*value}.u32();
}

std::optional<Ipv4> Options::ip(std::uint8_t code) const {
    const auto value = u32(code);
    if (!value) return std::nullopt;
    return Ipv4{*value};
}

std::optional<std::string_view> Options::text(std::uint8_t code) const {
    const auto value = find(code);
    if (!value) return std::nullopt;
    std::string_view text(reinterpret_cast<const char*>(value->data()), value->size());
    while (text.ends_with('\0')) text.remove_suffix(1);
    return text;
}

void Options::add(std::uint8_t code, Bytes value) {
    assert(code != option::pad && code != option::overload && code != option::end && !has(code));
    slots_.push_back({code, static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(value.size())});
    bytes_.insert(bytes_.end(), value.begin(), value.end());
}

void Options::add_u8(std::uint8_t code, std::uint8_t value) {
    add(code, Bytes{&value, 1});
}

void Options::add_u16(std::uint8_t code, std::uint16_t value) {
    std::array<std::uint8_t, 2> buffer{};
    Writer{buffer}.u16(value);
    add(code, buffer);
}

void Options::add_u32(std::uint8_t code, std::uint32_t value) {
    std::array<std::uint8_t, 4> buffer{};
    Writer{buffer}.u32(value);
    add(code, buffer);
}

void Options::add_ips(std::uint8_t code, std::span<const Ipv4> values) {
    std::vector<std::uint8_t> buffer(4 * values.size());
    Writer writer(buffer);
    for (const Ipv4 value : values) writer.u32(value.value);
    add(code, buffer);
}

void Options::add_text(std::uint8_t code, std::string_view value, bool terminated) {
    add(code, as_bytes(value));
    if (!terminated) return;
    bytes_.push_back(0);
    ++slots_.back().size;
}

Options Options::read(std::span<const Bytes> areas) {
    // Two walks, so that joining the pieces of an option (RFC 3396) is linear whatever order they come in: the first
    // finds how long each option is, the second copies every piece to its place.
    constexpr std::uint16_t absent = 0xffff;
    Options result;
    std::array<std::uint16_t, 256> slot_of;
    slot_of.fill(absent);
    for (const Bytes area : areas) {
        for_each_piece(area, [&](std::uint8_t code, Bytes value) {
            if (code == option::overload) return;
            if (slot_of[code] == absent) {
                slot_of[code] = static_cast<std::uint16_t>(result.slots_.size());
                result.slots_.push_back({code, 0, 0});
            }
            result.slots_[slot_of[code]].size += static_cast<std::uint32_t>(value.size());
        });
    }
    std::uint32_t total = 0;
    for (Slot& slot : result.slots_) {
        slot.offset = total;
        total += slot.size;
        slot.size = 0;
    }
    result.bytes_.resize(total);
    for (const Bytes area : areas) {
        for_each_piece(area, [&](std::uint8_t code, Bytes value) {
            if (code == option::overload) return;
            Slot& slot = result.slots_[slot_of[code]];
            std::ranges::copy(value, result.bytes_.begin() + slot.offset + slot.size);
            slot.size += static_cast<std::uint32_t>(value.size());
        });
    }
    return result;
}

bool is_text(std::uint8_t code) {
    // host name, merit dump, domain, root and extensions path, NIS domain, NDS names, NIS+ domain, boot server and
    // file, time zones, captive portal
    constexpr std::array<std::uint8_t, 15> codes{option::host_name,
                                                 14,
                                                 option::domain_name,
                                                 17,
                                                 18,
                                                 40,
                                                 64,
                                                 option::tftp_server,
                                                 option::boot_file,
                                                 86,
                                                 87,
                                                 100,
                                                 101,
                                                 114,
                                                 160};
    return std::ranges::find(codes, code) != codes.end();
}

std::optional<Bytes> suboption(Bytes value, std::uint8_t code) {
    Reader reader(value);
    while (reader.remaining() > 0) {
        const std::uint8_t found = reader.u8();
        const Bytes bytes = reader.bytes(reader.u8());
        if (!reader.ok()) break;
        if (found == code) return bytes;
    }
    return std::nullopt;
}

bool operator==(const Options& a, const Options& b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i].code != b[i].code || !std::ranges::equal(a[i].value, b[i].value)) return false;
    return true;
}

}  // namespace vmrouter::dhcp
