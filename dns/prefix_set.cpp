#include "dns/prefix_set.hpp"

#include <algorithm>
#include <optional>

namespace vmrouter::dns {
namespace {

bool starts_with(const Ipv6& address, const Ipv6& prefix, std::uint8_t length) {
    const std::size_t whole = length / 8;
    if (!std::equal(prefix.bytes.begin(), prefix.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                    address.bytes.begin()))
        return false;
    const unsigned rest = length % 8;
    return rest == 0 || ((address.bytes[whole] ^ prefix.bytes[whole]) >> (8 - rest)) == 0;
}

/// Never a host on the public internet (RFC 4291, 4193; site-local is deprecated by RFC 3879 but still routed by some).
bool is_local(const Ipv6& address) {
    const auto [first, second] = std::pair{address.bytes[0], address.bytes[1]};
    if (first == 0xff || (first & 0xfe) == 0xfc) return true;  // multicast; unique local
    if (first == 0xfe && second >= 0x80) return true;          // link-local, site-local
    return std::all_of(address.bytes.begin(), address.bytes.end() - 1, [](std::uint8_t byte) { return byte == 0; }) &&
           address.bytes[15] <= 1;  // :: and ::1
}

/// The host at the end of the older tunnels: SIIT (RFC 2765, ::ffff:0:a.b.c.d), ISATAP (RFC 5214, 5efe in any prefix)
/// and Teredo (RFC 4380, the client's address with its bits turned round).
std::optional<Ipv4> tunnelled_ipv4(const Ipv6& address) {
    const auto& bytes = address.bytes;
    const Ipv4 last{bytes[12], bytes[13], bytes[14], bytes[15]};
    constexpr Ipv6 siit{{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}};
    constexpr Ipv6 teredo{{0x20, 0x01, 0, 0}};
    if (starts_with(address, siit, 96)) return last;
    if ((bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe) return last;
    if (starts_with(address, teredo, 32)) return Ipv4{~last.value};
    return std::nullopt;
}

}  // namespace

void PrefixSet::block(const Cidr& prefix) {
    blocked_.push_back(prefix.network());
}

void PrefixSet::block(const Ipv6& prefix, std::uint8_t length) {
    blocked6_.push_back({prefix, std::min<std::uint8_t>(length, 128)});
}

void PrefixSet::allow(const Cidr& prefix) {
    allowed_.push_back(prefix.network());
}

void PrefixSet::finish() {
    std::vector<Range> blocked;
    for (const Cidr& cidr : blocked_) blocked.push_back({cidr.first().value, cidr.last().value});
    std::sort(blocked.begin(), blocked.end(), [](Range a, Range b) { return a.first < b.first; });
    std::vector<Cidr> allowed = allowed_;
    std::sort(allowed.begin(), allowed.end(), [](const Cidr& a, const Cidr& b) { return a.first() < b.first(); });

    // In 64 bits, so that the end of a range that reaches 255.255.255.255 can be stepped over.
    ranges_.clear();
    std::uint64_t next = 0;  // everything below is done
    for (const Range& range : blocked) {
        std::uint64_t at = std::max<std::uint64_t>(next, range.first);
        for (const Cidr& hole : allowed) {
            if (hole.last().value < at || hole.first().value > range.last) continue;
            if (hole.first().value > at) ranges_.push_back({static_cast<std::uint32_t>(at), hole.first().value - 1});
            at = std::uint64_t{hole.last().value} + 1;
        }
        if (at <= range.last) ranges_.push_back({static_cast<std::uint32_t>(at), range.last});
        next = std::max<std::uint64_t>(next, std::uint64_t{range.last} + 1);
    }
}

bool PrefixSet::contains(Ipv4 address) const {
    const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address.value,
                                        [](std::uint32_t value, const Range& range) { return value < range.first; });
    return after != ranges_.begin() && address.value <= (after - 1)->last;
}

bool PrefixSet::contains(const Ipv6& address) const {
    if (is_local(address)) return true;
    if (const auto inner = address.embedded_ipv4(); inner && contains(*inner)) return true;
    if (const auto inner = tunnelled_ipv4(address); inner && contains(*inner)) return true;
    return std::any_of(blocked6_.begin(), blocked6_.end(),
                       [&](const Prefix6& prefix) { return starts_with(address, prefix.address, prefix.length); });
}

PrefixSet always_blocked() {
    PrefixSet set;
    for (const char* text :
         {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
          "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"})
        set.block(*Cidr::parse(text));
    return set;
}

}  // namespace vmrouter::dns
