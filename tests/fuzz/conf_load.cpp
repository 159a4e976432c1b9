// Any text is either a configuration or a list of messages; messages are printable, in file order, and have places
// inside the text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "conf/load.hpp"
#include "tests/fuzz/require.hpp"

namespace {

bool is_printable(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return c == '\n' || static_cast<unsigned char>(c) >= 0x20; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vmrouter::conf;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    const Loaded loaded = load_text(text, "fuzz.toml");
    std::size_t line = 0;
    for (const Diagnostic& error : loaded.errors) {
        require(is_printable(to_string(error)));
        require(error.line >= line && error.line <= lines);
        line = error.line;
    }
    if (loaded.errors.empty()) require(!instance_name(loaded.config).empty());
    return 0;
}
