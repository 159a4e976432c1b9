#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "conf/load.hpp"

namespace vmrouter::conf::test {

/// All messages, a line break after each. Those about functions that a version lacks are left out: they come and go,
/// and have their own test.
inline std::string text_of(const std::vector<Diagnostic>& list) {
    std::string text;
    for (const Diagnostic& item : list)
        if (item.what.find("does not have yet") == std::string::npos) text += to_string(item) + "\n";
    return text;
}

/// What is wrong with a file, as the user sees it.
inline std::string errors_of(std::string_view file, std::span<const Override> overrides = {}) {
    return text_of(load_text(file, "vm.toml", overrides).errors);
}

inline std::string warnings_of(std::string_view file) {
    return text_of(load_text(file, "vm.toml").warnings);
}

}  // namespace vmrouter::conf::test
