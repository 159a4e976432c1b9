#include "conf/forms.hpp"

#include <algorithm>
#include <utility>

#include "src/base/text.hpp"

namespace vmrouter::conf {
namespace {

bool is_alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_label(std::string_view text, std::string_view also) {
    const auto is_inner = [also](char c) {
        return is_alphanumeric(c) || c == '-' || also.find(c) != std::string_view::npos;
    };
    return !text.empty() && text.size() <= 63 && text.front() != '-' && text.back() != '-' &&
           std::all_of(text.begin(), text.end(), is_inner);
}

std::optional<Protocol> parse_protocol(std::string_view text) {
    if (text == "tcp") return Protocol::Tcp;
    if (text == "udp") return Protocol::Udp;
    return std::nullopt;
}

std::optional<PortRange> parse_port_range(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = parse_port(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
    if (!first || !last || *first > *last) return std::nullopt;
    return PortRange{*first, *last};
}

/// What stands before and after the first `separator`; nullopt without one.
std::optional<std::pair<std::string_view, std::string_view>> cut(std::string_view text, char separator) {
    const auto at = text.find(separator);
    if (at == std::string_view::npos) return std::nullopt;
    return std::pair{text.substr(0, at), text.substr(at + 1)};
}

/// "[address]" or "[address]:port"
std::optional<Endpoint> parse_bracketed(std::string_view text, std::uint16_t default_port) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto address = Ipv6::parse(text.substr(1, end - 1));
    const auto rest = text.substr(end + 1);
    if (!address || (!rest.empty() && rest.front() != ':')) return std::nullopt;
    const auto port = rest.empty() ? std::optional(default_port) : parse_port(rest.substr(1));
    if (!port || *port == 0) return std::nullopt;
    return Endpoint{*address, *port};
}

}  // namespace

std::optional<IpAddress> parse_address(std::string_view text) {
    if (const auto address = Ipv4::parse(text)) return *address;
    if (const auto address = Ipv6::parse(text)) return *address;
    return std::nullopt;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    const auto number = parse_number(text, 65535);
    if (!number || *number == 0) return std::nullopt;
    return static_cast<std::uint16_t>(*number);
}

std::optional<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port) {
    if (text.starts_with('[')) return parse_bracketed(text, default_port);
    if (const auto address = parse_address(text)) {
        if (default_port == 0) return std::nullopt;
        return Endpoint{*address, default_port};
    }
    const auto parts = cut(text, ':');
    if (!parts) return std::nullopt;
    const auto address = Ipv4::parse(parts->first);
    const auto port = parse_port(parts->second);
    if (!address || !port) return std::nullopt;
    return Endpoint{*address, *port};
}

std::optional<Exception> parse_exception(std::string_view text) {
    const auto parts = cut(text, ':');
    const auto network = Cidr::parse(parts ? parts->first : text);
    if (!network) return std::nullopt;
    if (!parts) return Exception{*network, {}, {}};

    const auto service = cut(parts->second, '/');
    const auto protocol = parse_protocol(service ? service->first : parts->second);
    if (!protocol) return std::nullopt;
    if (!service) return Exception{*network, protocol, {}};
    const auto ports = parse_port_range(service->second);
    if (!ports) return std::nullopt;
    return Exception{*network, protocol, ports};
}

std::optional<PortSpec> parse_port_spec(std::string_view text) {
    const auto parts = cut(text, '/');
    if (!parts) return std::nullopt;
    const auto protocol = parse_protocol(parts->first);
    const auto port = parse_port(parts->second);
    if (!protocol || !port) return std::nullopt;
    return PortSpec{*protocol, *port};
}

std::optional<Forward::Listen> parse_listen(std::string_view text) {
    const auto parts = cut(text, '/');
    if (!parts) return std::nullopt;
    const auto protocol = parse_protocol(parts->first);
    const auto bound = cut(parts->second, ':');
    const auto port = parse_port(bound ? bound->second : parts->second);
    if (!protocol || !port) return std::nullopt;
    if (!bound) return Forward::Listen{*protocol, {}, *port};
    const auto address = Ipv4::parse(bound->first);
    if (!address) return std::nullopt;
    return Forward::Listen{*protocol, address, *port};
}

std::optional<DomainPattern> parse_domain_pattern(std::string_view text) {
    const bool wildcard = text.starts_with("*.");
    if (wildcard) text.remove_prefix(2);
    if (text.ends_with('.')) text.remove_suffix(1);
    if (!is_domain(text)) return std::nullopt;
    return DomainPattern{to_lower(text), wildcard};
}

std::optional<std::string> parse_domain(std::string_view text) {
    const auto pattern = parse_domain_pattern(text);
    if (!pattern || pattern->wildcard) return std::nullopt;
    return pattern->name;
}

bool is_host_label(std::string_view text) {
    return is_label(text, "");
}

bool is_domain(std::string_view text) {
    if (text.size() > 253) return false;
    const auto labels = split(text, '.');
    return std::all_of(labels.begin(), labels.end(), [](std::string_view label) { return is_label(label, "_"); });
}

std::string_view to_string(Protocol protocol) {
    return protocol == Protocol::Tcp ? "tcp" : "udp";
}

std::string to_string(const Endpoint& endpoint) {
    const bool is_v6 = std::holds_alternative<Ipv6>(endpoint.address);
    const std::string address = vmrouter::to_string(endpoint.address);
    return (is_v6 ? '[' + address + ']' : address) + ':' + std::to_string(endpoint.port);
}

std::string to_string(const Exception& exception) {
    std::string text = exception.network.length == 32 ? vmrouter::to_string(exception.network.address)
                                                      : vmrouter::to_string(exception.network);
    if (!exception.protocol) return text;
    text += ':';
    text += to_string(*exception.protocol);
    if (!exception.ports) return text;
    text += '/' + std::to_string(exception.ports->first);
    if (exception.ports->last != exception.ports->first) text += '-' + std::to_string(exception.ports->last);
    return text;
}

std::string to_string(const PortSpec& spec) {
    return std::string(to_string(spec.protocol)) + '/' + std::to_string(spec.port);
}

std::string to_string(const Forward::Listen& listen) {
    std::string text(to_string(listen.protocol));
    text += '/';
    if (listen.address) text += vmrouter::to_string(*listen.address) + ':';
    return text + std::to_string(listen.port);
}

std::string to_string(const DomainPattern& pattern) {
    return (pattern.wildcard ? "*." : "") + pattern.name;
}

}  // namespace vmrouter::conf
