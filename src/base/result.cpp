#include "src/base/result.hpp"

#include <system_error>

namespace vmrouter {

std::string to_string(const Error& error) {
    std::string text;
    if (!error.where.empty()) text += error.where + ": ";
    text += error.what;
    if (!error.hint.empty()) text += "\n  hint: " + error.hint;
    return text;
}

Error system_error(std::string what, int errnum, std::string where, std::string hint) {
    return {std::move(what) + ": " + std::generic_category().message(errnum), std::move(where), std::move(hint)};
}

}  // namespace vmrouter
