#pragma once

#include <optional>

#include "conf/config.hpp"
#include "conf/report.hpp"

namespace vmrouter::conf {

/// One element of dhcp.options, { code = 119, text = "..." } and so on, in its wire form. Refused: a code that has a
/// key of its own, a kind of value or a length that the option's definition (RFC 2132 and later) does not have.
std::optional<DhcpOption> read_dhcp_option(const Value& value, const Field& field);

}  // namespace vmrouter::conf
