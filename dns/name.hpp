#pragma once

// Domain names in wire form (RFC 1035 section 3.1): length-prefixed labels, the root label last, at most 255 bytes, the
// case as it came (RFC 4343 section 4). Comparison and hashing ignore ASCII case. Everything the data path needs works
// in place, without an allocation.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/wire.hpp"

namespace vmrouter::dns {

/// One uncompressed domain name, held in place.
class Name {
public:
    static constexpr std::size_t max_size = 255;        ///< RFC 1035 section 2.3.4, the root label included
    static constexpr std::size_t max_label = 63;        ///< bytes in one label
    static constexpr std::size_t max_labels = 127;      ///< of one byte each
    static constexpr std::uint8_t pointer_bits = 0xc0;  ///< the two bits that mark a compression pointer

    Name() { bytes_[0] = 0; }  ///< the root
    Name(const Name& other) : size_(other.size_) { std::memcpy(bytes_.data(), other.bytes_.data(), size_); }
    Name& operator=(const Name& other) {
        size_ = other.size_;
        std::memmove(bytes_.data(), other.bytes_.data(), size_);
        return *this;
    }

    /// Text form (RFC 1035 section 5.1): "www.example.com" with or without the last dot, "." for the root, \. and \DDD
    /// escapes. nullopt for empty labels, labels over 63 or names over 255 bytes.
    static std::optional<Name> parse(std::string_view text);
    /// A label in front of a name; nullopt when the label is empty or too long, or the name becomes too long. The
    /// label's bytes are taken as they are (a dot in it does not separate).
    static std::optional<Name> join(std::string_view label, const Name& parent);
    /// Exactly these bytes, uncompressed, ended by the root label; nullopt for anything else.
    static std::optional<Name> from_wire(Bytes wire);

    /// Reads the name at `position` of `message`, follows compression pointers, and moves `position` behind the name.
    /// What a pointer points to must lie before the part of the name that holds the pointer, all of it (so every name
    /// ends, and none hangs on bytes that come after it), and behind the header, whose bytes change on the way. False
    /// (this name is then the root) for anything malformed.
    bool read(Bytes message, std::size_t& position);
    /// The same without compression: the question of a query (a pointer there could only point into the header).
    bool read_uncompressed(Bytes message, std::size_t& position);

    [[nodiscard]] Bytes wire() const { return {bytes_.data(), size_}; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] bool is_root() const { return size_ == 1; }
    [[nodiscard]] std::size_t labels() const;               ///< without the root label; 0 for the root
    [[nodiscard]] std::string_view first_label() const;     ///< empty for the root; lives as long as this name
    [[nodiscard]] Name parent() const;                      ///< without the first label; the root is its own parent
    [[nodiscard]] bool is_under(const Name& zone) const;    ///< the zone itself counts
    [[nodiscard]] bool identical(const Name& other) const;  ///< same bytes, case included
    [[nodiscard]] std::uint64_t hash() const;               ///< ignores case; equals Suffixes(*this).hash(0)
    void fold();                                            ///< to lower case (ASCII only)

    friend bool operator==(const Name& a, const Name& b);  ///< ignores case (RFC 4343)

private:
    std::array<std::uint8_t, max_size + 9> bytes_;  ///< hashing reads whole words, up to eight bytes past the end
    std::uint8_t size_ = 1;
};

/// "www.example.com" without the last dot ("." for the root); dots, backslashes and quotes inside labels as \., other
/// unprintable bytes as \DDD: safe in a log, and Name::parse reads it back.
std::string to_string(const Name& name);

/// Wire-form names (or parts of names of the same length), ASCII case ignored.
bool equal_folded(Bytes a, Bytes b);
/// The order of such names: shorter ones first, then by their bytes, ASCII case ignored.
std::strong_ordering compare_folded(Bytes a, Bytes b);
/// Copies `from` to `to` (same length) in lower case. Length bytes are below 'A' and stay as they are.
void fold(Bytes from, std::uint8_t* to);

/// Every suffix of a name with its hash, computed in one pass from the right: what all look-ups of one query share.
/// Suffix 0 is the whole name, suffix labels() is the root. Keeps a reference to the name.
class Suffixes {
public:
    explicit Suffixes(const Name& name);

    [[nodiscard]] std::size_t labels() const { return labels_; }
    [[nodiscard]] std::uint64_t hash(std::size_t i) const { return hashes_[i]; }
    [[nodiscard]] Bytes wire(std::size_t i) const { return name_.wire().subspan(offsets_[i]); }
    [[nodiscard]] const Name& name() const { return name_; }

private:
    const Name& name_;
    std::size_t labels_ = 0;
    std::array<std::uint64_t, Name::max_labels + 1> hashes_;
    std::array<std::uint8_t, Name::max_labels + 1> offsets_;
};

/// Writes names into one message, compressed against what this compressor wrote there before (RFC 1035 section 4.1.4).
/// Remembers up to 32 suffixes; further names are written in full, which is always right.
class Compressor {
public:
    /// Remembers a name that is already in the message at `position`, such as the question at 12.
    void remember(const Name& name, std::size_t position);
    void write(Writer& writer, const Name& name);

private:
    struct Seen {
        std::uint64_t hash;
        std::uint16_t position;
    };
    std::array<Seen, 32> seen_;
    std::size_t count_ = 0;
};

}  // namespace vmrouter::dns
