#include "conf/value.hpp"

#include <charconv>
#include <optional>

#include "src/base/text.hpp"

namespace vmrouter::conf {
namespace {

struct Describer {
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) const { return std::to_string(value); }
    std::string operator()(double) const { return "a fraction"; }
    std::string operator()(const std::string& value) const { return '"' + escape(value, 80) + '"'; }
    std::string operator()(const List& value) const { return value.empty() ? "an empty list" : "a list"; }
    std::string operator()(const Table&) const { return "a table"; }
    std::string operator()(Moment) const { return "a date or time"; }
};

std::optional<bool> boolean(std::string_view text) {
    for (const auto* yes : {"true", "yes", "on"})
        if (text == yes) return true;
    for (const auto* no : {"false", "no", "off"})
        if (text == no) return false;
    return std::nullopt;
}

/// Decimal, or hexadecimal with 0x, as TOML has them.
std::optional<std::int64_t> integer(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x");
    if (hexadecimal) text.remove_prefix(2);
    if (hexadecimal && text.starts_with('-')) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value, hexadecimal ? 16 : 10);
    if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

List list(std::string_view text, const Place& place) {
    List values;
    if (trim(text).empty()) return values;
    for (const auto part : split(text, ',')) values.push_back({place, std::string(trim(part))});
    return values;
}

}  // namespace

std::string describe(const Value& value) {
    return std::visit(Describer{}, value.data);
}

Value value_from_flag(std::string_view text, Shape shape, const Place& place) {
    if (shape == Shape::Boolean)
        if (const auto value = boolean(text)) return {place, *value};
    if (shape == Shape::Integer)
        if (const auto value = integer(text)) return {place, *value};
    if (shape == Shape::Strings && text != "auto") return {place, list(text, place)};
    return {place, std::string(text)};
}

}  // namespace vmrouter::conf
