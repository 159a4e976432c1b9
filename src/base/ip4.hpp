#pragma once

// IPv4 and Ethernet addresses as values in host byte order. Text is parsed strictly (four decimal parts without leading
// zeros) and always re-formatted from the value, so that what reaches nftables, files and logs is what we understood.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace vmrouter {

struct Ipv4 {
    std::uint32_t value = 0;  ///< host byte order

    constexpr Ipv4() = default;
    constexpr explicit Ipv4(std::uint32_t host_order) : value(host_order) {}
    constexpr Ipv4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d)
        : value((std::uint32_t{a} << 24) | (std::uint32_t{b} << 16) | (std::uint32_t{c} << 8) | d) {}

    /// "192.168.0.1"; nothing else is accepted (no names, no short, octal or hexadecimal forms).
    static std::optional<Ipv4> parse(std::string_view text);

    [[nodiscard]] constexpr bool is_unspecified() const { return value == 0; }
    [[nodiscard]] constexpr bool is_broadcast() const { return value == 0xffffffff; }
    [[nodiscard]] constexpr bool is_multicast() const { return (value >> 28) == 0xe; }
    [[nodiscard]] constexpr bool is_loopback() const { return (value >> 24) == 127; }

    friend constexpr auto operator<=>(Ipv4, Ipv4) = default;
};

/// An address together with its prefix length. The address may have host bits ("192.168.100.1/24" is ours on a
/// segment).
struct Cidr {
    Ipv4 address;
    std::uint8_t length = 32;  ///< 0 to 32

    /// "10.0.0.0/8" or a bare address (/32); nullopt for anything else, prefix lengths over 32 included.
    static std::optional<Cidr> parse(std::string_view text);

    [[nodiscard]] constexpr std::uint32_t mask() const { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }
    [[nodiscard]] constexpr Ipv4 netmask() const { return Ipv4{mask()}; }
    [[nodiscard]] constexpr Ipv4 first() const { return Ipv4{address.value & mask()}; }
    /// The last address of the prefix; on a segment shorter than /31 that is its directed broadcast address.
    [[nodiscard]] constexpr Ipv4 last() const { return Ipv4{address.value | ~mask()}; }
    /// The same prefix with the host bits cleared.
    [[nodiscard]] constexpr Cidr network() const { return {first(), length}; }
    [[nodiscard]] constexpr bool contains(Ipv4 other) const {
        return (other.value & mask()) == (address.value & mask());
    }
    [[nodiscard]] constexpr bool covers(const Cidr& other) const {
        return other.length >= length && contains(other.address);
    }
    [[nodiscard]] constexpr bool overlaps(const Cidr& other) const { return covers(other) || other.covers(*this); }
    [[nodiscard]] constexpr std::uint64_t size() const { return std::uint64_t{1} << (32 - length); }

    friend constexpr auto operator<=>(const Cidr&, const Cidr&) = default;
};

struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    /// "52:54:00:12:34:56", either case; nullopt for anything else (dashes and bare digits included).
    static std::optional<MacAddress> parse(std::string_view text);
    static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }

    [[nodiscard]] constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
    [[nodiscard]] constexpr bool is_zero() const { return bytes == std::array<std::uint8_t, 6>{}; }

    friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

std::string to_string(Ipv4 address);
std::string to_string(const Cidr& cidr);  ///< always with the prefix length
std::string to_string(const MacAddress& mac);

}  // namespace vmrouter

template <>
struct std::hash<vmrouter::Ipv4> {
    std::size_t operator()(vmrouter::Ipv4 address) const noexcept {
        return static_cast<std::size_t>(address.value * 0x9e3779b97f4a7c15ULL >> 16);
    }
};

template <>
struct std::hash<vmrouter::MacAddress> {
    std::size_t operator()(const vmrouter::MacAddress& mac) const noexcept {
        std::uint64_t value = 0;
        for (const auto byte : mac.bytes) value = (value << 8) | byte;
        return static_cast<std::size_t>(value * 0x9e3779b97f4a7c15ULL >> 12);
    }
};
