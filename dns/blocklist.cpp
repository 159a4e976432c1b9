#include "dns/blocklist.hpp"

#include <algorithm>
#include <bit>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dns {
namespace {

/// What every hosts file begins with; blocking these would only break things.
constexpr std::string_view own_names[] = {
    "localhost",    "localhost.localdomain", "local",        "broadcasthost",  "ip6-localhost", "ip6-loopback",
    "ip6-localnet", "ip6-mcastprefix",       "ip6-allnodes", "ip6-allrouters", "ip6-allhosts",
};

bool is_address(std::string_view text) {
    return Ipv4::parse(text) || (text.find(':') != std::string_view::npos && Ipv6::parse(text));
}

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/// The next word of the line, which loses it; empty at the end.
std::string_view take_word(std::string_view& line) {
    while (!line.empty() && is_space(line.front())) line.remove_prefix(1);
    std::size_t size = 0;
    while (size < line.size() && !is_space(line[size])) ++size;
    const std::string_view word = line.substr(0, size);
    line.remove_prefix(size);
    return word;
}

}  // namespace

std::optional<DomainPattern> DomainPattern::parse(std::string_view text) {
    DomainPattern pattern;
    if (text.starts_with("*.")) {
        pattern.itself = false;
        pattern.below = true;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text.starts_with('.')) {
        pattern.below = true;
        text.remove_prefix(1);
    }
    // A name without wildcards in it: "ads.*.example" or "*ads.example" would be taken for what they are not.
    if (text.find('*') != std::string_view::npos) return std::nullopt;
    const auto name = Name::parse(text);
    if (!name || name->is_root()) return std::nullopt;
    pattern.name = *name;
    return pattern;
}

std::size_t Blocklist::add_hosts(std::string_view text) {
    std::size_t bad = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        line = line.substr(0, line.find('#'));

        std::string_view word = take_word(line);
        if (word.empty() || word.front() == '!') continue;
        if (is_address(word)) word = take_word(line);
        bool good = !word.empty();
        for (; !word.empty(); word = take_word(line)) {
            if (is_address(word) || std::find(std::begin(own_names), std::end(own_names), word) != std::end(own_names))
                continue;
            const auto pattern = DomainPattern::parse(word);
            if (pattern)
                add(*pattern);
            else
                good = false;
        }
        if (!good) ++bad;
    }
    return bad;
}

void Blocklist::add(const DomainPattern& pattern) {
    const std::uint64_t hash = pattern.name.hash();
    if (pattern.itself) names_.add(hash);
    if (pattern.below) below_.add(hash);
}

std::optional<std::size_t> Blocklist::find(const Suffixes& suffixes) const {
    if (names_.contains(suffixes.hash(0))) return 0;
    if (below_.size() == 0) return std::nullopt;
    for (std::size_t i = 1; i < suffixes.labels(); ++i)
        if (below_.contains(suffixes.hash(i))) return i;
    return std::nullopt;
}

std::size_t Blocklist::bytes() const {
    return names_.bytes() + below_.bytes();
}

void Blocklist::HashSet::add(std::uint64_t hash) {
    if (parts_.empty()) parts_.resize(part_count);
    parts_[hash >> (64 - part_bits)].push_back(hash);
}

bool Blocklist::HashSet::finish_some() {
    if (parts_.empty()) return false;
    if (index_.empty()) begin();
    while (next_part_ < part_count && parts_[next_part_].empty()) take(next_part_++);
    if (next_part_ < part_count) take(next_part_++);
    if (next_part_ < part_count) return true;
    parts_ = {};
    return false;
}

void Blocklist::HashSet::begin() {
    std::size_t count = 0;
    for (const auto& part : parts_) count += part.size();
    hashes_.reserve(count);
    // About eight hashes share an entry of the index, and each part has at least one.
    const std::size_t entries = std::bit_ceil(std::max(count / 8, part_count));
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(entries));
    index_.reserve(entries + 1);
    index_.push_back(0);
}

/// The index is always built up to the end of the parts that were taken.
void Blocklist::HashSet::take(std::size_t part) {
    auto& hashes = parts_[part];
    std::sort(hashes.begin(), hashes.end());
    hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
    const std::size_t end = (part + 1) << (64 - part_bits - shift_);
    for (const std::uint64_t hash : hashes) {
        while (index_.size() <= hash >> shift_) index_.push_back(static_cast<std::uint32_t>(hashes_.size()));
        hashes_.push_back(hash);
    }
    while (index_.size() <= end) index_.push_back(static_cast<std::uint32_t>(hashes_.size()));
    hashes = {};
}

bool Blocklist::HashSet::contains(std::uint64_t hash) const {
    if (index_.empty() || !parts_.empty()) return false;
    const std::size_t entry = hash >> shift_;
    for (std::size_t i = index_[entry]; i < index_[entry + 1] && hashes_[i] <= hash; ++i)
        if (hashes_[i] == hash) return true;
    return false;
}

std::size_t Blocklist::HashSet::bytes() const {
    return hashes_.capacity() * sizeof(std::uint64_t) + index_.capacity() * sizeof(std::uint32_t);
}

}  // namespace vmrouter::dns
