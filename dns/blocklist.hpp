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
    /// Sorts and builds the index; look-ups before it find nothing.
    void finish();

    /// Which suffix of the name is on the list (0: the name itself); nullopt when none is.
    [[nodiscard]] std::optional<std::size_t> find(const Suffixes& suffixes) const;

    [[nodiscard]] std::size_t size() const { return names_.size() + below_.size(); }
    [[nodiscard]] std::size_t bytes() const;  ///< of memory held

private:
    class HashSet {
    public:
        void add(std::uint64_t hash) { hashes_.push_back(hash); }
        void finish();
        [[nodiscard]] bool contains(std::uint64_t hash) const;
        [[nodiscard]] std::size_t size() const { return hashes_.size(); }
        [[nodiscard]] std::size_t bytes() const;

    private:
        std::vector<std::uint64_t> hashes_;
        std::vector<std::uint32_t> index_;  ///< by the top bits: where they begin in hashes_
        unsigned shift_ = 0;
    };

    HashSet names_;  ///< matched by the name itself
    HashSet below_;  ///< matched by everything under it
};

}  // namespace vmrouter::dns
