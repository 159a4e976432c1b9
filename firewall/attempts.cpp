// What nflog tells about a refused packet, and how often each was tried: no sockets here.

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "firewall/blocked.hpp"
#include "firewall/netfilter_message.hpp"
#include "src/base/text.hpp"

namespace vmrouter::firewall {

namespace {

constexpr std::string_view prefix_of_ours = "vmrouter:";

constexpr std::uint8_t icmp6 = 58;

Ipv6 read_ip6_address(Reader& reader) {
    Ipv6 address;
    for (auto& byte : address.bytes) byte = reader.u8();
    return address;
}

void read_ip(Attempt& attempt, Bytes payload) {
    Reader reader(payload);
    const std::uint8_t version = reader.u8();
    if (version >> 4 == 4) {
        reader.skip(8);
        attempt.protocol = reader.u8();
        reader.skip(2);
        attempt.source = Ipv4{reader.u32()};
        attempt.destination = Ipv4{reader.u32()};
        reader.seek(std::size_t{version & 0x0fU} * 4);
    } else if (version >> 4 == 6) {
        reader.skip(5);
        attempt.protocol = reader.u8();  // of the first header; our processes send no others
        reader.skip(1);
        attempt.source = read_ip6_address(reader);
        attempt.destination = read_ip6_address(reader);
    } else {
        return;
    }
    if (attempt.protocol == static_cast<std::uint8_t>(Protocol::Icmp) || attempt.protocol == icmp6) {
        attempt.port = reader.u8();
    } else if (attempt.protocol == static_cast<std::uint8_t>(Protocol::Tcp) ||
               attempt.protocol == static_cast<std::uint8_t>(Protocol::Udp)) {
        reader.skip(2);
        attempt.port = reader.u16();
    }
}

/// RFC 826: hardware type, protocol type, lengths, operation, then the four addresses.
void read_arp(Attempt& attempt, Bytes payload) {
    Reader reader(payload);
    reader.skip(8 + 6);
    attempt.source = Ipv4{reader.u32()};
    reader.skip(6);
    attempt.destination = Ipv4{reader.u32()};
}

std::optional<Attempt> parse_attempt(const nlmsghdr& message) {
    if (message.nlmsg_type != ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)) return std::nullopt;
    const auto attributes = netfilter_attributes(message, NFULA_MAX + 1);
    const Bytes raw = attribute_bytes(attributes[NFULA_PREFIX]);
    const std::string_view text(reinterpret_cast<const char*>(raw.data()), raw.size());
    const std::string_view prefix = text.substr(0, text.find('\0'));
    if (prefix.substr(0, prefix_of_ours.size()) != prefix_of_ours) return std::nullopt;

    Attempt attempt;
    attempt.reason = trim(prefix.substr(prefix_of_ours.size()));
    const Bytes hardware = attribute_bytes(attributes[NFULA_HWADDR]);
    if (Reader length(hardware); length.u16() == attempt.guest.bytes.size() && hardware.size() >= 10)
        std::copy_n(hardware.begin() + 4, attempt.guest.bytes.size(), attempt.guest.bytes.begin());
    const std::uint16_t ether_type = attribute_u16(attributes[NFULA_PACKET_HDR]);
    const Bytes payload = attribute_bytes(attributes[NFULA_PAYLOAD]);
    if (ether_type == ETH_P_ARP)
        read_arp(attempt, payload);
    else
        read_ip(attempt, payload);
    return attempt;
}

/// What makes two attempts the same, for counting.
auto key(const Attempt& a) {
    return std::tie(a.guest, a.destination, a.protocol, a.port, a.reason);
}

}  // namespace

std::vector<Attempt> parse_attempts(Bytes datagram) {
    // Headers are read in place, so they must be aligned.
    std::vector<std::uint64_t> aligned((datagram.size() + 7) / 8);
    if (!datagram.empty()) std::memcpy(aligned.data(), datagram.data(), datagram.size());
    std::vector<Attempt> attempts;
    int left = static_cast<int>(datagram.size());
    for (auto* message = reinterpret_cast<nlmsghdr*>(aligned.data()); nlmsg_ok(message, left);
         message = nlmsg_next(message, &left)) {
        if (auto attempt = parse_attempt(*message)) attempts.push_back(std::move(*attempt));
    }
    return attempts;
}

bool Tallies::add(const Attempt& attempt, Time now) {
    ++total_;
    const auto at = std::lower_bound(tallies_.begin(), tallies_.end(), attempt,
                                     [](const Tally& t, const Attempt& a) { return key(t.attempt) < key(a); });
    if (at != tallies_.end() && key(at->attempt) == key(attempt)) {
        at->attempt.source = attempt.source;
        at->last = now;
        ++at->count;
        return false;
    }
    tallies_.insert(at, {attempt, 1, now, now});
    const auto make_room = [this](auto from, auto to, std::size_t limit) {
        if (static_cast<std::size_t>(to - from) <= limit) return;
        tallies_.erase(std::min_element(from, to, [](const Tally& a, const Tally& b) { return a.last < b.last; }));
    };
    // The guest comes first in the order, so what is its own lies together.
    const auto mine = [](const Tally& t, const MacAddress& guest) { return t.attempt.guest < guest; };
    const auto first = std::lower_bound(tallies_.begin(), tallies_.end(), attempt.guest, mine);
    const auto last =
        std::find_if(first, tallies_.end(), [&](const Tally& t) { return t.attempt.guest != attempt.guest; });
    make_room(first, last, guest_limit_);
    make_room(tallies_.begin(), tallies_.end(), limit_);
    return true;
}

std::vector<Tally> Tallies::list() const {
    auto sorted = tallies_;
    std::stable_sort(sorted.begin(), sorted.end(), [](const Tally& a, const Tally& b) { return a.last > b.last; });
    return sorted;
}

}  // namespace vmrouter::firewall
