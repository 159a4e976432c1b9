#include "src/base/text.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace vmrouter {
namespace {

constexpr char hex_digits[] = "0123456789abcdef";

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// Levenshtein distance, one row at a time.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
        }
    }
    return row.back();
}

}  // namespace

std::string escape(std::string_view text, std::size_t limit) {
    std::string out;
    for (const char c : text.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '\\') {
            out += "\\\\";
        } else if (byte >= 0x20 && byte < 0x7f) {
            out += c;
        } else {
            out += "\\x";
            out += hex_digits[byte >> 4];
            out += hex_digits[byte & 15];
        }
    }
    if (text.size() > limit) out += "...";
    return out;
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view space = " \t\r\n\f\v";
    const auto first = text.find_first_not_of(space);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(space) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const auto end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::string to_lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), lower);
    return out;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string to_hex(Bytes bytes, std::string_view separator) {
    std::string out;
    out.reserve(bytes.size() * (2 + separator.size()));
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i > 0) out += separator;
        out += hex_digits[bytes[i] >> 4];
        out += hex_digits[bytes[i] & 15];
    }
    return out;
}

std::optional<std::vector<std::uint8_t>> parse_hex(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    std::size_t digits = 0;  // of the byte being read
    const auto is_separator = [](char c) { return c == ':' || c == '-' || c == ' '; };
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = lower(text[i]);
        if (is_separator(c)) {
            const bool inside = i > 0 && i + 1 < text.size() && !is_separator(text[i - 1]);
            if (!inside) return std::nullopt;
            digits = 0;
            continue;
        }
        const bool is_letter = c >= 'a' && c <= 'f';
        if (!is_digit(c) && !is_letter) return std::nullopt;
        const auto value = static_cast<std::uint8_t>(is_letter ? c - 'a' + 10 : c - '0');
        if (digits == 0)
            bytes.push_back(value);
        else
            bytes.back() = static_cast<std::uint8_t>((bytes.back() << 4) | value);
        digits = (digits + 1) % 2;
    }
    return bytes;
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t limit) {
    std::uint64_t value = 0;
    if (text.empty() || !is_digit(text[0])) return std::nullopt;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc{} || end != text.data() + text.size() || value > limit) return std::nullopt;
    return value;
}

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
    if (text.empty()) return std::nullopt;
    std::uint64_t unit = 1;
    switch (text.back()) {
        case 's':
            unit = 1;
            break;
        case 'm':
            unit = 60;
            break;
        case 'h':
            unit = 3600;
            break;
        case 'd':
            unit = 86400;
            break;
        case 'w':
            unit = 604800;
            break;
        default:
            unit = 0;
            break;
    }
    const auto number = parse_number(unit == 0 ? text : text.substr(0, text.size() - 1), UINT32_MAX);
    if (!number) return std::nullopt;
    return std::chrono::seconds{*number * std::max<std::uint64_t>(unit, 1)};
}

std::string to_string(std::chrono::seconds duration) {
    const auto count = duration.count();
    if (count != 0 && count % 86400 == 0) return std::to_string(count / 86400) + "d";
    if (count != 0 && count % 3600 == 0) return std::to_string(count / 3600) + "h";
    if (count != 0 && count % 60 == 0) return std::to_string(count / 60) + "m";
    return std::to_string(count) + "s";
}

std::optional<std::string_view> nearest(std::string_view text, std::span<const std::string_view> candidates,
                                        std::size_t distance) {
    std::optional<std::string_view> best;
    for (const auto candidate : candidates) {
        const std::size_t found = edit_distance(text, candidate);
        if (found > distance || (best && found >= edit_distance(text, *best))) continue;
        best = candidate;
    }
    return best;
}

bool is_utf8(std::string_view text) {
    // Of a code with 0, 1, 2, 3 further bytes: what is less has a shorter form, and this one is wrong.
    constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<std::uint8_t>(text[at++]);
        const std::size_t further = lead < 0x80       ? 0
                                    : lead >> 5 == 6  ? 1
                                    : lead >> 4 == 14 ? 2
                                    : lead >> 3 == 30 ? 3
                                                      : 4;
        if (further == 4 || text.size() - at < further) return false;
        std::uint32_t code = further == 0 ? lead : lead & (0x3fU >> further);
        for (std::size_t i = 0; i < further; ++i) {
            const auto byte = static_cast<std::uint8_t>(text[at++]);
            if (byte >> 6 != 2) return false;
            code = code << 6 | (byte & 0x3fU);
        }
        if (code < least[further] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
    }
    return true;
}

bool is_kernel_interface_name(std::string_view name) {
    const auto is_refused = [](char c) {
        return c == '/' || c == ':' || c == '\0' || c == ' ' || (c >= '\t' && c <= '\r');
    };
    return !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
           std::none_of(name.begin(), name.end(), is_refused);
}

bool is_interface_name(std::string_view name) {
    const auto is_safe = [](char c) {
        return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '.' || c == '_' || c == '-';
    };
    return !name.empty() && name.size() <= 15 && name[0] != '-' && name != "." && name != ".." &&
           std::all_of(name.begin(), name.end(), is_safe);
}

}  // namespace vmrouter
