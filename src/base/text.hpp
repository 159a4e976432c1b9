#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/wire.hpp"

namespace vmrouter {

/// Bytes that a guest controls, made safe for terminals and logs: printable ASCII stays, backslash and everything else
/// become \\ and \xNN. At most `limit` input bytes are shown, then "...".
std::string escape(std::string_view text, std::size_t limit = 256);

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);
std::string to_lower(std::string_view text);  ///< ASCII only, as DNS (RFC 4343) and host names want it
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// Well-formed UTF-8, as JSON and nft's listings need it.
bool is_utf8(std::string_view text);

/// "01:52:54:00", lower case; the bytes of client-ids, odd hardware addresses and options.
std::string to_hex(Bytes bytes, std::string_view separator = ":");
/// "01:ff:0", "01ff0a" or a mix with ':', '-' or spaces between bytes; nullopt for anything else.
std::optional<std::vector<std::uint8_t>> parse_hex(std::string_view text);

/// A decimal number without sign or surrounding space, in [0, limit].
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit = UINT64_MAX);

/// "150s", "45m", "12h", "7d", "2w"; a number without a unit is seconds. Nothing else, overflow included.
std::optional<std::chrono::seconds> parse_duration(std::string_view text);
/// The largest unit that divides: "1h", "90m", "150s".
std::string to_string(std::chrono::seconds duration);

/// The candidate with the smallest edit distance to `text`, at most `distance`; nullopt when none is near.
std::optional<std::string_view> nearest(std::string_view text, std::span<const std::string_view> candidates,
                                        std::size_t distance = 2);

/// 1 to 15 bytes that the kernel takes as an interface name and that are safe in rule sets, paths and shells:
/// letters, digits, '.', '_', '-', ':' is refused; not "." or "..".
bool is_interface_name(std::string_view name);
/// Every name that the kernel takes: 1 to 15 bytes without a slash, a colon or white space. Only for what is quoted or
/// compared, never for a name that becomes part of a file, a table or a command.
bool is_kernel_interface_name(std::string_view name);

}  // namespace vmrouter
