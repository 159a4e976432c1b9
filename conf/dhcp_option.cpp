#include "conf/dhcp_option.hpp"

#include <algorithm>
#include <array>

#include "conf/forms.hpp"
#include "src/base/text.hpp"

namespace vmrouter::conf {
namespace {

using Data = std::vector<std::uint8_t>;

/// RFC 3396 splits what is longer than 255 bytes; no client needs more than this.
constexpr std::size_t longest_option = 1024;

/// Codes that have a key of their own, or that the protocol itself fills in.
struct Owned {
    std::uint8_t code;
    std::string_view owner;
};
constexpr std::array owned_codes = {
    Owned{0, "padding"},
    Owned{1, "network.address sets the subnet mask"},
    Owned{3, "network.address is the router"},
    Owned{12, "the name of a [[dhcp.host]] sets the host name"},
    Owned{15, "dns.domain sets the domain name"},
    Owned{26, "network.mtu sets the MTU"},
    Owned{28, "network.address sets the broadcast address"},
    Owned{42, "dhcp.ntp_servers sets the time servers"},
    Owned{50, "only clients send it"},
    Owned{51, "dhcp.lease_time sets the lease time"},
    Owned{52, "the protocol uses it (option overload)"},
    Owned{53, "the protocol uses it (message type)"},
    Owned{54, "network.address is the server identifier"},
    Owned{55, "only clients send it"},
    Owned{56, "the protocol uses it (message of a NAK)"},
    Owned{57, "only clients send it"},
    Owned{58, "dhcp.renew_time sets T1"},
    Owned{59, "dhcp.rebind_time sets T2"},
    Owned{61, "the client's own identifier is echoed"},
    Owned{66, "dhcp.boot_server sets the TFTP server"},
    Owned{67, "dhcp.boot_file sets the boot file"},
    Owned{80, "dhcp.rapid_commit sets it"},
    Owned{81, "the client's own name is answered"},
    Owned{82, "a relay's information is echoed"},
    Owned{255, "the end of the options"},
};

enum class Format { Addresses, Address, AddressPairs, Byte, Flag, Short, Shorts, Long, Text, Domains, Routes };

struct Definition {
    std::uint8_t code;
    Format format;
};
/// Options whose form an RFC fixes; any other code takes any bytes.
constexpr std::array definitions = {
    Definition{2, Format::Long},        Definition{4, Format::Addresses},     Definition{5, Format::Addresses},
    Definition{6, Format::Addresses},   Definition{7, Format::Addresses},     Definition{8, Format::Addresses},
    Definition{9, Format::Addresses},   Definition{10, Format::Addresses},    Definition{11, Format::Addresses},
    Definition{13, Format::Short},      Definition{14, Format::Text},         Definition{16, Format::Address},
    Definition{17, Format::Text},       Definition{18, Format::Text},         Definition{19, Format::Flag},
    Definition{20, Format::Flag},       Definition{21, Format::AddressPairs}, Definition{22, Format::Short},
    Definition{23, Format::Byte},       Definition{24, Format::Long},         Definition{25, Format::Shorts},
    Definition{27, Format::Flag},       Definition{29, Format::Flag},         Definition{30, Format::Flag},
    Definition{31, Format::Flag},       Definition{32, Format::Address},      Definition{33, Format::AddressPairs},
    Definition{34, Format::Flag},       Definition{35, Format::Long},         Definition{36, Format::Flag},
    Definition{37, Format::Byte},       Definition{38, Format::Long},         Definition{39, Format::Flag},
    Definition{40, Format::Text},       Definition{41, Format::Addresses},    Definition{44, Format::Addresses},
    Definition{45, Format::Addresses},  Definition{46, Format::Byte},         Definition{47, Format::Text},
    Definition{48, Format::Addresses},  Definition{49, Format::Addresses},    Definition{64, Format::Text},
    Definition{65, Format::Addresses},  Definition{69, Format::Addresses},    Definition{70, Format::Addresses},
    Definition{71, Format::Addresses},  Definition{72, Format::Addresses},    Definition{73, Format::Addresses},
    Definition{74, Format::Addresses},  Definition{75, Format::Addresses},    Definition{76, Format::Addresses},
    Definition{100, Format::Text},      Definition{101, Format::Text},        Definition{108, Format::Long},
    Definition{114, Format::Text},      Definition{116, Format::Byte},        Definition{117, Format::Shorts},
    Definition{118, Format::Address},   Definition{119, Format::Domains},     Definition{121, Format::Routes},
    Definition{138, Format::Addresses}, Definition{150, Format::Addresses},   Definition{209, Format::Text},
    Definition{210, Format::Text},      Definition{211, Format::Long},        Definition{249, Format::Routes},
    Definition{252, Format::Text},
};

std::optional<Format> format_of(std::uint8_t code) {
    for (const Definition& definition : definitions)
        if (definition.code == code) return definition.format;
    return std::nullopt;
}

/// What the option takes, for messages.
std::string_view wanted(Format format) {
    switch (format) {
        case Format::Addresses:
            return "one or more addresses: ip = [\"192.168.100.5\"]";
        case Format::Address:
            return "one address: ip = [\"192.168.100.5\"]";
        case Format::AddressPairs:
            return "pairs of addresses: ip = [\"10.0.0.0\", \"192.168.100.5\"]";
        case Format::Byte:
            return "one byte: u8 = 64";
        case Format::Flag:
            return "a flag: u8 = 0 or u8 = 1";
        case Format::Short:
            return "two bytes: u16 = 1500";
        case Format::Shorts:
            return "numbers of two bytes each: hex = \"05dc:0240\"";
        case Format::Long:
            return "four bytes: u32 = 3600";
        case Format::Text:
            return "text: text = \"...\"";
        case Format::Domains:
            return "domain names: text = \"vm.internal, corp.example\"";
        case Format::Routes:
            return "networks and their routers: text = \"10.0.0.0/8 192.168.100.5\"";
    }
    return {};
}

/// RFC 3442: prefix length, the bytes of the network that it covers, router; and so on to the end.
bool are_routes(const Data& data) {
    std::size_t at = 0;
    while (at < data.size()) {
        if (data[at] > 32) return false;
        at += 1 + (data[at] + 7U) / 8U + 4;
    }
    return at == data.size();
}

/// Whether a payload of this kind and length is one the definition has. Hex may hold anything of a legal length.
bool fits(Format format, std::string_view kind, const Data& data) {
    const bool is_hex = kind == "hex";
    const auto has_size = [&](std::string_view natural, std::size_t unit, bool many) {
        const bool right_size = many ? !data.empty() && data.size() % unit == 0 : data.size() == unit;
        return right_size && (is_hex || kind == natural);
    };
    switch (format) {
        case Format::Addresses:
            return has_size("ip", 4, true);
        case Format::Address:
            return has_size("ip", 4, false);
        case Format::AddressPairs:
            return has_size("ip", 8, true);
        case Format::Byte:
            return has_size("u8", 1, false);
        case Format::Flag:
            return has_size("u8", 1, false) && data[0] <= 1;
        case Format::Short:
            return has_size("u16", 2, false);
        case Format::Shorts:
            return has_size("u16", 2, true);
        case Format::Long:
            return has_size("u32", 4, false);
        case Format::Text:
        case Format::Domains:
            return !data.empty() && (is_hex || kind == "text");
        case Format::Routes:
            return !data.empty() && (is_hex || kind == "text") && are_routes(data);
    }
    return false;
}

void append(Data& data, Ipv4 address) {
    for (int shift = 24; shift >= 0; shift -= 8) data.push_back(static_cast<std::uint8_t>(address.value >> shift));
}

std::vector<std::string_view> words(std::string_view text) {
    std::vector<std::string_view> found;
    while (!(text = trim(text)).empty()) {
        const auto end = text.find_first_of(" \t");
        found.push_back(text.substr(0, end));
        text.remove_prefix(found.back().size());
    }
    return found;
}

/// RFC 3397: names as in DNS messages, one after the other; we do not compress.
std::optional<Data> domain_list(std::string_view text) {
    Data data;
    for (const auto part : split(text, ',')) {
        for (const auto word : words(part)) {
            const auto domain = parse_domain(word);
            if (!domain) return std::nullopt;
            for (const auto label : split(*domain, '.')) {
                data.push_back(static_cast<std::uint8_t>(label.size()));
                data.insert(data.end(), label.begin(), label.end());
            }
            data.push_back(0);
        }
    }
    return data;
}

/// RFC 3442: prefix length, the bytes of the network that it covers, router.
std::optional<Data> route_list(std::string_view text) {
    Data data;
    for (const auto part : split(text, ',')) {
        const auto pair = words(part);
        if (pair.size() != 2 || pair[0].find('/') == std::string_view::npos) return std::nullopt;
        const auto network = Cidr::parse(pair[0]);
        const auto router = Ipv4::parse(pair[1]);
        if (!network || !router || network->address != network->first()) return std::nullopt;
        Data bytes;
        append(bytes, network->address);
        bytes.resize((network->length + 7U) / 8U);
        data.push_back(network->length);
        data.insert(data.end(), bytes.begin(), bytes.end());
        append(data, *router);
    }
    return data;
}

std::optional<Data> from_text(const Value& value, std::optional<Format> format, const Field& field) {
    const auto* text = value.string();
    if (!text) return field.fail(value, "has text = " + describe(value) + "; it must be a string");
    std::optional<Data> data = Data(text->begin(), text->end());
    if (format == Format::Domains) data = domain_list(*text);
    if (format == Format::Routes) data = route_list(*text);
    if (!data) return field.fail(value, "has text = " + describe(value), "it must be " + std::string(wanted(*format)));
    return data;
}

std::optional<Data> from_addresses(const Value& value, const Field& field) {
    const List single{value};
    const List& list = value.list() ? *value.list() : single;
    Data data;
    for (const Value& element : list) {
        const auto* text = element.string();
        const auto address = text ? Ipv4::parse(*text) : std::nullopt;
        if (!address) return field.fail(element, "has ip = " + describe(element) + "; it must be an IPv4 address");
        append(data, *address);
    }
    return data;
}

std::optional<Data> from_hex(const Value& value, const Field& field) {
    const auto* text = value.string();
    auto bytes = text ? parse_hex(*text) : std::nullopt;
    if (!bytes)
        return field.fail(value,
                          "has hex = " + describe(value) + "; it must be bytes such as \"01:ff:0a\" or \"01ff0a\"");
    return bytes;
}

std::optional<Data> from_number(const Value& value, std::string_view kind, const Field& field) {
    const std::size_t bytes = kind == "u8" ? 1 : kind == "u16" ? 2 : 4;
    const std::int64_t limit = (std::int64_t{1} << (8 * bytes)) - 1;
    const auto* number = value.integer();
    if (!number || *number < 0 || *number > limit)
        return field.fail(value, "has " + std::string(kind) + " = " + describe(value) + "; it must be from 0 to " +
                                     std::to_string(limit));
    Data data;
    for (std::size_t i = bytes; i-- > 0;) data.push_back(static_cast<std::uint8_t>(*number >> (8 * i)));
    return data;
}

std::optional<Data> read_payload(const Entry& entry, std::optional<Format> format, const Field& field) {
    if (entry.key == "text") return from_text(entry.value, format, field);
    if (entry.key == "ip") return from_addresses(entry.value, field);
    if (entry.key == "hex") return from_hex(entry.value, field);
    return from_number(entry.value, entry.key, field);
}

std::optional<std::uint8_t> read_code(const Value& value, const Field& field) {
    const auto* code = value.integer();
    if (!code || *code < 0 || *code > 255)
        return field.fail(value, "has code = " + describe(value) + "; it must be from 1 to 254");
    for (const Owned& owned : owned_codes)
        if (owned.code == *code)
            return field.fail(value, "has code = " + describe(value) + ", which is not free to set",
                              std::string(owned.owner));
    return static_cast<std::uint8_t>(*code);
}

struct Parts {
    const Entry* code = nullptr;
    const Entry* payload = nullptr;
};

/// The code and the one value of { code = 119, text = "..." }.
std::optional<Parts> parts_of(const Value& value, const Table& table, const Field& field) {
    constexpr std::array<std::string_view, 6> kinds = {"text", "ip", "hex", "u8", "u16", "u32"};
    constexpr auto hint = "an option is its code and one of text, ip, hex, u8, u16, u32";
    Parts parts;
    for (const Entry& entry : table) {
        if (entry.key == "code") {
            parts.code = &entry;
        } else if (std::find(kinds.begin(), kinds.end(), entry.key) == kinds.end()) {
            return field.fail({entry.place, {}}, "has an unknown key '" + escape(entry.key, 80) + "'", hint);
        } else if (parts.payload) {
            return field.fail({entry.place, {}}, "has both " + parts.payload->key + " and " + entry.key, hint);
        } else {
            parts.payload = &entry;
        }
    }
    if (!parts.code) return field.fail(value, "has an option without its code", hint);
    if (!parts.payload) return field.fail(value, "has an option without a value", hint);
    return parts;
}

}  // namespace

std::optional<DhcpOption> read_dhcp_option(const Value& value, const Field& field) {
    const auto* table = value.table();
    if (!table) return field.refuse(value, "a table such as { code = 119, text = \"vm.internal\" }");
    const auto parts = parts_of(value, *table, field);
    if (!parts) return std::nullopt;
    const auto code = read_code(parts->code->value, field);
    if (!code) return std::nullopt;

    const auto format = format_of(*code);
    const auto data = read_payload(*parts->payload, format, field);
    if (!data) return std::nullopt;
    const std::string option = "option " + std::to_string(*code);
    if (format && !fits(*format, parts->payload->key, *data))
        return field.fail(parts->payload->value, "has a value that " + option + " cannot take",
                          option + " is " + std::string(wanted(*format)));
    if (data->size() > longest_option)
        return field.fail(parts->payload->value, "has " + std::to_string(data->size()) + " bytes for " + option +
                                                     "; at most " + std::to_string(longest_option) + " are possible");
    return DhcpOption{*code, *data};
}

}  // namespace vmrouter::conf
