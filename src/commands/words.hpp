#pragma once

// Times and sizes in the words of tables: short, and as wide as they need to be.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "src/base/clock.hpp"

namespace vmrouter {

/// "2d 3h", "57m 12s", "8s": two units are enough to know when.
std::string short_duration(Seconds duration);
/// "12s ago", "now" below a second.
std::string ago(Time then, Time now);
/// "512 B", "1.5 kB", "23 MB": three digits at most.
std::string short_bytes(std::uint64_t bytes);
/// "14:03:27", of the local day.
std::string clock_time(double seconds_since_epoch);

/// A member of an object as it is written in a table: text as it is, numbers in decimal, "" for null and for what is
/// not there.
std::string text_of(const nlohmann::json& object, std::string_view key);
/// A number, or 0.
std::uint64_t number_of(const nlohmann::json& object, std::string_view key);
/// Seconds since the epoch, or nullopt.
std::optional<Time> time_of(const nlohmann::json& object, std::string_view key);
/// A list, or an empty one.
const nlohmann::json& list_of(const nlohmann::json& object, std::string_view key);

}  // namespace vmrouter
