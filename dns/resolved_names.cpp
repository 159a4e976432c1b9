#include "dns/resolved_names.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dns/message.hpp"

namespace vmrouter::dns {
namespace {

/// Behind the name at the reader's position, which is not looked at; false at the end of the message.
bool skip_name(Reader& reader) {
    for (;;) {
        const std::uint8_t length = reader.u8();
        if (!reader.ok()) return false;
        if (length > Name::max_label) {
            reader.skip(1);  // a pointer ends the name
            return reader.ok();
        }
        if (length == 0) return true;
        reader.skip(length);
    }
}

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
    Reader reader(reply);
    reader.skip(6);
    std::size_t answers = std::min<std::size_t>(reader.u16(), most_records);
    reader.seek(header_size + name.size() + 4);
    for (; answers > 0 && reader.ok() && skip_name(reader); --answers) {
        const auto type = static_cast<Type>(reader.u16());
        const auto klass = static_cast<Class>(reader.u16());
        reader.skip(4);
        Reader rdata(reader.bytes(reader.u16()));
        if (type != Type::A || klass != Class::In || rdata.remaining() != 4) continue;
        note_address(guest, name.wire(), Ipv4{rdata.u32()}, now);
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
        entry->name.assign(name.begin(), name.end());
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
