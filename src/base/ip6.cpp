#include "src/base/ip6.hpp"

#include <arpa/inet.h>

#include <algorithm>

namespace vmrouter {

std::optional<Ipv6> Ipv6::parse(std::string_view text) {
    const std::string terminated(text);
    Ipv6 address;
    if (terminated.size() != text.size() || inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) != 1)
        return std::nullopt;
    return address;
}

std::optional<Ipv4> Ipv6::embedded_ipv4() const {
    const auto at = [this](std::size_t i) { return Ipv4{bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]}; };
    const auto starts_with = [this](std::initializer_list<std::uint8_t> prefix) {
        return std::equal(prefix.begin(), prefix.end(), bytes.begin());
    };
    if (starts_with({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})) return at(12);
    if (starts_with({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) {
        const Ipv4 low = at(12);
        if (low.value > 1) return low;  // :: and ::1 are no IPv4-compatible addresses
        return std::nullopt;
    }
    if (starts_with({0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return at(12);
    if (starts_with({0, 0x64, 0xff, 0x9b, 0, 1})) return Ipv4{bytes[6], bytes[7], bytes[9], bytes[10]};
    if (starts_with({0x20, 0x02})) return at(2);
    return std::nullopt;
}

std::string to_string(const Ipv6& address) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, address.bytes.data(), text, sizeof text);
    return text;
}

std::string to_string(const IpAddress& address) {
    return std::visit([](const auto& one) { return to_string(one); }, address);
}

}  // namespace vmrouter
