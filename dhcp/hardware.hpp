#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

/// What htype, hlen and chaddr of a message say together (RFC 2131 section 2). Any ARP hardware type, 0 to 16 bytes;
/// bytes past `length` are zero.
struct HardwareAddress {
    static constexpr std::uint8_t ethernet = 1;
    static constexpr std::size_t most = 16;  ///< bytes

    std::uint8_t type = ethernet;
    std::uint8_t length = 0;
    std::array<std::uint8_t, most> bytes{};

    HardwareAddress() = default;
    explicit HardwareAddress(const MacAddress& mac);
    /// At most the first 16 bytes are taken.
    HardwareAddress(std::uint8_t hardware_type, Bytes address);

    [[nodiscard]] Bytes view() const { return Bytes{bytes}.first(length); }
    [[nodiscard]] bool empty() const { return length == 0; }
    /// The address of an Ethernet client; nullopt for any other type or length.
    [[nodiscard]] std::optional<MacAddress> mac() const;

    /// The form of dnsmasq's leases file: "52:54:00:cc:00:01"; types but Ethernet, and empty addresses, are prefixed
    /// with the type in hexadecimal: "06-52:54:00:cc:00:01", "01-". Nothing else is accepted, either case.
    static std::optional<HardwareAddress> parse(std::string_view text);

    friend auto operator<=>(const HardwareAddress&, const HardwareAddress&) = default;
};

/// As HardwareAddress::parse reads it, lower case.
std::string to_string(const HardwareAddress& address);

/// A hash of bytes that guests choose; `seed` keeps them from choosing collisions.
std::uint64_t hash_bytes(Bytes bytes, std::uint64_t seed);

}  // namespace vmrouter::dhcp
