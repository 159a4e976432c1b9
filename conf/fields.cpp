#include "conf/fields.hpp"

#include <algorithm>

#include "conf/forms.hpp"
#include "src/base/text.hpp"

namespace vmrouter::conf::read {
namespace {

constexpr std::size_t longest_path = 4095;
constexpr std::size_t longest_socket_path = 107;  // sun_path with its NUL
constexpr std::size_t longest_client_id = 765;    // 255 bytes as text: two digits and a separator each
constexpr std::chrono::seconds shortest_lease{120};

std::string quoted(std::string_view text) {
    return '"' + escape(text, 80) + '"';
}

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool is_absolute_path(std::string_view text) {
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    return text.starts_with('/') && text.size() <= longest_path && std::none_of(text.begin(), text.end(), is_control);
}

/// What `parse` makes of a string; anything else is refused as not `wanted`.
template <class Parse>
auto parsed(const Value& value, const Field& field, std::string_view wanted, Parse parse)
    -> decltype(parse(std::string_view{})) {
    const auto* text = value.string();
    if (!text) return field.refuse(value, wanted);
    auto result = parse(std::string_view(*text));
    if (!result) return field.refuse(value, wanted);
    return result;
}

std::optional<std::chrono::seconds> duration(const Value& value, const Field& field, std::string_view wanted) {
    if (const auto* number = value.integer())
        return field.refuse(value, wanted, "write \"" + std::to_string(*number) + "s\"");
    return parsed(value, field, wanted, parse_duration);
}

/// A server's address: not one that no packet can be sent to, and not one that needs an interface beside it.
bool is_server_address(const IpAddress& address) {
    if (const auto* four = std::get_if<Ipv4>(&address))
        return !(four->value >> 24 == 0) && !four->is_multicast() && four->value >> 28 != 0xf;
    const auto& bytes = std::get<Ipv6>(address).bytes;
    const bool is_unspecified = std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
    const bool is_link_local = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
    return !is_unspecified && !is_link_local && bytes[0] != 0xff;
}

}  // namespace

std::optional<bool> boolean(const Value& value, const Field& field) {
    if (!value.boolean()) return field.refuse(value, "true or false");
    return *value.boolean();
}

std::optional<std::uint64_t> integer_between(const Value& value, const Field& field, std::uint64_t least,
                                             std::uint64_t most) {
    const auto* number = value.integer();
    if (number && *number >= 0) {
        const auto unsigned_number = static_cast<std::uint64_t>(*number);
        if (unsigned_number >= least && unsigned_number <= most) return unsigned_number;
    }
    return field.refuse(value, "a number from " + std::to_string(least) + " to " + std::to_string(most));
}

std::optional<std::size_t> word(const Value& value, const Field& field, std::span<const std::string_view> words) {
    std::string wanted;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) wanted += i + 1 == words.size() ? " or " : ", ";
        wanted += quoted(words[i]);
    }
    const auto* text = value.string();
    if (!text) return field.refuse(value, wanted);
    const auto found = std::find(words.begin(), words.end(), *text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    const auto near = nearest(*text, words);
    return field.refuse(value, wanted, near ? "did you mean " + quoted(*near) + "?" : "");
}

namespace {

std::optional<std::string> link_name(const Value& value, const Field& field, bool (*is_name)(std::string_view),
                                     const std::string& hint) {
    const auto* text = value.string();
    if (!text || !is_name(*text)) return field.refuse(value, "an interface name", hint);
    // Folders of /proc/sys/net/ipv4/conf with a meaning of their own, and the loopback.
    if (*text == "all" || *text == "default" || *text == "lo")
        return field.refuse(value, "an interface name", quoted(*text) + " means something else to the kernel");
    return *text;
}

}  // namespace

std::optional<std::string> interface_name(const Value& value, const Field& field) {
    return link_name(value, field, is_kernel_interface_name, "1 to 15 bytes without a slash, a colon or white space");
}

std::optional<std::string> plain_interface_name(const Value& value, const Field& field) {
    return link_name(value, field, is_interface_name, "1 to 15 letters, digits, '.', '_' or '-'");
}

std::optional<std::string> required_path(const Value& value, const Field& field) {
    const auto* text = value.string();
    if (!text || !is_absolute_path(*text)) return field.refuse(value, "an absolute path");
    return *text;
}

std::optional<std::string> path(const Value& value, const Field& field) {
    if (const auto* text = value.string(); text && text->empty()) return *text;
    return required_path(value, field);
}

std::optional<std::optional<std::string>> path_or_default(const Value& value, const Field& field) {
    auto result = path(value, field);
    if (!result) return std::nullopt;
    if (result->empty()) result.reset();
    return std::make_optional(std::move(result));
}

std::optional<std::optional<std::string>> socket_path(const Value& value, const Field& field) {
    if (const auto* text = value.string(); text && text->size() > longest_socket_path)
        return field.fail(value, "has " + std::to_string(text->size()) +
                                     " characters; the path of a socket has at most " +
                                     std::to_string(longest_socket_path));
    return path_or_default(value, field);
}

std::optional<Cidr> segment_address(const Value& value, const Field& field) {
    constexpr auto wanted = "our address with its prefix length, such as \"192.168.100.1/24\"";
    const auto cidr = parsed(value, field, wanted, Cidr::parse);
    if (!cidr) return std::nullopt;
    if (value.string()->find('/') == std::string::npos)
        return field.refuse(value, wanted, "did you mean " + quoted(to_string(cidr->address) + "/24") + "?");
    if (cidr->length < 8 || cidr->length > 30)
        return field.fail(value, "is " + describe(value) + "; the prefix length must be from 8 to 30",
                          cidr->length > 30 ? "a segment needs room for us and a guest" : "");
    const Ipv4 address = cidr->address;
    const std::string example =
        "did you mean " + quoted(to_string(Cidr{Ipv4{cidr->first().value + 1}, cidr->length})) + "?";
    if (address == cidr->first()) return field.fail(value, "is " + describe(value) + ", the network itself", example);
    if (address == cidr->last())
        return field.fail(value, "is " + describe(value) + ", the broadcast address of its network", example);
    const bool is_usable = is_server_address(address) && !address.is_loopback() && address.value >> 16 != 0xa9fe;
    if (!is_usable)
        return field.fail(value, "is " + describe(value) + ", which guests cannot use as a network",
                          "choose one from 192.168.0.0/16, 172.16.0.0/12 or 10.0.0.0/8");
    return cidr;
}

std::optional<Cidr> network(const Value& value, const Field& field) {
    const auto cidr = parsed(value, field, "a network such as \"10.0.0.0/8\"", Cidr::parse);
    if (cidr && cidr->address != cidr->first())
        return field.fail(value, "has " + describe(value) + ", an address with a prefix that cuts it short",
                          "write " + quoted(to_string(cidr->network())) + " or " + quoted(to_string(cidr->address)));
    return cidr;
}

std::optional<Exception> exception(const Value& value, const Field& field) {
    constexpr auto wanted = "such as \"192.168.0.10\", \"192.168.0.10:tcp/445\" or \"10.1.0.0/16:udp/53\"";
    const auto result = parsed(value, field, wanted, parse_exception);
    if (result && result->network.address != result->network.first())
        return field.fail(value, "has " + describe(value) + ", an address with a prefix that cuts it short",
                          "its network is " + to_string(result->network.network()));
    return result;
}

std::optional<PortSpec> port_spec(const Value& value, const Field& field) {
    return parsed(value, field, "a protocol and a port, such as \"tcp/8080\"", parse_port_spec);
}

std::optional<Forward::Listen> listen(const Value& value, const Field& field) {
    const auto result = parsed(value, field, "such as \"tcp/2222\" or \"tcp/0.0.0.0:2222\"", parse_listen);
    if (result && result->address && !result->address->is_unspecified() && !is_server_address(*result->address))
        return field.fail(value, "is " + describe(value) + "; no host can have that address");
    return result;
}

std::optional<std::variant<std::string, MacAddress, Ipv4>> forward_guest(const Value& value, const Field& field) {
    const auto* text = value.string();
    if (text) {
        if (const auto mac = MacAddress::parse(*text)) return *mac;
        if (const auto address = Ipv4::parse(*text)) return *address;
        if (is_host_label(*text)) return to_lower(*text);
    }
    return field.refuse(value, "a reserved name, a MAC or an address");
}

std::optional<std::uint32_t> mark(const Value& value, const Field& field) {
    const auto* number = value.integer();
    const bool is_mark = number && *number > 0 && *number <= 0xffffffff && (*number & (*number - 1)) == 0;
    if (!is_mark) return field.refuse(value, "exactly one bit of 32", "the default is 0x100000");
    return static_cast<std::uint32_t>(*number);
}

std::optional<Ipv4> host_address(const Value& value, const Field& field) {
    const auto address = parsed(value, field, "an IPv4 address", Ipv4::parse);
    if (address && (!is_server_address(*address) || address->is_loopback()))
        return field.refuse(value, "the IPv4 address of a host");
    return address;
}

std::optional<Dhcp::Range> range(const Value& value, const Field& field) {
    constexpr auto wanted = "its first and its last address: [\"192.168.100.2\", \"192.168.100.254\"]";
    const auto* list = value.list();
    if (!list || list->size() != 2) return field.refuse(value, wanted);
    const auto first = host_address((*list)[0], field.element());
    const auto last = host_address((*list)[1], field.element());
    if (!first || !last) return std::nullopt;
    if (*first > *last)
        return field.fail(value, "begins at " + to_string(*first) + ", after its end at " + to_string(*last));
    return Dhcp::Range{*first, *last};
}

std::optional<std::chrono::seconds> lease_time(const Value& value, const Field& field) {
    if (const auto* text = value.string(); text && *text == "infinite") return infinite_lease;
    const auto time = duration(value, field, "such as \"150s\", \"12h\", \"7d\" or \"infinite\"");
    if (!time) return std::nullopt;
    if (*time < shortest_lease)
        return field.fail(value,
                          "is " + describe(value) + "; a lease lasts at least " + vmrouter::to_string(shortest_lease));
    if (*time >= infinite_lease)
        return field.fail(value, "is " + describe(value) + ", more than a lease can last", "write \"infinite\"");
    return time;
}

std::optional<std::chrono::seconds> timer(const Value& value, const Field& field) {
    const auto time = duration(value, field, "such as \"90s\", \"30m\" or \"12h\"");
    if (time && (*time < std::chrono::seconds{1} || *time >= infinite_lease))
        return field.fail(value, "is " + describe(value) + ", outside what the protocol can say");
    return time;
}

std::optional<std::string> boot_server(const Value& value, const Field& field) {
    const auto* text = value.string();
    // The name also goes into the sname field: 64 bytes with its NUL.
    const bool is_server = text && (text->empty() || Ipv4::parse(*text) || is_domain(*text)) && text->size() <= 63;
    if (!is_server) return field.refuse(value, "the address or name of a TFTP server, at most 63 characters");
    return *text;
}

std::optional<std::string> boot_file(const Value& value, const Field& field) {
    const auto* text = value.string();
    // 128 bytes with the NUL: RFC 2131 section 2, field `file`.
    if (!text || !is_printable(*text) || text->size() > 127)
        return field.refuse(value, "a file name of at most 127 printable characters");
    return *text;
}

std::optional<MacAddress> mac(const Value& value, const Field& field) {
    const auto address = parsed(value, field, "a MAC such as \"52:54:00:12:34:56\"", MacAddress::parse);
    if (address && (address->is_multicast() || address->is_zero()))
        return field.refuse(value, "the MAC of one network card", "this one is a group address or none");
    return address;
}

std::optional<std::vector<MacAddress>> macs(const Value& value, const Field& field) {
    if (value.list()) return some_of<mac>(value, field);
    const auto address = mac(value, field);
    if (!address) return std::nullopt;
    return std::vector{*address};
}

std::optional<std::vector<std::uint8_t>> client_id(const Value& value, const Field& field) {
    const auto* text = value.string();
    if (!text || text->empty() || text->size() > longest_client_id)
        return field.refuse(value, "the client's identifier, as \"01:52:54:00:12:34:56\" or as text");
    if (text->find(':') == std::string::npos) return std::vector<std::uint8_t>(text->begin(), text->end());
    auto bytes = parse_hex(*text);
    if (!bytes || bytes->empty() || bytes->size() > 255)
        return field.refuse(value, "1 to 255 bytes such as \"01:52:54:00:12:34:56\"", "text may not contain ':'");
    return bytes;
}

std::optional<std::string> host_name(const Value& value, const Field& field) {
    constexpr auto rule = "1 to 63 letters, digits and inner hyphens";
    const auto* text = value.string();
    if (!text) return field.refuse(value, "a host name", rule);
    const auto dot = text->find('.');
    if (dot != std::string::npos && is_host_label(std::string_view(*text).substr(0, dot)))
        return field.refuse(value, "a host name without its domain",
                            "write " + quoted(text->substr(0, dot)) + "; dns.domain completes it");
    if (!is_host_label(*text)) return field.refuse(value, "a host name", rule);
    if (equal_ignoring_case(*text, "localhost"))
        return field.fail(value, "is \"localhost\", which every host is to itself");
    return to_lower(*text);
}

std::optional<Endpoint> upstream(const Value& value, const Field& field) {
    constexpr auto wanted = "such as \"192.168.0.1\", \"9.9.9.9:53\" or \"[2620:fe::fe]:53\"";
    const auto endpoint = parsed(value, field, wanted, [](std::string_view text) { return parse_endpoint(text, 53); });
    if (endpoint && !is_server_address(endpoint->address)) return field.refuse(value, "the address of a DNS server");
    return endpoint;
}

std::optional<std::string> domain(const Value& value, const Field& field) {
    return parsed(value, field, "a domain name such as \"corp.example\"", parse_domain);
}

std::optional<std::string> guest_domain(const Value& value, const Field& field) {
    auto name = domain(value, field);
    if (!name) return std::nullopt;
    const std::string_view top = std::string_view(*name).substr(name->rfind('.') + 1);
    for (const std::string_view special : {"localhost", "local", "invalid", "onion"})
        if (top == special)
            return field.fail(value,
                              "is " + describe(value) + "; names below '" + std::string(special) +
                                  "' have a meaning of their own (RFC 6761, 6762)",
                              "\"vm.internal\" or \"home.arpa\" are free to use");
    if (top == "arpa" && *name != "home.arpa" && !name->ends_with(".home.arpa"))
        return field.fail(value, "is " + describe(value) + ", in the domain of reverse look-ups",
                          "\"vm.internal\" or \"home.arpa\" are free to use");
    return name;
}

std::optional<DomainPattern> domain_pattern(const Value& value, const Field& field) {
    return parsed(value, field, "a domain name such as \"debian.org\" or \"*.debian.org\"", parse_domain_pattern);
}

namespace {

/// nas.vm.internal = "..." without quotes is a table in a table in a table; it can only mean the name.
void read_records(const Table& table, const std::string& below, const Field& field, std::vector<DnsRecord>& records,
                  bool& good) {
    for (const Entry& entry : table) {
        const std::string written = below.empty() ? entry.key : below + '.' + entry.key;
        if (entry.value.table()) {
            read_records(*entry.value.table(), written, field, records, good);
            continue;
        }
        const auto name = parse_domain(written);
        if (!name) {
            field.fail({entry.place, written}, "has " + quoted(written) + "; each must be a domain name");
            good = false;
            continue;
        }
        const auto has_name = [&name](const DnsRecord& record) { return record.name == *name; };
        if (std::any_of(records.begin(), records.end(), has_name)) {
            field.fail({entry.place, written}, "has " + quoted(*name) + " twice", "give its addresses as a list");
            good = false;
            continue;
        }
        const auto one = [](const Value& value, const Field& inner) {
            return parsed(value, inner, "an address such as \"192.168.100.5\", or a list of them", parse_address);
        };
        const List lone{entry.value};
        for (const Value& value : entry.value.list() ? *entry.value.list() : lone) {
            const auto address = one(value, field.element());
            good = good && address.has_value();
            if (address) records.push_back({*name, *address});
        }
    }
}

}  // namespace

std::optional<std::vector<DnsRecord>> dns_records(const Value& value, const Field& field) {
    if (!value.table()) return field.refuse(value, "a table: { \"nas.vm.internal\" = \"192.168.100.5\" }");
    std::vector<DnsRecord> records;
    bool good = true;
    read_records(*value.table(), "", field, records, good);
    if (!good) return std::nullopt;
    return records;
}

std::optional<BlockList> block_list(const Value& value, const Field& field) {
    const auto* list = value.list();
    if (!list) return list_of<domain_pattern>(value, field), std::nullopt;
    BlockList result;
    bool good = true;
    for (const Value& element : *list) {
        const auto* text = element.string();
        if (text && text->starts_with("file:")) {
            const auto file = required_path({element.place, text->substr(5)}, field.element());
            good = good && file.has_value();
            if (file) result.files.push_back(*file);
        } else {
            const auto name = domain_pattern(element, field.element());
            good = good && name.has_value();
            if (name) result.names.push_back(*name);
        }
    }
    if (!good) return std::nullopt;
    return result;
}

std::optional<std::variant<std::string, std::uint32_t>> user(const Value& value, const Field& field) {
    constexpr auto wanted = "a user name or a uid";
    constexpr std::uint64_t highest_uid = 0xfffffffe;  // 0xffffffff means "no change" to chown(2) and setuid(2)
    std::optional<std::uint64_t> uid;
    if (const auto* number = value.integer(); number && *number >= 0) uid = static_cast<std::uint64_t>(*number);
    if (const auto* text = value.string()) uid = parse_number(*text);
    if (uid == 0U || (value.string() && *value.string() == "root"))
        return field.fail(value, "is " + describe(value) + "; rules for root would cut off the machine itself",
                          "run QEMU as a user of its own");
    if (uid && *uid <= highest_uid) return static_cast<std::uint32_t>(*uid);
    if (uid || !value.string()) return field.refuse(value, wanted);

    const std::string& name = *value.string();
    const bool is_name = !name.empty() && name.size() <= 256 && is_printable(name) && name.front() != '-' &&
                         name.find_first_of(" :/\\\"'") == std::string::npos;
    if (!is_name) return field.refuse(value, wanted);
    return name;
}

std::optional<std::optional<Endpoint>> metrics_endpoint(const Value& value, const Field& field) {
    if (const auto* text = value.string(); text && text->empty()) return std::make_optional(std::optional<Endpoint>{});
    const auto endpoint = parsed(value, field, "an address and a port, such as \"127.0.0.1:9473\"",
                                 [](std::string_view text) { return parse_endpoint(text, 0); });
    if (!endpoint) return std::nullopt;
    return std::make_optional(endpoint);
}

}  // namespace vmrouter::conf::read
