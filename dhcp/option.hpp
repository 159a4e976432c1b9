#pragma once

// Options as they mean, not as they lie in the packet: one entry for a code, however many pieces the packet had
// (RFC 3396) and wherever they were (RFC 2132 section 9.3, option overload). The bytes of all options share one buffer.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dhcp {

/// Option codes (RFC 2132 unless said otherwise).
namespace option {
inline constexpr std::uint8_t pad = 0;
inline constexpr std::uint8_t subnet_mask = 1;
inline constexpr std::uint8_t routers = 3;
inline constexpr std::uint8_t dns_servers = 6;
inline constexpr std::uint8_t host_name = 12;
inline constexpr std::uint8_t domain_name = 15;
inline constexpr std::uint8_t interface_mtu = 26;
inline constexpr std::uint8_t broadcast_address = 28;
inline constexpr std::uint8_t static_routes = 33;
inline constexpr std::uint8_t ntp_servers = 42;
inline constexpr std::uint8_t vendor_specific = 43;
inline constexpr std::uint8_t requested_address = 50;
inline constexpr std::uint8_t lease_time = 51;
inline constexpr std::uint8_t overload = 52;
inline constexpr std::uint8_t message_type = 53;
inline constexpr std::uint8_t server_identifier = 54;
inline constexpr std::uint8_t parameter_list = 55;
inline constexpr std::uint8_t text = 56;
inline constexpr std::uint8_t max_message_size = 57;
inline constexpr std::uint8_t renewal_time = 58;
inline constexpr std::uint8_t rebinding_time = 59;
inline constexpr std::uint8_t vendor_class = 60;
inline constexpr std::uint8_t client_identifier = 61;
inline constexpr std::uint8_t tftp_server = 66;
inline constexpr std::uint8_t boot_file = 67;
inline constexpr std::uint8_t user_class = 77;            ///< RFC 3004
inline constexpr std::uint8_t rapid_commit = 80;          ///< RFC 4039
inline constexpr std::uint8_t client_fqdn = 81;           ///< RFC 4702
inline constexpr std::uint8_t relay_agent = 82;           ///< RFC 3046
inline constexpr std::uint8_t architecture = 93;          ///< RFC 4578
inline constexpr std::uint8_t machine_identifier = 97;    ///< RFC 4578
inline constexpr std::uint8_t ipv6_only = 108;            ///< RFC 8925
inline constexpr std::uint8_t subnet_selection = 118;     ///< RFC 3011
inline constexpr std::uint8_t domain_search = 119;        ///< RFC 3397
inline constexpr std::uint8_t classless_routes = 121;     ///< RFC 3442
inline constexpr std::uint8_t tftp_server_address = 150;  ///< RFC 5859
inline constexpr std::uint8_t end = 255;
}  // namespace option

/// The options of one message, in the order of their first appearance.
class Options {
public:
    struct Entry {
        std::uint8_t code = 0;
        Bytes value;
    };

    /// The value, joined from all pieces; nullopt when the option is absent. Valid until the next change.
    [[nodiscard]] std::optional<Bytes> find(std::uint8_t code) const;
    [[nodiscard]] bool has(std::uint8_t code) const { return index_of(code) < slots_.size(); }
    [[nodiscard]] std::size_t size() const { return slots_.size(); }
    [[nodiscard]] bool empty() const { return slots_.empty(); }
    [[nodiscard]] Entry operator[](std::size_t index) const;

    /// The value when it has exactly that size (or, for lists and text, a size that makes sense); nullopt otherwise.
    [[nodiscard]] std::optional<std::uint8_t> u8(std::uint8_t code) const;
    [[nodiscard]] std::optional<std::uint16_t> u16(std::uint8_t code) const;
    [[nodiscard]] std::optional<std::uint32_t> u32(std::uint8_t code) const;
    [[nodiscard]] std::optional<Ipv4> ip(std::uint8_t code) const;
    /// Text without the NULs that some clients append.
    [[nodiscard]] std::optional<std::string_view> text(std::uint8_t code) const;

    /// Room for this many options and bytes, so that adding them does not allocate again and again.
    void reserve(std::size_t options, std::size_t bytes) {
        slots_.reserve(options);
        bytes_.reserve(bytes);
    }
    /// Appends an option that is not there yet; code 0, 52 and 255 are not options and are refused by assertion.
    void add(std::uint8_t code, Bytes value);
    void add_u8(std::uint8_t code, std::uint8_t value);
    void add_u16(std::uint8_t code, std::uint16_t value);
    void add_u32(std::uint8_t code, std::uint32_t value);
    void add_ip(std::uint8_t code, Ipv4 value) { add_u32(code, value.value); }
    void add_ips(std::uint8_t code, std::span<const Ipv4> values);
    void add_text(std::uint8_t code, std::string_view value, bool terminated = false);

    /// Reads option areas (RFC 2132) in the order given, joining what belongs together (RFC 3396). Unknown codes are
    /// kept; an option that runs past the end of its area ends that area. Linear in the size of the areas.
    static Options read(std::span<const Bytes> areas);

    friend bool operator==(const Options& a, const Options& b);

private:
    struct Slot {
        std::uint8_t code = 0;
        std::uint32_t offset = 0;
        std::uint32_t size = 0;
    };
    [[nodiscard]] std::size_t index_of(std::uint8_t code) const;

    std::vector<Slot> slots_;
    std::vector<std::uint8_t> bytes_;
};

/// A sub-option of a value made of code, length and bytes (option 82, RFC 3046); nullopt when absent.
std::optional<Bytes> suboption(Bytes value, std::uint8_t code);

/// An option to send that the configuration names; its bytes are what the client reads. An empty value means that the
/// option is never sent, ours of that code included.
struct ConfiguredOption {
    std::uint8_t code = 0;
    std::vector<std::uint8_t> value;

    friend bool operator==(const ConfiguredOption&, const ConfiguredOption&) = default;
};

/// Is the value of this option text (RFC 2132, 2241, 4833, 8910), to which some clients want a NUL appended?
bool is_text(std::uint8_t code);

}  // namespace vmrouter::dhcp
