#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/name.hpp"

namespace vmrouter::dns {

/// One entry of `block_domains` or `allow_domains`: "ads.example" is that name alone, "*.ads.example" everything below
/// it,
/// ".ads.example" both.
struct DomainPattern {
    Name name;
    bool itself = true;  ///< matches the name
    bool below = false;  ///< matches what is under it

    static std::optional<DomainPattern> parse(std::string_view text);
    friend bool operator==(const DomainPattern&, const DomainPattern&) = default;
};

/// A block list of a million names in eight bytes each: sorted 64-bit hashes behind an index. Names are not kept, since
/// two that collide (one chance in 10^13 for a million names) would cost no more than one name blocked too many.
class Blocklist {
public:
    /// Adds the names of a hosts-format text ("0.0.0.0 ads.example tracker.example # why"), one name a line, or
    /// adblock-free domain lists; patterns with "*." and "." are understood. The names that every hosts file has
    /// (localhost, broadcasthost, ip6-allnodes, ...) are left out. Returns how many lines made no sense.
    std::size_t add_hosts(std::string_view text);
    void add(const DomainPattern& pattern);
    /// Sorts and builds the index; look-ups before it is done find nothing, and nothing is added after it has begun.
    void finish() {
        while (finish_some()) {
        }
    }
    /// The same a piece at a time: a millionth name costs no more than the first to whoever waits meanwhile. False when
    /// all is done.
    bool finish_some() { return names_.finish_some() || below_.finish_some(); }

    /// Which suffix of the name is on the list (0: the name itself); nullopt when none is.
    [[nodiscard]] std::optional<std::size_t> find(const Suffixes& suffixes) const;

    [[nodiscard]] std::size_t size() const { return names_.size() + below_.size(); }  ///< when it is finished
    [[nodiscard]] std::size_t bytes() const;                                          ///< of memory held

private:
    /// Hashes are collected in parts by their top bits; one part after the other is then sorted and appended.
    class HashSet {
    public:
        void add(std::uint64_t hash);
        bool finish_some();
        [[nodiscard]] bool contains(std::uint64_t hash) const;
        [[nodiscard]] std::size_t size() const { return hashes_.size(); }
        [[nodiscard]] std::size_t bytes() const;

    private:
        static constexpr unsigned part_bits = 10;
        static constexpr std::size_t part_count = std::size_t{1} << part_bits;

        void begin();
        void take(std::size_t part);

        std::vector<std::vector<std::uint64_t>> parts_;  ///< empty before the first hash and when all is done
        std::size_t next_part_ = 0;
        std::vector<std::uint64_t> hashes_;
        std::vector<std::uint32_t> index_;  ///< by the top bits: where they begin in hashes_
        unsigned shift_ = 0;
    };

    HashSet names_;  ///< matched by the name itself
    HashSet below_;  ///< matched by everything under it
};

}  // namespace vmrouter::dns
