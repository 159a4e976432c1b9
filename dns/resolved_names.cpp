#include "dns/resolved_names.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dns/message.hpp"

namespace vmrouter::dns {
namespace {

/// Behind the name at `at`, which is not looked at; the message's end when it does not end before.
std::size_t after_name(Bytes message, std::size_t at) {
    while (at < message.size() && message[at] != 0) {
        if (message[at] > Name::max_label) return std::min(at + 2, message.size());  // a pointer ends the name
        at += std::size_t{message[at]} + 1;
    }
    return std::min(at + 1, message.size());
}

std::uint16_t read16(Bytes message, std::size_t at) {
    return static_cast<std::uint16_t>(message[at] << 8 | message[at + 1]);
}

constexpr std::size_t fixed_part = 10;  // of a record, behind its owner: type, class, TTL, size

/// A name is told by whoever it is: the least recently used entry of the same guest, else of all, makes room.
template <class Set>
auto* to_replace(Set& set, Ipv4 guest) {
    auto* oldest = &set[0];
    const auto rank = [guest](const auto& entry) {
        return std::pair{entry.name.empty() ? 0 : entry.guest == guest ? 1 : 2, entry.when};
    };
    for (auto& entry : set)
        if (rank(entry) < rank(*oldest)) oldest = &entry;
    return oldest;
}

}  // namespace

ResolvedNames::ResolvedNames(std::size_t most) : set_count_(std::bit_ceil((most + ways - 1) / ways)) {}

void ResolvedNames::note(Ipv4 guest, const Name& name, Bytes reply, Monotonic now) {
    if (reply.size() < header_size) return;
    std::size_t answers = std::min<std::size_t>(read16(reply, 6), most_records);
    std::size_t at = header_size + name.size() + 4;
    for (; answers > 0; --answers) {
        at = after_name(reply, at);
        if (at + fixed_part > reply.size()) return;
        const std::size_t size = read16(reply, at + 8);
        const std::size_t rdata = at + fixed_part;
        if (rdata + size > reply.size()) return;
        const bool is_address = read16(reply, at) == static_cast<std::uint16_t>(Type::A) &&
                                read16(reply, at + 2) == static_cast<std::uint16_t>(Class::In) && size == 4;
        if (is_address) {
            const Ipv4 address{reply[rdata], reply[rdata + 1], reply[rdata + 2], reply[rdata + 3]};
            note_address(guest, name.wire(), address, now);
        }
        at = rdata + size;
    }
}

void ResolvedNames::note_address(Ipv4 guest, Bytes name, Ipv4 address, Monotonic now) {
    if (sets_.empty()) sets_.resize(set_count_);
    Set& set = sets_[set_of(guest, address)];
    auto* entry = std::find_if(set.begin(), set.end(), [&](const Entry& one) {
        return one.guest == guest && one.address == address && !one.name.empty();
    });
    if (entry == set.end()) {
        entry = to_replace(set, guest);
        size_ += entry->name.empty() ? 1 : 0;
        entry->guest = guest;
        entry->address = address;
    }
    entry->when = now;
    if (entry->name.size() != name.size() || std::memcmp(entry->name.data(), name.data(), name.size()) != 0)
        entry->name.assign(reinterpret_cast<const char*>(name.data()), name.size());
}

std::optional<ResolvedNames::Found> ResolvedNames::find(Ipv4 guest, Ipv4 address) const {
    if (sets_.empty()) return std::nullopt;
    for (const Entry& entry : sets_[set_of(guest, address)]) {
        if (entry.guest != guest || entry.address != address || entry.name.empty()) continue;
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(entry.name.data());
        const auto name = Name::from_wire({bytes, entry.name.size()});
        if (name) return Found{*name, entry.when};
    }
    return std::nullopt;
}

std::size_t ResolvedNames::set_of(Ipv4 guest, Ipv4 address) const {
    const std::uint64_t key = std::uint64_t{guest.value} << 32 | address.value;
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15) >> 40) & (set_count_ - 1);
}

}  // namespace vmrouter::dns
