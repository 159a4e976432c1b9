#pragma once

// The attributes of one netlink message or of a nested attribute, by number. Internal to src/link; views into the
// message.

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"

namespace vmrouter::link {

/// A copy of the fixed header of `message` (ifinfomsg, rtmsg, ...); zeros when the message is too short for it.
template <class Header>
Header header_of(const nlmsghdr& message) {
    Header header{};
    if (nlmsg_datalen(&message) >= static_cast<int>(sizeof header)) {
        std::memcpy(&header, nlmsg_data(&message), sizeof header);
    }
    return header;
}

template <int Max>
class Attributes {
public:
    /// Those behind the message's fixed header; none when the message is malformed.
    static Attributes of_message(const nlmsghdr& message, std::size_t header_size) {
        Attributes result;
        const auto length = nlmsg_attrlen(&message, static_cast<int>(header_size));
        if (length >= 0) {
            nla_parse(result.table_.data(), Max, nlmsg_attrdata(&message, static_cast<int>(header_size)), length,
                      nullptr);
        }
        return result;
    }

    /// Those in a run of bytes that are not a message of their own.
    static Attributes of_bytes(char* bytes, std::size_t length) {
        Attributes result;
        void* start = bytes;
        nla_parse(result.table_.data(), Max, static_cast<nlattr*>(start), static_cast<int>(length), nullptr);
        return result;
    }

    /// Those inside attribute `outer`; none for nullptr.
    static Attributes nested(nlattr* outer) {
        Attributes result;
        if (outer != nullptr) nla_parse_nested(result.table_.data(), Max, outer, nullptr);
        return result;
    }

    [[nodiscard]] nlattr* find(int type) const { return table_.at(static_cast<std::size_t>(type)); }

    /// A number in host byte order; nullopt when absent or too short.
    template <class T>
    [[nodiscard]] std::optional<T> get(int type) const {
        static_assert(std::is_trivially_copyable_v<T>);
        const nlattr* attribute = find(type);
        if (attribute == nullptr || nla_len(attribute) < static_cast<int>(sizeof(T))) return std::nullopt;
        T value;
        std::memcpy(&value, nla_data(attribute), sizeof value);
        return value;
    }

    [[nodiscard]] std::string text(int type) const {
        const nlattr* attribute = find(type);
        if (attribute == nullptr) return {};
        const std::string_view bytes(static_cast<const char*>(nla_data(attribute)),
                                     static_cast<std::size_t>(nla_len(attribute)));
        return std::string(bytes.substr(0, bytes.find('\0')));
    }

    [[nodiscard]] std::optional<Ipv4> ipv4(int type) const {
        const auto bytes = get<std::array<std::uint8_t, 4>>(type);
        if (!bytes) return std::nullopt;
        return Ipv4{(*bytes)[0], (*bytes)[1], (*bytes)[2], (*bytes)[3]};
    }

    [[nodiscard]] std::optional<Ipv6> ipv6(int type) const {
        const auto bytes = get<std::array<std::uint8_t, 16>>(type);
        if (!bytes) return std::nullopt;
        return Ipv6{*bytes};
    }

private:
    std::array<nlattr*, static_cast<std::size_t>(Max) + 1> table_{};
};

/// Appends the fixed header of a message.
template <class Header>
void put_header(nl_msg& message, Header header) {
    nlmsg_append(&message, &header, sizeof header, NLMSG_ALIGNTO);
}

/// Appends an address in wire order.
inline void put_ipv4(nl_msg& message, int type, Ipv4 address) {
    const std::array<std::uint8_t, 4> bytes{
        static_cast<std::uint8_t>(address.value >> 24), static_cast<std::uint8_t>(address.value >> 16),
        static_cast<std::uint8_t>(address.value >> 8), static_cast<std::uint8_t>(address.value)};
    nla_put(&message, type, static_cast<int>(bytes.size()), bytes.data());
}

}  // namespace vmrouter::link
