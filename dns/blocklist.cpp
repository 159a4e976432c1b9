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

void Blocklist::finish() {
    names_.finish();
    below_.finish();
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

void Blocklist::HashSet::finish() {
    std::sort(hashes_.begin(), hashes_.end());
    hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
    hashes_.shrink_to_fit();

    // About eight hashes share an entry of the index.
    const std::size_t entries = std::bit_ceil(std::max<std::size_t>(hashes_.size() / 8, 2));
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(entries));
    index_.assign(entries + 1, static_cast<std::uint32_t>(hashes_.size()));
    for (std::size_t i = hashes_.size(); i-- > 0;) index_[hashes_[i] >> shift_] = static_cast<std::uint32_t>(i);
    for (std::size_t i = entries; i-- > 0;) index_[i] = std::min(index_[i], index_[i + 1]);
}

bool Blocklist::HashSet::contains(std::uint64_t hash) const {
    if (index_.empty()) return false;
    const std::size_t entry = hash >> shift_;
    for (std::size_t i = index_[entry]; i < index_[entry + 1] && hashes_[i] <= hash; ++i)
        if (hashes_[i] == hash) return true;
    return false;
}

std::size_t Blocklist::HashSet::bytes() const {
    return hashes_.capacity() * sizeof(std::uint64_t) + index_.capacity() * sizeof(std::uint32_t);
}

}  // namespace vmrouter::dns
