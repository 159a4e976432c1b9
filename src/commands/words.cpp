#include "src/commands/words.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

namespace vmrouter {

using nlohmann::json;

std::string short_duration(Seconds duration) {
    constexpr std::array<std::pair<std::int64_t, char>, 4> units = {{{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
    std::int64_t rest = std::max<std::int64_t>(duration.count(), 0);
    const auto* unit = std::find_if(units.begin(), units.end() - 1, [rest](const auto& u) { return rest >= u.first; });
    std::string text = std::to_string(rest / unit->first) + unit->second;
    rest %= unit->first;
    if (++unit != units.end() && rest / unit->first > 0)
        text += ' ' + std::to_string(rest / unit->first) + unit->second;
    return text;
}

std::string ago(Time then, Time now) {
    if (now - then < Seconds{1}) return "now";
    return short_duration(std::chrono::floor<Seconds>(now - then)) + " ago";
}

std::string short_bytes(std::uint64_t bytes) {
    constexpr std::array units = {" B", " kB", " MB", " GB", " TB", " PB"};
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 999.5 && unit + 1 < units.size()) {
        value /= 1000;
        ++unit;
    }
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 || value >= 99.95 ? "%.0f%s" : "%.1f%s", value, units[unit]);
    return text;
}

std::string clock_time(double seconds_since_epoch) {
    const auto seconds = static_cast<std::time_t>(seconds_since_epoch);
    std::tm local{};
    localtime_r(&seconds, &local);
    char text[16];
    return {text, std::strftime(text, sizeof text, "%H:%M:%S", &local)};
}

std::string text_of(const json& object, std::string_view key) {
    const auto found = object.find(key);
    if (found == object.end() || found->is_null()) return {};
    if (found->is_string()) return found->get<std::string>();
    return found->dump(-1, ' ', true, json::error_handler_t::replace);
}

std::uint64_t number_of(const json& object, std::string_view key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() ? found->get<std::uint64_t>() : 0;
}

std::optional<Time> time_of(const json& object, std::string_view key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number()) return std::nullopt;
    return Time{Seconds{found->get<std::int64_t>()}};
}

const json& list_of(const json& object, std::string_view key) {
    static const json nothing = json::array();
    const auto found = object.find(key);
    return found != object.end() && found->is_array() ? *found : nothing;
}

}  // namespace vmrouter
