#include "firewall/policy.hpp"

#include <algorithm>
#include <cassert>
#include <set>

#include "src/base/text.hpp"

namespace vmrouter::firewall {

std::vector<Cidr> reserved_ranges() {
    return {
        {Ipv4{0, 0, 0, 0}, 8},         // this network (RFC 1122)
        {Ipv4{127, 0, 0, 0}, 8},       // loopback
        {Ipv4{168, 63, 129, 16}, 32},  // Azure's host agent
        {Ipv4{169, 254, 0, 0}, 16},    // link-local, cloud metadata (RFC 3927)
        {Ipv4{224, 0, 0, 0}, 4},       // multicast
        {Ipv4{240, 0, 0, 0}, 4},       // reserved (RFC 1112), limited broadcast
    };
}

std::vector<Cidr> private_ranges() {
    return {
        {Ipv4{10, 0, 0, 0}, 8},      // RFC 1918
        {Ipv4{100, 64, 0, 0}, 10},   // shared address space (RFC 6598), also Tailscale's
        {Ipv4{172, 16, 0, 0}, 12},   // RFC 1918
        {Ipv4{192, 0, 0, 0}, 24},    // IETF protocol assignments (RFC 6890)
        {Ipv4{192, 168, 0, 0}, 16},  // RFC 1918
        {Ipv4{198, 18, 0, 0}, 15},   // benchmarking (RFC 2544)
    };
}

std::vector<Prefix6> blocked_ranges6() {
    const auto prefix = [](const char* address, std::uint8_t length) {
        return Prefix6{Ipv6::parse(address).value_or(Ipv6{}), length};
    };
    return {
        prefix("::", 3),       // unspecified, loopback, mapped (RFC 4291), NAT64 (RFC 6052, 8215)
        prefix("2001::", 32),  // Teredo (RFC 4380)
        prefix("2002::", 16),  // 6to4 (RFC 3056)
        prefix("fc00::", 7),   // unique local (RFC 4193)
        prefix("fe80::", 10),  // link-local
        prefix("fec0::", 10),  // site-local (RFC 3879)
        prefix("ff00::", 8),   // multicast
    };
}

bool can_name(std::string_view interface) {
    const auto is_plain = [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '"' && c != '*' && c != '\\';
    };
    return !interface.empty() && std::all_of(interface.begin(), interface.end(), is_plain) && is_utf8(interface);
}

std::vector<std::string> unnamed(const Policy& policy) {
    std::set<std::string> names(policy.side_links.begin(), policy.side_links.end());
    names.insert(policy.ports.begin(), policy.ports.end());
    for (const auto& uplink : policy.uplinks) names.insert(uplink.name);
    std::erase_if(names, [](const std::string& name) { return can_name(name); });
    return {names.begin(), names.end()};
}

std::string table_name(const std::string& instance) {
    return "vmrouter_" + instance;
}

std::uint16_t log_group(const std::string& instance) {
    std::uint32_t hash = 2166136261;  // FNV-1a
    for (const char c : instance) hash = (hash ^ static_cast<std::uint8_t>(c)) * 16777619;
    return static_cast<std::uint16_t>(1024 + hash % (65536 - 1024));
}

std::string to_string(Protocol protocol) {
    switch (protocol) {
        case Protocol::Icmp:
            return "icmp";
        case Protocol::Tcp:
            return "tcp";
        case Protocol::Udp:
            return "udp";
    }
    assert(false);
    return {};
}

std::string match(const Exception& allowed) {
    std::string words = "ip daddr " + to_string(allowed.destination.network());
    if (!allowed.protocol) return words;
    if (!allowed.ports) return words + " meta l4proto " + to_string(*allowed.protocol);
    words += " " + to_string(*allowed.protocol) + " dport " + std::to_string(allowed.ports->first);
    if (allowed.ports->last != allowed.ports->first) words += "-" + std::to_string(allowed.ports->last);
    return words;
}

std::string to_string(const Prefix6& prefix) {
    return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

}  // namespace vmrouter::firewall
