#pragma once

#include <string_view>

#include "conf/value.hpp"
#include "src/base/result.hpp"

namespace vmrouter::conf {

/// TOML text as a table of values with their places; the first syntax error, with its place, when it is none.
Result<Value, Diagnostic> parse_toml(std::string_view text, std::string_view file);

}  // namespace vmrouter::conf
