#include "dhcp/names.hpp"

#include <algorithm>
#include <array>

#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

// Option 81 flags (RFC 4702 section 2.1).
constexpr std::uint8_t flag_server = 0x01;    // S: the server does the A record
constexpr std::uint8_t flag_override = 0x02;  // O: the server overrode S
constexpr std::uint8_t flag_encoded = 0x04;   // E: the name is in DNS wire format
constexpr std::uint8_t flag_none = 0x08;      // N: nobody does any

constexpr std::size_t longest_label = 63;

/// Names that the software of other guests trusts whoever has them: proxy discovery, tunnels, the machine itself.
constexpr std::array<std::string_view, 3> forbidden{"wpad", "localhost", "isatap"};

bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string text_of(Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}

/// The first label of a name in DNS wire format: all we use of it.
std::string first_label(Bytes name) {
    Reader reader(name);
    const std::size_t size = reader.u8();
    if (size > longest_label) return {};
    return text_of(reader.bytes(size));
}

bool same_client(const Lease& lease, const ServerConfig& config, const Message& message) {
    if (config.identity == Identity::ClientId && !message.client_id().empty() && !lease.client_id.empty())
        return std::ranges::equal(lease.client_id, message.client_id());
    if (message.chaddr.empty()) return std::ranges::equal(lease.client_id, message.client_id());
    return lease.hardware == message.chaddr;
}

NameRefusal refusal(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                    const HostEntry* host, const Message& message, const std::string& name, Ipv4 address) {
    if (std::ranges::any_of(forbidden, [&](auto word) { return equal_ignoring_case(word, name); }))
        return NameRefusal::Forbidden;
    if (std::ranges::any_of(config.refused_names, [&](const auto& word) { return equal_ignoring_case(word, name); }))
        return NameRefusal::OurHost;
    if (const HostEntry* owner = reservations.by_name(name); owner != nullptr && owner != host)
        return NameRefusal::Reserved;
    const Lease* holder = leases.by_name(name);
    if (holder != nullptr && holder->address != address && !same_client(*holder, config, message))
        return NameRefusal::TakenByGuest;
    return NameRefusal::None;
}

}  // namespace

std::optional<std::string> legal_name(std::string_view text) {
    while (text.ends_with('\0')) text.remove_suffix(1);
    const std::string_view host = text.substr(0, text.find('.'));
    if (host.empty() || host.size() > longest_label || !is_alphanumeric(host.front())) return std::nullopt;
    const bool legal = std::ranges::all_of(host, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_'; });
    if (!legal || !is_alphanumeric(host.back())) return std::nullopt;
    return std::string(host);
}

std::string claimed_name(const Message& message) {
    if (const auto fqdn = message.options.find(option::client_fqdn); fqdn && fqdn->size() > 3) {
        const Bytes name = fqdn->subspan(3);
        std::string claimed = ((*fqdn)[0] & flag_encoded) != 0 ? first_label(name) : text_of(name);
        if (!claimed.empty()) return claimed;
    }
    const auto name = message.options.text(option::host_name);
    return name ? std::string(*name) : std::string{};
}

std::string_view to_string(NameRefusal refusal) {
    switch (refusal) {
        case NameRefusal::None:
            return "accepted";
        case NameRefusal::Illegal:
            return "is not a host name";
        case NameRefusal::Forbidden:
            return "is a name that no guest may take";
        case NameRefusal::OurHost:
            return "is a name of this host";
        case NameRefusal::Reserved:
            return "is reserved for another client";
        case NameRefusal::TakenByGuest:
            return "belongs to another guest";
    }
    return "";
}

NameChoice choose_name(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                       const HostEntry* host, const Message& message, Ipv4 address) {
    if (host != nullptr && !host->name.empty()) return {host->name, true, NameRefusal::None};
    const std::string claimed = claimed_name(message);
    if (claimed.empty()) return {};
    const auto name = legal_name(claimed);
    if (!name) return {{}, false, NameRefusal::Illegal};
    const NameRefusal reason = refusal(leases, config, reservations, host, message, *name, address);
    if (reason != NameRefusal::None) return {{}, false, reason};
    return {*name, false, NameRefusal::None};
}

std::vector<std::uint8_t> encode_client_fqdn(Bytes request, std::string_view name, std::string_view domain) {
    const std::uint8_t asked = request.empty() ? std::uint8_t{0} : request[0];
    // We answer for the name whatever the client wished; where it wished otherwise we say so.
    std::uint8_t flags = static_cast<std::uint8_t>((asked & flag_encoded) | flag_server);
    if ((asked & flag_server) == 0 || (asked & flag_none) != 0) flags |= flag_override;
    std::vector<std::uint8_t> value{flags, 255, 255};
    std::string full(name);
    if (!domain.empty()) full += "." + std::string(domain);
    if ((asked & flag_encoded) == 0) {
        value.insert(value.end(), full.begin(), full.end());
        return value;
    }
    for (const auto label : split(full, '.')) {
        if (label.empty() || label.size() > longest_label) continue;
        value.push_back(static_cast<std::uint8_t>(label.size()));
        value.insert(value.end(), label.begin(), label.end());
    }
    value.push_back(0);
    return value;
}

}  // namespace vmrouter::dhcp
