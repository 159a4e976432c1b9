#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "conf/load.hpp"

namespace vmrouter::conf {

struct Value;
struct Entry;
using List = std::vector<Value>;
using Table = std::vector<Entry>;  ///< in file order

/// What TOML has and no key of ours takes: dates and times.
struct Moment {};

/// One value as it was written, with its place: what the reader works on, whether it came from a file or from a flag.
struct Value {
    Place place;
    std::variant<bool, std::int64_t, double, std::string, List, Table, Moment> data;

    [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&data); }
    [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data); }
    [[nodiscard]] const std::string* string() const { return std::get_if<std::string>(&data); }
    [[nodiscard]] const List* list() const { return std::get_if<List>(&data); }
    [[nodiscard]] const Table* table() const { return std::get_if<Table>(&data); }
};

struct Entry {
    std::string key;
    Place place;  ///< of the key
    Value value;
};

/// A value in a message: `"blok"`, `100`, `true`, `a list`. Unprintable bytes are escaped.
std::string describe(const Value& value);

/// What kind of value a key takes; says how the text of a flag is read.
enum class Shape { Boolean, Integer, String, Strings, Tables };

/// The text of a flag as the value it would be in the file. Text that does not fit the shape stays a string, for the
/// key's own reader to refuse. Lists are separated by commas, but "auto" alone stays a string.
Value value_from_flag(std::string_view text, Shape shape, const Place& place);

}  // namespace vmrouter::conf
