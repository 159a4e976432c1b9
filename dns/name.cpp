#include "dns/name.hpp"

#include <algorithm>

namespace vmrouter::dns {
namespace {

constexpr std::size_t header_size = 12;  // of a message: no name begins in there

constexpr std::uint64_t ones = 0x0101010101010101;
constexpr std::uint64_t high_bits = 0x80 * ones;

/// Eight bytes at once: 'A' to 'Z' become lower case, everything else stays (RFC 4343 section 3).
constexpr std::uint64_t fold8(std::uint64_t bytes) {
    const std::uint64_t low = bytes & ~high_bits;
    const std::uint64_t from_a = low + (0x80 - 'A') * ones;
    const std::uint64_t after_z = low + (0x80 - 'Z' - 1) * ones;
    const std::uint64_t upper = ~bytes & (from_a ^ after_z) & high_bits;
    return bytes | (upper >> 2);
}

constexpr std::uint8_t fold1(std::uint8_t byte) {
    return byte >= 'A' && byte <= 'Z' ? static_cast<std::uint8_t>(byte | 0x20) : byte;
}

std::uint64_t load8(const std::uint8_t* from) {
    std::uint64_t value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

constexpr std::uint64_t root_hash = 0x9ae16a3b2f90404f;

__extension__ using Wide = unsigned __int128;

/// Both halves of the product: names differ in a digit somewhere, and every bit of it must reach every bit of the hash
/// (the low ones choose the bucket in the cache, the high ones the place in a block list).
std::uint64_t mix(std::uint64_t state, std::uint64_t word) {
    const Wide product = static_cast<Wide>(state ^ word) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// The hash of a name from the hash of its parent. `label` points to the length byte; up to eight bytes behind the
/// label are read (and masked), which Name's buffer has room for.
std::uint64_t hash_label(std::uint64_t parent, const std::uint8_t* label) {
    std::size_t left = std::size_t{*label} + 1;  // the length byte is part of it: no two splits hash alike
    std::uint64_t state = parent;
    for (; left >= 8; left -= 8, label += 8) state = mix(state, fold8(load8(label)));
    if (left > 0) state = mix(state, fold8(load8(label) & (~std::uint64_t{0} >> (64 - 8 * left))));
    return state;
}

int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : -1;
}

/// One character of a label in text form, escapes resolved; -1 for a broken escape.
int unescape(std::string_view text, std::size_t& position) {
    const char c = text[position++];
    if (c != '\\') return static_cast<unsigned char>(c);
    if (position >= text.size()) return -1;
    if (digit(text[position]) < 0) return static_cast<unsigned char>(text[position++]);
    if (position + 3 > text.size() || digit(text[position + 1]) < 0 || digit(text[position + 2]) < 0) return -1;
    const int value = digit(text[position]) * 100 + digit(text[position + 1]) * 10 + digit(text[position + 2]);
    position += 3;
    return value <= 255 ? value : -1;
}

}  // namespace

std::optional<Name> Name::parse(std::string_view text) {
    Name name;
    if (text == ".") return name;
    if (text.empty()) return std::nullopt;

    std::size_t size = 1;      // of what is written, the open label's length byte included
    std::size_t label_at = 0;  // where that length byte is
    for (std::size_t position = 0; position < text.size();) {
        const bool separator = text[position] == '.';
        const int byte = unescape(text, position);
        if (byte < 0) return std::nullopt;
        const std::size_t length = size - label_at - 1;
        if (separator) {
            if (length == 0) return std::nullopt;
            name.bytes_[label_at] = static_cast<std::uint8_t>(length);
            label_at = size;
        } else if (length == max_label) {
            return std::nullopt;
        }
        if (size + 1 >= max_size + (separator && position == text.size() ? 1 : 0)) return std::nullopt;
        name.bytes_[size++] = separator ? std::uint8_t{0} : static_cast<std::uint8_t>(byte);
    }
    const std::size_t length = size - label_at - 1;
    if (length > 0) {
        name.bytes_[label_at] = static_cast<std::uint8_t>(length);
        name.bytes_[size++] = 0;
    }
    name.size_ = static_cast<std::uint8_t>(size);
    return name;
}

std::optional<Name> Name::join(std::string_view label, const Name& parent) {
    if (label.empty() || label.size() > max_label || label.size() + 1 + parent.size_ > max_size) return std::nullopt;
    Name name;
    name.bytes_[0] = static_cast<std::uint8_t>(label.size());
    std::memcpy(name.bytes_.data() + 1, label.data(), label.size());
    std::memcpy(name.bytes_.data() + 1 + label.size(), parent.bytes_.data(), parent.size_);
    name.size_ = static_cast<std::uint8_t>(label.size() + 1 + parent.size_);
    return name;
}

std::optional<Name> Name::from_wire(Bytes wire) {
    Name name;
    std::size_t position = 0;
    if (!name.read_uncompressed(wire, position) || position != wire.size()) return std::nullopt;
    return name;
}

bool Name::read(Bytes message, std::size_t& position) {
    std::size_t at = position;
    std::size_t after = 0;             // behind the first pointer: where the caller goes on
    std::size_t start = at;            // of the piece that is being read
    std::size_t end = message.size();  // what the piece may use: of those pointed to, what lies before the last
    std::size_t size = 0;
    std::size_t hops = 0;  // an honest name has a label between any two pointers
    size_ = 1;
    while (at < end) {
        const std::uint8_t length = message[at];
        if (length > max_label) {
            if ((length & pointer_bits) != pointer_bits || at + 2 > end) break;
            const std::size_t target = (std::size_t{length} & 0x3f) << 8 | message[at + 1];
            if (target < header_size || target >= start || ++hops > max_labels) break;
            if (after == 0) after = at + 2;
            end = start;
            start = at = target;
            continue;
        }
        if (size + length + 1 > max_size || at + length + 1 > end) break;
        std::memcpy(bytes_.data() + size, message.data() + at, std::size_t{length} + 1);
        size += std::size_t{length} + 1;
        at += std::size_t{length} + 1;
        if (length == 0) {
            size_ = static_cast<std::uint8_t>(size);
            position = after != 0 ? after : at;
            return true;
        }
    }
    bytes_[0] = 0;
    return false;
}

bool Name::read_uncompressed(Bytes message, std::size_t& position) {
    std::size_t at = position;
    while (at < message.size() && message[at] != 0) {
        if (message[at] > max_label) break;
        at += std::size_t{message[at]} + 1;
        if (at - position >= max_size) break;
    }
    if (at >= message.size() || message[at] != 0 || at - position >= max_size) {
        *this = Name{};
        return false;
    }
    size_ = static_cast<std::uint8_t>(at + 1 - position);
    std::memcpy(bytes_.data(), message.data() + position, size_);
    position = at + 1;
    return true;
}

std::size_t Name::labels() const {
    std::size_t count = 0;
    for (std::size_t at = 0; bytes_[at] != 0; at += std::size_t{bytes_[at]} + 1) ++count;
    return count;
}

std::string_view Name::first_label() const {
    return {reinterpret_cast<const char*>(bytes_.data() + 1), bytes_[0]};
}

Name Name::parent() const {
    Name name;
    if (is_root()) return name;
    const std::size_t skipped = std::size_t{bytes_[0]} + 1;
    name.size_ = static_cast<std::uint8_t>(size_ - skipped);
    std::memcpy(name.bytes_.data(), bytes_.data() + skipped, name.size_);
    return name;
}

bool Name::is_under(const Name& zone) const {
    if (zone.size_ > size_) return false;
    const std::size_t start = std::size_t{size_} - zone.size_;
    std::size_t at = 0;
    while (at < start) at += std::size_t{bytes_[at]} + 1;
    return at == start && equal_folded(wire().subspan(start), zone.wire());
}

bool Name::identical(const Name& other) const {
    return size_ == other.size_ && std::memcmp(bytes_.data(), other.bytes_.data(), size_) == 0;
}

std::uint64_t Name::hash() const {
    return Suffixes(*this).hash(0);
}

void Name::fold() {
    dns::fold(wire(), bytes_.data());
}

bool operator==(const Name& a, const Name& b) {
    return equal_folded(a.wire(), b.wire());
}

std::string to_string(const Name& name) {
    if (name.is_root()) return ".";
    std::string text;
    const Bytes wire = name.wire();
    for (std::size_t at = 0; wire[at] != 0; at += std::size_t{wire[at]} + 1) {
        if (at > 0) text += '.';
        for (const std::uint8_t byte : wire.subspan(at + 1, wire[at])) {
            const char c = static_cast<char>(byte);
            if (byte <= ' ' || byte >= 0x7f) {
                text += '\\';
                text += static_cast<char>('0' + byte / 100);
                text += static_cast<char>('0' + byte / 10 % 10);
                text += static_cast<char>('0' + byte % 10);
            } else {
                if (c == '.' || c == '\\' || c == '"' || c == ';' || c == '(' || c == ')' || c == '@' || c == '$')
                    text += '\\';
                text += c;
            }
        }
    }
    return text;
}

bool equal_folded(Bytes a, Bytes b) {
    if (a.size() != b.size()) return false;
    const std::size_t size = a.size();
    if (size < 8) {
        for (std::size_t i = 0; i < size; ++i)
            if (fold1(a[i]) != fold1(b[i])) return false;
        return true;
    }
    const auto differ = [](std::uint64_t x, std::uint64_t y) { return x != y && fold8(x) != fold8(y); };
    for (std::size_t i = 0; i + 8 <= size; i += 8)
        if (differ(load8(a.data() + i), load8(b.data() + i))) return false;
    return !differ(load8(a.data() + size - 8), load8(b.data() + size - 8));
}

std::strong_ordering compare_folded(Bytes a, Bytes b) {
    if (a.size() != b.size()) return a.size() <=> b.size();
    return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end(),
                                                  [](auto x, auto y) { return fold1(x) <=> fold1(y); });
}

void fold(Bytes from, std::uint8_t* to) {
    std::transform(from.begin(), from.end(), to, fold1);
}

Suffixes::Suffixes(const Name& name) : name_(name) {
    const std::uint8_t* bytes = name.wire().data();
    std::size_t at = 0;
    for (; bytes[at] != 0; at += std::size_t{bytes[at]} + 1) offsets_[labels_++] = static_cast<std::uint8_t>(at);
    offsets_[labels_] = static_cast<std::uint8_t>(at);
    std::uint64_t hash = hashes_[labels_] = root_hash;
    for (std::size_t i = labels_; i-- > 0;) hashes_[i] = hash = hash_label(hash, bytes + offsets_[i]);
}

void Compressor::remember(const Name& name, std::size_t position) {
    const Suffixes suffixes(name);
    for (std::size_t i = 0; i < suffixes.labels() && count_ < seen_.size(); ++i) {
        const std::size_t at = position + name.size() - suffixes.wire(i).size();
        if (at > 0x3fff) return;  // a pointer has 14 bits
        seen_[count_++] = {suffixes.hash(i), static_cast<std::uint16_t>(at)};
    }
}

void Compressor::write(Writer& writer, const Name& name) {
    const Suffixes suffixes(name);
    const std::size_t start = writer.position();
    std::size_t known = suffixes.labels();
    const Seen* target = nullptr;
    for (std::size_t i = 0; i < suffixes.labels() && target == nullptr; ++i) {
        const auto end = seen_.begin() + static_cast<std::ptrdiff_t>(count_);
        const auto found = std::find_if(seen_.begin(), end, [&](const Seen& s) { return s.hash == suffixes.hash(i); });
        if (found == end) continue;
        Name there;
        std::size_t position = found->position;
        if (!there.read(writer.written(), position) || !equal_folded(there.wire(), suffixes.wire(i))) continue;
        known = i;
        target = &*found;
    }
    writer.bytes(name.wire().first(name.size() - suffixes.wire(known).size()));
    if (target == nullptr)
        writer.u8(0);
    else
        writer.u16(static_cast<std::uint16_t>(0xc000 | target->position));
    if (!writer.ok()) return;
    for (std::size_t i = 0; i < known && count_ < seen_.size(); ++i) {
        const std::size_t at = start + name.size() - suffixes.wire(i).size();
        if (at <= 0x3fff) seen_[count_++] = {suffixes.hash(i), static_cast<std::uint16_t>(at)};
    }
}

}  // namespace vmrouter::dns
