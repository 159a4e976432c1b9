#pragma once

// The small languages inside strings: "192.168.0.10:tcp/445", "tcp/0.0.0.0:2222", "[2620:fe::fe]:53", "*.debian.org".
// Each parses strictly to a value, and each value prints as the text that parses to it.

#include <optional>
#include <string>
#include <string_view>

#include "conf/config.hpp"

namespace vmrouter::conf {

std::optional<IpAddress> parse_address(std::string_view text);
/// 1 to 65535
std::optional<std::uint16_t> parse_port(std::string_view text);
/// An address and a port; without one `default_port`, and nullopt when that is 0.
std::optional<Endpoint> parse_endpoint(std::string_view text, std::uint16_t default_port);
/// "192.168.0.10", "192.168.0.10:tcp", "10.1.0.0/16:udp/53", "192.168.0.10:tcp/8000-8080". Host bits are kept.
std::optional<Exception> parse_exception(std::string_view text);
/// "tcp/8080"
std::optional<PortSpec> parse_port_spec(std::string_view text);
/// "tcp/2222", "tcp/0.0.0.0:2222"
std::optional<Forward::Listen> parse_listen(std::string_view text);
/// "debian.org", "*.debian.org", a trailing dot allowed; lower-cased.
std::optional<DomainPattern> parse_domain_pattern(std::string_view text);
/// As parse_domain_pattern without a wildcard.
std::optional<std::string> parse_domain(std::string_view text);

/// One label of a host name (RFC 952, RFC 1123 section 2.1): 1 to 63 letters, digits and inner hyphens.
bool is_host_label(std::string_view text);
/// Labels of 1 to 63 letters, digits, underscores and inner hyphens, 253 characters in all, without a trailing dot.
bool is_domain(std::string_view text);

std::string_view to_string(Protocol protocol);
std::string to_string(const Endpoint& endpoint);  ///< always with the port
std::string to_string(const Exception& exception);
std::string to_string(const PortSpec& spec);
std::string to_string(const Forward::Listen& listen);
std::string to_string(const DomainPattern& pattern);

}  // namespace vmrouter::conf
