#include "dns/cache.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace vmrouter::dns {
namespace {

/// An NXDOMAIN is kept under this type, which nobody may ask for (RFC 6895 section 3.1), for all types of its name.
constexpr Type every_type{0};

/// Names are a guest's choice: it may find many with one hash, and then pays for it alone.
constexpr std::size_t longest_chain = 16;

std::uint32_t read32(const std::uint8_t* from) {
    return std::uint32_t{from[0]} << 24 | std::uint32_t{from[1]} << 16 | std::uint32_t{from[2]} << 8 | from[3];
}

void write32(std::uint8_t* to, std::uint32_t value) {
    for (int i = 0; i < 4; ++i) to[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

}  // namespace

struct Cache::Entry {
    std::unique_ptr<std::uint16_t[]> block;  ///< the offsets of the TTLs, then the message; null: unused
    std::uint64_t hash = 0;
    Monotonic stored{};
    std::uint32_t lifetime = 0;
    std::uint32_t next = none;   ///< in the bucket, or in the chain of unused entries
    std::uint32_t newer = none;  ///< neighbours by last use
    std::uint32_t older = none;
    std::uint16_t wire_size = 0;
    std::uint16_t ttl_count = 0;
    std::uint8_t name_size = 0;
    Type type = Type::A;
    Rcode rcode = Rcode::NoError;
    bool dnssec_ok = false;
    bool checking_disabled = false;
    bool authenticated = false;
    bool negative = false;

    [[nodiscard]] const std::uint8_t* wire_data() const {
        return reinterpret_cast<const std::uint8_t*>(block.get() + ttl_count);
    }
    [[nodiscard]] AnswerView view() const {
        return {.wire = {wire_data(), wire_size},
                .ttls = {block.get(), ttl_count},
                .rcode = rcode,
                .authenticated = authenticated};
    }
    /// The question's name, in the case of whoever asked first.
    [[nodiscard]] Bytes name() const { return {wire_data() + header_size, name_size}; }
    [[nodiscard]] std::size_t cost() const {
        constexpr std::size_t heap = 16;  // what the allocator keeps beside a block
        return sizeof(Entry) + sizeof(std::uint32_t) + heap + wire_size + 2 * std::size_t{ttl_count};
    }
    [[nodiscard]] std::uint64_t age(Monotonic now) const {
        if (now <= stored) return 0;
        return static_cast<std::uint64_t>((now - stored).count()) / 1'000'000'000;
    }
    [[nodiscard]] bool lives(Monotonic now) const { return age(now) < lifetime; }
    /// There is nothing of this name nor below it (RFC 8020 section 2).
    [[nodiscard]] bool is_nothing() const { return type == every_type; }
};

Cache::Cache(CacheLimits limits) : limits_(limits) {
    limits_.entries = std::min<std::size_t>(limits_.entries, none - 1);
    buckets_.assign(std::bit_ceil(std::max<std::size_t>(limits_.entries, 1)), none);
}

Cache::~Cache() = default;

std::size_t Cache::answer(const Query& query, const Suffixes& suffixes, Monotonic now, std::span<std::uint8_t> out,
                          std::size_t limit, std::size_t top) {
    if (query.question.klass != Class::In) return 0;
    const std::uint64_t hash = suffixes.hash(0);
    const Bytes name = query.question.name.wire();
    Entry* entry = find(query.question, name, query.question.type, hash);
    if (entry == nullptr || !entry->lives(now)) entry = find(query.question, name, every_type, hash);
    const bool here = entry != nullptr && entry->lives(now);
    if (!here) entry = nothings_ > 0 ? find_nothing_above(query.question, suffixes, now, top) : nullptr;
    if (entry == nullptr) {
        ++statistics_.misses;
        return 0;
    }
    ++statistics_.hits;
    const Age age{.seconds = static_cast<std::uint32_t>(entry->age(now)), .cached = true};
    return here ? reply(*entry, query, age, out, limit) : reply_below(*entry, query, age, out, limit);
}

std::size_t Cache::answer_stale(const Query& query, std::uint64_t hash, Monotonic now, std::span<std::uint8_t> out,
                                std::size_t limit) {
    if (query.question.klass != Class::In) return 0;
    Entry* best = nullptr;
    for (const Type type : {query.question.type, every_type}) {
        Entry* entry = find(query.question, query.question.name.wire(), type, hash);
        if (entry == nullptr || entry->age(now) >= std::uint64_t{entry->lifetime} + limits_.stale_window) continue;
        // What was heard last counts: an NXDOMAIN that has ended tells more than an address that ended before it.
        if (best == nullptr || entry->stored > best->stored) best = entry;
    }
    if (best == nullptr) return 0;
    if (best->lives(now)) {
        const Age age{.seconds = static_cast<std::uint32_t>(best->age(now)), .cached = true};
        return reply(*best, query, age, out, limit);
    }
    ++statistics_.stale;
    const Age age{.ttl = limits_.stale_ttl,
                  .cached = true,
                  .ede = best->rcode == Rcode::NxDomain ? Ede::StaleNxdomain : Ede::StaleAnswer};
    return reply(*best, query, age, out, limit);
}

void Cache::store(const Question& question, std::uint64_t hash, const Answer& answer, Monotonic now) {
    if (answer.truncated || !question.recursion_desired || question.klass != Class::In || question.type == every_type ||
        answer.wire.size() > max_message_size || limits_.entries == 0)
        return;
    // Only an NXDOMAIN without a CNAME before it speaks of the question's own name (RFC 6604 section 2).
    const bool no_answers = answer.wire[6] == 0 && answer.wire[7] == 0;
    const Type type = answer.rcode == Rcode::NxDomain && no_answers ? every_type : question.type;
    if (answer.lifetime == 0) {
        // What may not be kept still takes the place of what was: that is not served as stale any more.
        if (answer.rcode != Rcode::NoError && answer.rcode != Rcode::NxDomain) return;
        for (const Type former : {question.type, every_type})
            if (Entry* old = find(question, question.name.wire(), former, hash))
                remove(static_cast<std::uint32_t>(old - entries_.data()));
        return;
    }

    Entry entry;
    entry.hash = hash;
    entry.stored = now;
    entry.lifetime = std::min(answer.lifetime, answer.negative ? limits_.max_negative_ttl : limits_.max_ttl);
    entry.wire_size = static_cast<std::uint16_t>(answer.wire.size());
    entry.ttl_count = static_cast<std::uint16_t>(answer.ttls.size());
    entry.name_size = static_cast<std::uint8_t>(question.name.size());
    entry.type = type;
    entry.rcode = answer.rcode;
    entry.dnssec_ok = question.dnssec_ok;
    entry.checking_disabled = question.checking_disabled;
    entry.authenticated = answer.authenticated;
    entry.negative = answer.negative;
    if (entry.cost() > limits_.bytes / 4) return;
    if (Entry* old = find(question, question.name.wire(), type, entry.hash))
        remove(static_cast<std::uint32_t>(old - entries_.data()));
    fill(entry, answer);
    insert(std::move(entry), now);
}

/// Copies the message; TTLs above what we keep are shown as what we keep (a negative answer's SOA by RFC 2308 section
/// 5).
void Cache::fill(Entry& entry, const Answer& answer) const {
    entry.block.reset(new std::uint16_t[entry.ttl_count + (std::size_t{entry.wire_size} + 1) / 2]);
    std::copy(answer.ttls.begin(), answer.ttls.end(), entry.block.get());
    auto* wire = reinterpret_cast<std::uint8_t*>(entry.block.get() + entry.ttl_count);
    std::memcpy(wire, answer.wire.data(), answer.wire.size());
    const std::uint32_t most = entry.negative ? entry.lifetime : limits_.max_ttl;
    for (const std::uint16_t offset : answer.ttls) write32(wire + offset, std::min(read32(wire + offset), most));
}

void Cache::insert(Entry&& entry, Monotonic now) {
    const std::size_t cost = entry.cost();
    while (size_ > 0 && (size_ >= limits_.entries || bytes_ + cost > limits_.bytes)) evict(oldest_, now);
    std::uint32_t& head = buckets_[entry.hash & (buckets_.size() - 1)];
    std::size_t chain = 0;
    std::uint32_t last = none;
    for (std::uint32_t at = head; at != none; at = entries_[at].next, ++chain) last = at;
    if (chain >= longest_chain) evict(last, now);

    std::uint32_t index = free_;
    if (index != none) {
        free_ = entries_[index].next;
    } else {
        index = static_cast<std::uint32_t>(entries_.size());
        entries_.emplace_back();
    }
    entry.next = head;
    head = index;
    nothings_ += entry.is_nothing() ? 1 : 0;
    entries_[index] = std::move(entry);
    link_newest(index);
    ++size_;
    bytes_ += cost;
    ++statistics_.insertions;
}

void Cache::flush() {
    entries_.clear();
    entries_.shrink_to_fit();
    std::fill(buckets_.begin(), buckets_.end(), none);
    free_ = newest_ = oldest_ = none;
    size_ = bytes_ = nothings_ = 0;
}

void Cache::flush_negative() {
    remove_if([](const Entry& entry) { return entry.negative; });
}

void Cache::flush(const Name& zone) {
    remove_if([&zone](const Entry& entry) {
        const auto name = Name::from_wire(entry.name());
        return name && name->is_under(zone);
    });
}

Cache::Entry* Cache::find(const Question& question, Bytes name, Type type, std::uint64_t hash) {
    for (std::uint32_t at = buckets_[hash & (buckets_.size() - 1)]; at != none; at = entries_[at].next) {
        Entry& entry = entries_[at];
        if (entry.hash == hash && entry.type == type && entry.dnssec_ok == question.dnssec_ok &&
            entry.checking_disabled == question.checking_disabled && equal_folded(entry.name(), name))
            return &entry;
    }
    return nullptr;
}

/// An NXDOMAIN of a name above this one.
Cache::Entry* Cache::find_nothing_above(const Question& question, const Suffixes& suffixes, Monotonic now,
                                        std::size_t top) {
    for (std::size_t i = 1; i < suffixes.labels() && i <= top; ++i) {
        Entry* entry = find(question, suffixes.wire(i), every_type, suffixes.hash(i));
        if (entry != nullptr && entry->is_nothing() && entry->lives(now)) return entry;
    }
    return nullptr;
}

std::size_t Cache::reply(Entry& entry, const Query& query, const Age& age, std::span<std::uint8_t> out,
                         std::size_t limit) {
    use(entry);
    return write_answer(entry.view(), query, age, out, limit);
}

/// The question is longer than the one that was kept, so the message is written anew around it.
std::size_t Cache::reply_below(Entry& entry, const Query& query, const Age& age, std::span<std::uint8_t> out,
                               std::size_t limit) {
    use(entry);
    if (!rewrite(
            entry.view().wire, query.question, [](const Record&) { return true; }, below_))
        return 0;
    below_.rcode = entry.rcode;
    below_.authenticated = entry.authenticated;
    return write_answer(below_.view(), query, age, out, limit);
}

void Cache::use(Entry& entry) {
    const auto index = static_cast<std::uint32_t>(&entry - entries_.data());
    if (index == newest_) return;
    unlink(index);
    link_newest(index);
}

void Cache::link_newest(std::uint32_t index) {
    entries_[index].newer = none;
    entries_[index].older = newest_;
    if (newest_ != none) entries_[newest_].newer = index;
    newest_ = index;
    if (oldest_ == none) oldest_ = index;
}

void Cache::unlink(std::uint32_t index) {
    const Entry& entry = entries_[index];
    (entry.newer != none ? entries_[entry.newer].older : newest_) = entry.older;
    (entry.older != none ? entries_[entry.older].newer : oldest_) = entry.newer;
}

void Cache::evict(std::uint32_t index, Monotonic now) {
    if (entries_[index].lives(now)) ++statistics_.evictions;
    remove(index);
}

void Cache::remove(std::uint32_t index) {
    Entry& entry = entries_[index];
    std::uint32_t* at = &buckets_[entry.hash & (buckets_.size() - 1)];
    while (*at != index) at = &entries_[*at].next;
    *at = entry.next;
    unlink(index);
    nothings_ -= entry.is_nothing() ? 1 : 0;
    --size_;
    bytes_ -= entry.cost();
    entry.block.reset();
    entry.next = free_;
    free_ = index;
}

template <class Predicate>
void Cache::remove_if(Predicate predicate) {
    for (std::uint32_t index = 0; index < entries_.size(); ++index)
        if (entries_[index].block && predicate(entries_[index])) remove(index);
}

}  // namespace vmrouter::dns
