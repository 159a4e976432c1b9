// Options of the configuration: what people write, turned into the bytes that clients read.

#include <algorithm>
#include <array>

#include "dhcp/option.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::uint8_t microsoft_routes = 249;  // option 121 before it had a number
constexpr std::size_t longest_value = 1024;     // RFC 3396 allows more, packets do not
constexpr std::size_t longest_name = 255;

/// Options that are the protocol's own business: a client could not work with another value.
bool is_protocol(std::uint8_t code) {
    constexpr std::array<std::uint8_t, 16> codes{option::pad,
                                                 option::subnet_mask,
                                                 option::requested_address,
                                                 option::lease_time,
                                                 option::overload,
                                                 option::message_type,
                                                 option::server_identifier,
                                                 option::parameter_list,
                                                 option::max_message_size,
                                                 option::renewal_time,
                                                 option::rebinding_time,
                                                 option::client_identifier,
                                                 option::rapid_commit,
                                                 option::client_fqdn,
                                                 option::relay_agent,
                                                 option::end};
    return std::ranges::find(codes, code) != codes.end();
}

/// Sizes that RFC 2132 fixes: a value must be a multiple of `unit` (exactly that when `single`).
struct Shape {
    std::uint8_t code;
    std::uint8_t unit;
    bool single;
    std::string_view words;
};
constexpr std::array<Shape, 17> shapes{{{2, 4, true, "a time offset (u32)"},
                                        {option::routers, 4, false, "addresses"},
                                        {4, 4, false, "addresses"},
                                        {5, 4, false, "addresses"},
                                        {option::dns_servers, 4, false, "addresses"},
                                        {7, 4, false, "addresses"},
                                        {9, 4, false, "addresses"},
                                        {19, 1, true, "0 or 1 (u8)"},
                                        {23, 1, true, "a TTL (u8)"},
                                        {option::interface_mtu, 2, true, "an MTU (u16)"},
                                        {option::broadcast_address, 4, true, "one address"},
                                        {option::static_routes, 8, false, "pairs of addresses"},
                                        {option::ntp_servers, 4, false, "addresses"},
                                        {44, 4, false, "addresses"},
                                        {46, 1, true, "a node type (u8)"},
                                        {option::ipv6_only, 4, true, "a time in seconds (u32)"},
                                        {option::tftp_server_address, 4, false, "addresses"}}};

Error option_error(std::uint8_t code, const std::string& what, std::string hint) {
    return {"DHCP option " + std::to_string(code) + " " + what, {}, std::move(hint)};
}

std::vector<std::uint8_t> to_bytes(const std::vector<Ipv4>& addresses) {
    std::vector<std::uint8_t> bytes(4 * addresses.size());
    Writer writer(bytes);
    for (const Ipv4 address : addresses) writer.u32(address.value);
    return bytes;
}

template <class Integer>
std::vector<std::uint8_t> to_bytes(Integer value) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t shift = sizeof value * 8; shift > 0; shift -= 8)
        bytes.push_back(static_cast<std::uint8_t>(value >> (shift - 8)));
    return bytes;
}

Result<std::vector<std::uint8_t>> encode_text(std::uint8_t code, const std::string& text) {
    if (code == option::domain_search) return encode_domain_search(text);
    if (code == option::classless_routes || code == microsoft_routes) return encode_classless_routes(text);
    return std::vector<std::uint8_t>(text.begin(), text.end());
}

bool is_separator(char c) {
    return c == ' ' || c == '\t' || c == ',';
}

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    while (!text.empty()) {
        const auto begin = std::ranges::find_if_not(text, is_separator);
        const auto end = std::find_if(begin, text.end(), is_separator);
        if (begin != end) words.emplace_back(begin, end);
        text = {end, text.end()};
    }
    return words;
}

}  // namespace

Result<std::vector<std::uint8_t>> encode_domain_search(std::string_view names) {
    std::vector<std::uint8_t> bytes;
    for (std::string_view name : words_of(names)) {
        const std::size_t start = bytes.size();
        if (name.ends_with('.')) name.remove_suffix(1);
        for (const auto label : split(name, '.')) {
            const bool legal = !label.empty() && label.size() <= 63 && std::ranges::all_of(label, [](char c) {
                return c == '-' || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                       (c >= 'A' && c <= 'Z');
            });
            if (!legal)
                return Failure{Error{"\"" + escape(name) + "\" is not a domain name",
                                     {},
                                     "write names separated by spaces, such as \"vm.internal corp.example\""}};
            bytes.push_back(static_cast<std::uint8_t>(label.size()));
            bytes.insert(bytes.end(), label.begin(), label.end());
        }
        bytes.push_back(0);
        if (bytes.size() - start > longest_name)
            return Failure{
                Error{"\"" + escape(name) + "\" is longer than a domain name can be", {}, "255 bytes is the limit"}};
    }
    return bytes;
}

Result<std::vector<std::uint8_t>> encode_classless_routes(std::string_view routes) {
    std::vector<std::uint8_t> bytes;
    auto words = words_of(routes);
    std::erase(words, "via");
    const auto error = [](std::string what) {
        return Failure{
            Error{std::move(what), {}, "write \"10.0.0.0/8 via 192.168.100.1, 0.0.0.0/0 via 192.168.100.1\""}};
    };
    if (words.size() % 2 != 0) return error("a route lacks its prefix or its router");
    for (std::size_t i = 0; i < words.size(); i += 2) {
        const auto prefix = Cidr::parse(words[i]);
        const auto router = Ipv4::parse(words[i + 1]);
        if (!prefix) return error("\"" + escape(words[i]) + "\" is not a prefix");
        if (prefix->address != prefix->first()) return error("\"" + escape(words[i]) + "\" has bits beyond its length");
        if (!router) return error("\"" + escape(words[i + 1]) + "\" is not the address of a router");
        bytes.push_back(prefix->length);  // RFC 3442: only the bytes of the prefix that matter
        const auto address = to_bytes(prefix->address.value);
        bytes.insert(bytes.end(), address.begin(), address.begin() + (prefix->length + 7) / 8);
        const auto gateway = to_bytes(router->value);
        bytes.insert(bytes.end(), gateway.begin(), gateway.end());
    }
    return bytes;
}

Result<ConfiguredOption> encode_option(std::uint8_t code, const OptionValue& value) {
    if (is_protocol(code))
        return Failure{option_error(code, "belongs to the protocol itself", "remove it from dhcp.options")};
    ConfiguredOption result{code, {}, false};
    if (const auto* text = std::get_if<std::string>(&value)) {
        auto bytes = encode_text(code, *text);
        if (!bytes) return Failure{option_error(code, "is wrong: " + bytes.error().what, bytes.error().hint)};
        result.value = std::move(*bytes);
        result.is_text = code != option::domain_search && code != option::classless_routes && code != microsoft_routes;
    } else if (const auto* addresses = std::get_if<std::vector<Ipv4>>(&value)) {
        result.value = to_bytes(*addresses);
    } else if (const auto* bytes = std::get_if<std::vector<std::uint8_t>>(&value)) {
        result.value = *bytes;
    } else if (const auto* byte = std::get_if<std::uint8_t>(&value)) {
        result.value = to_bytes(*byte);
    } else if (const auto* word = std::get_if<std::uint16_t>(&value)) {
        result.value = to_bytes(*word);
    } else {
        result.value = to_bytes(std::get<std::uint32_t>(value));
    }
    if (result.value.size() > longest_value)
        return Failure{option_error(code, "is " + std::to_string(result.value.size()) + " bytes long",
                                    std::to_string(longest_value) + " bytes is the limit")};
    const auto shape = std::ranges::find(shapes, code, &Shape::code);
    if (shape != shapes.end() && !result.value.empty()) {  // an empty value means: never send it
        const bool fits = shape->single ? result.value.size() == shape->unit : result.value.size() % shape->unit == 0;
        if (!fits)
            return Failure{option_error(code, "has " + std::to_string(result.value.size()) + " bytes",
                                        "its value is " + std::string(shape->words) + " (RFC 2132)")};
    }
    return result;
}

}  // namespace vmrouter::dhcp
