#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/hardware.hpp"
#include "dhcp/option.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

/// Option 53 (RFC 2132 section 9.6).
enum class MessageType : std::uint8_t {
    Bootp = 0,  ///< no option 53 (RFC 951, RFC 1534)
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
    Unknown = 255,  ///< any other value, or an option 53 that is not one byte
};

/// "DISCOVER", as log lines have it.
std::string_view to_string(MessageType type);

/// One BOOTP or DHCP message (RFC 2131 section 2), owning its data. Numbers are in host byte order.
struct Message {
    static constexpr std::uint8_t request = 1;
    static constexpr std::uint8_t reply = 2;
    static constexpr std::uint16_t broadcast_flag = 0x8000;

    std::uint8_t op = request;
    std::uint8_t hops = 0;
    std::uint32_t xid = 0;
    std::uint16_t secs = 0;
    std::uint16_t flags = 0;
    Ipv4 ciaddr;
    Ipv4 yiaddr;
    Ipv4 siaddr;
    Ipv4 giaddr;
    HardwareAddress chaddr;
    std::string sname;   ///< at most 63 bytes, up to the first NUL; empty when it carried options
    std::string file;    ///< at most 127 bytes, likewise
    bool cookie = true;  ///< the magic cookie of RFC 1497 was there; without it `options` is empty
    Options options;     ///< all areas together; pad, end and overload are not among them

    [[nodiscard]] MessageType type() const;
    [[nodiscard]] bool wants_broadcast() const { return (flags & broadcast_flag) != 0; }
    [[nodiscard]] bool relayed() const { return !giaddr.is_unspecified(); }
    [[nodiscard]] std::optional<Ipv4> requested_address() const { return options.ip(option::requested_address); }
    [[nodiscard]] std::optional<Ipv4> server_identifier() const { return options.ip(option::server_identifier); }
    /// Option 61; empty when absent. At least two bytes by RFC 2132, but one is taken as it comes. Of one that came in
    /// pieces (RFC 3396) we tell clients apart by as much as dnsmasq's leases file can hold.
    [[nodiscard]] Bytes client_id() const;
    /// Option 55; nullopt when absent: then everything is sent.
    [[nodiscard]] std::optional<Bytes> parameter_list() const { return options.find(option::parameter_list); }
    /// Its text options end with a NUL, so it wants ours to (old Microsoft clients).
    [[nodiscard]] bool terminates_strings() const;

    friend bool operator==(const Message&, const Message&) = default;
};

enum class ParseError : std::uint8_t {
    TooShort,        ///< less than the fixed part (236 bytes)
    BadOp,           ///< neither BOOTREQUEST nor BOOTREPLY
    BadHlen,         ///< hlen over 16
    NoHardwareType,  ///< htype 0 with an address
};
std::string_view to_string(ParseError error);

/// Reads a UDP payload. Accepts any byte string, never throws.
Result<Message, ParseError> parse(Bytes payload);

/// How much room a reply has.
struct Room {
    std::size_t max_size = 548;  ///< of the UDP payload: option 57 less 28 bytes of headers (RFC 2132 section 9.10)
    std::size_t min_size = 300;  ///< padded with zeros up to here (RFC 1542 section 2.1)
    bool overload = false;       ///< may spill into file and sname when those are empty (RFC 2132 section 9.3)
    Bytes preferred{};           ///< option 55: when not all fit, which come first (RFC 2132 section 9.8)
};

/// How many bytes an option with a value of that size takes, its pieces' headers included.
std::size_t encoded_size(std::size_t value_size);

struct Serialized {
    std::vector<std::uint8_t> bytes;
    std::vector<std::uint8_t> left_out;  ///< codes of options for which there was no room
};

/// Writes a UDP payload. Options keep their order, but 82 comes last (RFC 3046 section 2.1) and is never left out; what
/// exceeds 255 bytes is split (RFC 3396). parse(serialize(m).bytes) == m when nothing was left out.
Serialized serialize(const Message& message, const Room& room);

}  // namespace vmrouter::dhcp
