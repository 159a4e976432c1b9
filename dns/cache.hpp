#pragma once

// Answers by question. Each is one block of memory: the folded name, the message as it is sent, the offsets of its
// TTLs; a hit is a hash, one comparison, one copy and the patches of write_answer(). Bounded by entries and by bytes,
// the least recently used goes first.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dns/response.hpp"
#include "src/base/clock.hpp"

namespace vmrouter::dns {

struct CacheLimits {
    std::size_t entries = 10000;             ///< 0: keep nothing
    std::size_t bytes = 32 * 1024 * 1024;    ///< of all entries together, overhead included
    std::uint32_t max_ttl = 86400;           ///< seconds; longer TTLs are kept and shown as this
    std::uint32_t max_negative_ttl = 10800;  ///< RFC 2308 section 5: one to three hours
    std::uint32_t stale_window = 86400;      ///< RFC 8767: how long after its end an answer may still be served
    std::uint32_t stale_ttl = 30;            ///< RFC 8767 section 4: the TTL it is served with
};

struct CacheStatistics {
    std::uint64_t insertions = 0;
    std::uint64_t evictions = 0;  ///< pushed out before their time, by size or by number
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t stale = 0;  ///< answers served after their end
};

class Cache {
public:
    explicit Cache(CacheLimits limits = {});
    ~Cache();
    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;

    /// Writes the reply into `out` (see write_answer for `limit`) and returns its size, or 0 on a miss. `suffixes` are
    /// those of query.question.name. Counts a hit or a miss. An NXDOMAIN answers every type of its name (RFC
    /// 2308 section 5) and of every name below it (RFC 8020), but for names in a zone that is asked elsewhere than the
    /// NXDOMAIN's: of the suffixes of the name (see Suffixes) only those up to `top` are looked at. Only classes IN are
    /// kept. No allocation, but for a name below.
    std::size_t answer(const Query& query, const Suffixes& suffixes, Monotonic now, std::span<std::uint8_t> out,
                       std::size_t limit, std::size_t top = Name::max_labels);
    /// The same, `hash` being that of suffix 0, from an answer that has ended within the stale window (or still lives),
    /// marked with an Extended DNS Error; for when every upstream is down. Does not count a miss.
    std::size_t answer_stale(const Query& query, std::uint64_t hash, Monotonic now, std::span<std::uint8_t> out,
                             std::size_t limit);

    /// Keeps an answer for its lifetime, within the limits; replaces what was there. Not kept: lifetime 0 (so TTL 0,
    /// SERVFAIL, REFUSED; of these what says that the name is there or is not takes the old answer away), truncated
    /// ones, answers to queries without RD, an answer larger than a quarter of the whole cache.
    void store(const Question& question, const Answer& answer, Monotonic now) {
        store(question, question.name.hash(), answer, now);
    }
    void store(const Question& question, std::uint64_t hash, const Answer& answer, Monotonic now);

    void flush();                  ///< everything: the upstreams or the blocked networks changed
    void flush_negative();         ///< NXDOMAIN and no data: a network came up, a name may exist now
    void flush(const Name& zone);  ///< the zone and everything under it: a route changed

    [[nodiscard]] const CacheStatistics& statistics() const { return statistics_; }
    [[nodiscard]] const CacheLimits& limits() const { return limits_; }
    [[nodiscard]] std::size_t size() const { return size_; }    ///< entries
    [[nodiscard]] std::size_t bytes() const { return bytes_; }  ///< of all entries, overhead included

private:
    struct Entry;
    static constexpr std::uint32_t none = 0xffffffff;

    Entry* find(const Question& question, Bytes name, Type type, std::uint64_t hash);
    Entry* find_nothing_above(const Question& question, const Suffixes& suffixes, Monotonic now, std::size_t top);
    std::size_t reply_below(Entry& entry, const Query& query, const Age& age, std::span<std::uint8_t> out,
                            std::size_t limit);
    void use(Entry& entry);
    std::size_t reply(Entry& entry, const Query& query, const Age& age, std::span<std::uint8_t> out, std::size_t limit);
    void fill(Entry& entry, const Answer& answer) const;
    void insert(Entry&& entry, Monotonic now);
    void link_newest(std::uint32_t index);
    void unlink(std::uint32_t index);
    void evict(std::uint32_t index, Monotonic now);
    void remove(std::uint32_t index);
    template <class Predicate>
    void remove_if(Predicate predicate);

    CacheLimits limits_;
    CacheStatistics statistics_;
    std::vector<Entry> entries_;          ///< grows up to limits_.entries
    std::vector<std::uint32_t> buckets_;  ///< heads of the chains, a power of two of them
    std::uint32_t free_ = none;           ///< chain of unused entries
    std::uint32_t newest_ = none;
    std::uint32_t oldest_ = none;
    std::size_t size_ = 0;
    std::size_t bytes_ = 0;
    std::size_t nothings_ = 0;  ///< entries that speak for the names below them
    Answer below_;              ///< such an entry's message, for another name
};

}  // namespace vmrouter::dns
