#include "conf/toml.hpp"

#include <algorithm>
#include <tuple>

#include "src/base/text.hpp"

// Header-only and known to this file alone: the library costs two seconds a compilation, and its values convert where
// we want an error (an integer is a bool to it), so the reader works on values of our own.
#define TOML_EXCEPTIONS 0
// Version 3.3 asserts what its own next lines check and report: "[" at the end of a line would abort us. With NDEBUG
// some compilers would take the same assertions for granted and drop those checks.
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

namespace vmrouter::conf {
namespace {

class Converter {
public:
    explicit Converter(std::string_view file) : file_(file) {}

    [[nodiscard]] Value value(const toml::node& node) const {
        const Place place = at(node.source());
        if (const auto* table = node.as_table()) return {place, entries(*table)};
        if (const auto* array = node.as_array()) return {place, elements(*array)};
        if (const auto* text = node.as_string()) return {place, text->get()};
        if (const auto* number = node.as_integer()) return {place, number->get()};
        if (const auto* truth = node.as_boolean()) return {place, truth->get()};
        if (const auto* fraction = node.as_floating_point()) return {place, fraction->get()};
        return {place, Moment{}};
    }

    [[nodiscard]] Place at(const toml::source_region& region) const {
        return {file_, region.begin.line, region.begin.column};
    }

private:
    [[nodiscard]] List elements(const toml::array& array) const {
        List list;
        list.reserve(array.size());
        for (const auto& node : array) list.push_back(value(node));
        return list;
    }

    /// The library iterates by name; a user reads from top to bottom.
    [[nodiscard]] Table entries(const toml::table& table) const {
        Table list;
        for (const auto& [key, node] : table) list.push_back({std::string(key.str()), at(key.source()), value(node)});
        std::stable_sort(list.begin(), list.end(), [](const Entry& a, const Entry& b) {
            return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
        });
        return list;
    }

    std::string file_;
};

/// The library quotes some bytes of the file as they are. Its backslashes are its own ("saw '\\n'") and stay.
std::string printable(std::string_view description) {
    std::string text;
    for (const char& c : description) text += c == '\\' ? std::string(1, c) : escape({&c, 1});
    return text;
}

}  // namespace

Result<Value, Diagnostic> parse_toml(std::string_view text, std::string_view file) {
    const Converter converter(file);
    const auto parsed = toml::parse(text, file);
    if (parsed) return converter.value(parsed.table());
    const Place place = converter.at(parsed.error().source());
    return Failure{Diagnostic{place.file, place.line, place.column, printable(parsed.error().description()), {}}};
}

}  // namespace vmrouter::conf
