#include "dns/endpoint.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>

#include <cstring>

#include "src/base/text.hpp"

namespace vmrouter::dns {

namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) {
    const auto number = parse_number(text, 65535);
    if (!number || *number == 0) return std::nullopt;
    return static_cast<std::uint16_t>(*number);
}

/// The address part, with its zone for IPv6.
bool parse_address(std::string_view text, Endpoint& endpoint) {
    if (const auto ip4 = Ipv4::parse(text)) {
        if (ip4->is_unspecified() || ip4->is_broadcast() || ip4->is_multicast()) return false;
        endpoint.address = *ip4;
        return true;
    }
    const auto percent = text.find('%');
    const auto ip6 = Ipv6::parse(text.substr(0, percent));
    if (!ip6 || *ip6 == Ipv6{} || ip6->bytes[0] == 0xff) return false;
    endpoint.address = *ip6;
    if (percent != std::string_view::npos) {
        const auto zone = text.substr(percent + 1);
        if (!is_interface_name(zone)) return false;
        endpoint.zone = zone;
    }
    return true;
}

unsigned zone_index(const std::string& zone) {
    if (const auto number = parse_number(zone, UINT32_MAX)) return static_cast<unsigned>(*number);
    return if_nametoindex(zone.c_str());
}

}  // namespace

std::optional<Endpoint> Endpoint::parse(std::string_view text) {
    Endpoint endpoint;
    std::optional<std::string_view> port;
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        const auto rest = text.substr(end + 1);
        if (!rest.empty()) {
            if (rest.front() != ':') return std::nullopt;
            port = rest.substr(1);
        }
        text = text.substr(1, end - 1);
        if (text.find(':') == std::string_view::npos) return std::nullopt;  // brackets are for IPv6
    } else if (const auto colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
        port = text.substr(colon + 1);
        text = text.substr(0, colon);
    }
    if (port) {
        const auto number = parse_port(*port);
        if (!number) return std::nullopt;
        endpoint.port = *number;
    }
    if (!parse_address(text, endpoint)) return std::nullopt;
    return endpoint;
}

bool Endpoint::is_loopback() const {
    if (const auto* ip4 = std::get_if<Ipv4>(&address)) return ip4->is_loopback();
    constexpr Ipv6 loopback{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    return std::get<Ipv6>(address) == loopback;
}

socklen_t Endpoint::fill(sockaddr_storage& storage) const {
    storage = {};
    if (const auto* ip4 = std::get_if<Ipv4>(&address)) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        in.sin_addr.s_addr = htonl(ip4->value);
        std::memcpy(&storage, &in, sizeof in);
        return sizeof in;
    }
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    std::memcpy(&in6.sin6_addr, std::get<Ipv6>(address).bytes.data(), 16);
    if (!zone.empty()) {
        in6.sin6_scope_id = zone_index(zone);
        if (in6.sin6_scope_id == 0) return 0;
    }
    std::memcpy(&storage, &in6, sizeof in6);
    return sizeof in6;
}

std::string to_string(const Endpoint& endpoint) {
    const bool other_port = endpoint.port != 53;
    std::string text;
    if (const auto* ip4 = std::get_if<Ipv4>(&endpoint.address)) {
        text = to_string(*ip4);
    } else {
        text = to_string(std::get<Ipv6>(endpoint.address));
        if (!endpoint.zone.empty()) text.append("%").append(endpoint.zone);
        if (other_port) text.insert(0, 1, '[').push_back(']');
    }
    if (other_port) text += ':' + std::to_string(endpoint.port);
    return text;
}

}  // namespace vmrouter::dns
