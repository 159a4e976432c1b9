#include "dhcp/hosts_file.hpp"

#include <algorithm>

#include "dhcp/lease.hpp"
#include "dhcp/names.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr Seconds shortest_lease{120};

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/// One comma-separated field; quoted text is literal.
struct Field {
    std::string text;
};

/// Splits a line at commas that are not in double quotes; a backslash in quotes takes the next byte as it is. A '#' at
/// the start or after white space ends the line.
Result<std::vector<Field>> split_fields(std::string_view line, std::string_view where) {
    std::vector<Field> fields(1);
    bool quoted = false;
    std::size_t solid = 0;  // bytes of the field that trailing white space must not be trimmed from
    const auto finish = [&] {
        std::string& text = fields.back().text;
        while (text.size() > solid && is_space(text.back())) text.pop_back();
    };
    for (std::size_t i = 0; i < line.size(); ++i) {
        std::string& text = fields.back().text;
        const char c = line[i];
        if (quoted) {
            if (c == '\\' && i + 1 < line.size())
                text += line[++i];
            else if (c == '"')
                quoted = false;
            else
                text += c;
            solid = text.size();
        } else if (c == '"') {
            quoted = true;
        } else if (c == '#' && (i == 0 || is_space(line[i - 1]))) {
            break;
        } else if (c == ',') {
            finish();
            fields.emplace_back();
            solid = 0;
        } else if (!text.empty() || !is_space(c)) {
            text += c;
        }
    }
    if (quoted) return Failure{Error{"a double quote is not closed", std::string(where), "add the closing \""}};
    finish();
    return fields;
}

/// Two hexadecimal digits six times with another separator, or none: what people write for a MAC.
bool looks_like_mac(std::string_view text) {
    std::size_t digits = 0;
    for (const char c : text) {
        if (is_hex(c))
            ++digits;
        else if (c != '-' && c != '.')
            return false;
    }
    return digits == 12 && (text.size() == 12 || text.size() == 14 || text.size() == 17);
}

bool looks_like_address(std::string_view text) {
    return std::ranges::count(text, '.') == 3 &&
           std::ranges::all_of(text, [](char c) { return is_digit(c) || c == '.'; });
}

std::string with_colons(std::string_view text) {
    std::string digits;
    for (const char c : text)
        if (is_hex(c)) digits += c;
    std::string result;
    for (std::size_t i = 0; i < digits.size(); i += 2) result += (i == 0 ? "" : ":") + digits.substr(i, 2);
    return to_lower(result);
}

/// dnsmasq's reading: digits (and blanks) with one optional unit. nullopt: not of that form.
std::optional<Result<Seconds>> lease_time(std::string_view text, std::string_view where) {
    std::string lower = to_lower(text);
    if (lower == "infinite") return infinite;
    std::erase_if(lower, is_space);
    std::string_view digits = lower;
    if (!digits.empty() && std::string_view{"smhdw"}.find(digits.back()) != std::string_view::npos)
        digits.remove_suffix(1);
    if (digits.empty() || !std::ranges::all_of(digits, is_digit)) return std::nullopt;
    const auto duration = parse_duration(lower);
    if (!duration || *duration >= infinite)
        return Failure{Error{"the lease time \"" + escape(text) + "\" is too large", std::string(where),
                             "write infinite for a lease that never ends"}};
    return std::max(*duration, shortest_lease);
}

/// Reads one field into the entry.
class LineReader {
public:
    LineReader(HostEntry& entry, std::string_view where) : entry_(entry), where_(where) {}

    Result<void> read(std::string_view text) {
        if (text.empty()) return fail("an empty field", "remove the extra comma");
        const std::string lower = to_lower(text);
        if (lower.starts_with("id:")) return read_client_id(text.substr(3));
        if (lower.starts_with("set:") || lower.starts_with("net:")) return read_tag(entry_.set_tags, text.substr(4));
        if (lower.starts_with("tag:")) return read_tag(entry_.tags, text.substr(4));
        if (text.starts_with('[') && text.ends_with(']') && text.find(':') != std::string_view::npos)
            return {};  // IPv6
        if (text.find(':') != std::string_view::npos) return read_mac(text);
        if (const auto address = Ipv4::parse(text)) return read_address(*address);
        if (looks_like_address(text))
            return fail("\"" + escape(text) + "\" is not an IPv4 address", "each of its four parts is 0 to 255");
        if (looks_like_mac(text)) {
            const bool decimal = std::ranges::all_of(text, is_digit);
            return fail("\"" + escape(text) + "\" would be a " + (decimal ? "lease time" : "host name") +
                            ", not a hardware address",
                        "write it with colons: " + with_colons(text));
        }
        if (auto time = lease_time(text, where_)) {
            if (!*time) return Failure{time->error()};
            entry_.lease_time = **time;
            return {};
        }
        if (lower == "ignore") return entry_.ignore = true, Result<void>{};
        return read_name(text);
    }

private:
    Result<void> fail(std::string what, std::string hint) const {
        return Failure{Error{std::move(what), std::string(where_), std::move(hint)}};
    }

    Result<void> read_client_id(std::string_view text) {
        if (text == "*") return entry_.ignore_client_id = true, Result<void>{};
        if (text.empty()) return fail("id: without a client-id", "write id:01:52:54:00:12:34:56, id:text, or id:*");
        if (!entry_.client_id.empty()) return fail("a second client-id", "write a line for each client-id");
        if (text.find(':') != std::string_view::npos) {
            // One byte is written with a colon behind it, because without any colon it would be text.
            const auto bytes = parse_hex(text.ends_with(':') ? text.substr(0, text.size() - 1) : text);
            if (!bytes || bytes->empty())
                return fail("\"" + escape(text) + "\" is not a client-id", "write hexadecimal bytes joined by ':'");
            entry_.client_id = *bytes;
        } else {
            entry_.client_id.assign(text.begin(), text.end());
        }
        return {};
    }

    Result<void> read_tag(std::vector<std::string>& tags, std::string_view text) const {
        if (text.empty()) return fail("a tag without a name", "write set:name or tag:name");
        tags.emplace_back(text);
        return {};
    }

    Result<void> read_mac(std::string_view text) {
        const auto pattern = HardwarePattern::parse(text);
        if (!pattern)
            return fail("\"" + escape(text) + "\" is not a hardware address",
                        "write six hexadecimal bytes joined by ':', such as 52:54:00:12:34:56");
        entry_.macs.push_back(*pattern);
        return {};
    }

    Result<void> read_address(Ipv4 address) {
        if (entry_.address) return fail("a second address, " + to_string(address), "a line holds one address");
        entry_.address = address;
        return {};
    }

    Result<void> read_name(std::string_view text) {
        const auto name = legal_name(text);
        const bool rest_legal = name && std::ranges::all_of(text.substr(name->size()), [](char c) {
                                    return is_hex(c) || c == '.' || c == '-' || c == '_' || (c >= 'a' && c <= 'z') ||
                                           (c >= 'A' && c <= 'Z');
                                });
        if (!rest_legal)
            return fail("\"" + escape(text) + "\" is neither a host name nor anything else that a line can hold",
                        "host names are letters, digits and inner '-' or '_'");
        if (looks_like_mac(*name) || lease_time(*name, where_) || equal_ignoring_case(*name, "ignore"))
            return fail("the host part of \"" + escape(text) + "\" is \"" + *name + "\", which is no name by itself",
                        "choose a name that does not read as a lease time, a hardware address or a keyword");
        if (!entry_.name.empty())
            return fail("a second host name, \"" + escape(text) + "\" after \"" + entry_.name + "\"",
                        "a line holds one name");
        entry_.name = *name;
        return {};
    }

    HostEntry& entry_;
    std::string_view where_;
};

}  // namespace

std::optional<HardwarePattern> HardwarePattern::parse(std::string_view text) {
    HardwarePattern result;
    if (const auto dash = text.find('-'); dash != std::string_view::npos) {
        if (dash == 0 || dash > 2) return std::nullopt;
        const auto type = parse_hex(text.substr(0, dash));
        if (!type || type->size() != 1 || type->front() == 0) return std::nullopt;
        result.address.type = type->front();
        text.remove_prefix(dash + 1);
    }
    for (const auto part : split(text, ':')) {
        const std::size_t index = result.address.length;
        if (index == result.address.bytes.size() || part.empty() || part.size() > 2) return std::nullopt;
        if (part == "*") {
            result.wildcards = static_cast<std::uint16_t>(result.wildcards | (1U << index));
        } else {
            if (!std::ranges::all_of(part, is_hex)) return std::nullopt;
            result.address.bytes[index] = static_cast<std::uint8_t>(std::stoul(std::string(part), nullptr, 16));
        }
        ++result.address.length;
    }
    // An Ethernet address of another length matches nobody: a slip of the pen.
    if (result.address.type == HardwareAddress::ethernet && result.address.length != 6) return std::nullopt;
    return result;
}

bool HardwarePattern::matches(const HardwareAddress& hardware) const {
    if (hardware.type != address.type || hardware.length != address.length) return false;
    for (std::size_t i = 0; i < address.length; ++i)
        if ((wildcards >> i & 1) == 0 && hardware.bytes[i] != address.bytes[i]) return false;
    return true;
}

std::string to_string(const HardwarePattern& pattern) {
    std::string text;
    if (pattern.address.type != HardwareAddress::ethernet) text = to_hex(Bytes{&pattern.address.type, 1}) + "-";
    for (std::size_t i = 0; i < pattern.address.length; ++i) {
        if (i > 0) text += ':';
        text += (pattern.wildcards >> i & 1) != 0 ? "*" : to_hex(Bytes{&pattern.address.bytes[i], 1});
    }
    return text;
}

Result<HostEntry> parse_host_line(std::string_view line, std::string_view where) {
    auto fields = split_fields(line, where);
    if (!fields) return Failure{fields.error()};
    HostEntry entry;
    entry.where = where;
    LineReader reader(entry, where);
    for (const Field& field : *fields)
        if (auto read = reader.read(field.text); !read) return Failure{read.error()};
    if (entry.macs.empty() && entry.client_id.empty()) {
        // dnsmasq gives such an address to whoever claims the name.
        return Failure{Error{"no hardware address and no client-id: any guest could claim it by its name",
                             std::string(where), "add the hardware address of the guest"}};
    }
    return entry;
}

HostsFile parse_hosts_file(std::string_view text, std::string_view path) {
    HostsFile file;
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
    std::size_t number = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = trim(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        ++number;
        if (line.empty() || line.starts_with('#')) continue;
        const std::string where = std::string(path) + ":" + std::to_string(number);
        if (line.starts_with("dhcp-host=")) {
            file.problems.push_back({"a line of dnsmasq.conf, not of a hosts file", where, "remove \"dhcp-host=\""});
            continue;
        }
        auto entry = parse_host_line(line, where);
        if (entry)
            file.entries.push_back(std::move(*entry));
        else
            file.problems.push_back(std::move(entry.error()));
    }
    return file;
}

std::string to_line(const HostEntry& entry) {
    std::vector<std::string> fields;
    for (const auto& tag : entry.tags) fields.push_back("tag:" + tag);
    for (const auto& tag : entry.set_tags) fields.push_back("set:" + tag);
    for (const auto& mac : entry.macs) fields.push_back(to_string(mac));
    if (entry.ignore_client_id) fields.emplace_back("id:*");
    if (entry.client_id.size() == 1) fields.push_back("id:" + to_hex(entry.client_id) + ":");
    if (entry.client_id.size() > 1) fields.push_back("id:" + to_hex(entry.client_id));
    if (entry.address) fields.push_back(to_string(*entry.address));
    if (!entry.name.empty()) fields.push_back(entry.name);
    if (entry.lease_time)
        fields.push_back(*entry.lease_time == infinite ? "infinite" : std::to_string(entry.lease_time->count()) + "s");
    if (entry.ignore) fields.emplace_back("ignore");
    std::string line;
    for (const auto& field : fields) {
        const bool plain = field.find_first_of(" \t\",#\\") == std::string::npos;
        std::string quoted = field;
        if (!plain) {
            quoted = "\"";
            for (const char c : field) quoted += c == '"' || c == '\\' ? std::string{'\\', c} : std::string{c};
            quoted += '"';
        }
        line += (line.empty() ? "" : ",") + quoted;
    }
    return line;
}

}  // namespace vmrouter::dhcp
