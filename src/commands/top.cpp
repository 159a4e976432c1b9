#include "src/commands/top.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/commands/event_line.hpp"
#include "src/commands/words.hpp"

namespace vmrouter::top {
namespace {

using nlohmann::json;

constexpr std::size_t name_width = 16;
constexpr std::size_t address_width = 15;
constexpr std::size_t rate_width = 10;

std::string left(std::string text, std::size_t width) {
    text = printable(text).substr(0, width);
    text.resize(width + 1, ' ');
    return text;
}

std::string right(const std::string& text, std::size_t width) {
    return (text.size() < width ? std::string(width - text.size(), ' ') : "") + text + ' ';
}

std::string rate(double bytes_a_second) {
    return short_bytes(static_cast<std::uint64_t>(bytes_a_second)) + "/s";
}

/// Counters begin anew when the rules are loaded anew.
double rate_of(std::uint64_t before, std::uint64_t now, double seconds) {
    return seconds <= 0 ? 0 : static_cast<double>(now >= before ? now - before : now) / seconds;
}

std::uint64_t bytes_of(const json& guest, const char* direction) {
    const auto found = guest.find(direction);
    return found == guest.end() || !found->is_object() ? 0 : number_of(*found, "bytes");
}

void remember(std::deque<std::string>& lines, std::string line) {
    lines.push_front(std::move(line));
    if (lines.size() > Model::most_events) lines.pop_back();
}

/// What fits into `columns`; bars are one column a character whatever their bytes.
Line cut(const Line& line, std::size_t columns) {
    Line out;
    for (const Span& span : line) {
        std::string text;
        for (const char c : span.text) {
            const bool is_continued = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
            if (!is_continued) {
                if (columns == 0) return text.empty() ? out : (out.push_back({text, span.style}), out);
                --columns;
            }
            text += c;
        }
        out.push_back({std::move(text), span.style});
    }
    return out;
}

}  // namespace

std::string Bars::of(unsigned level) const {
    constexpr std::array blocks = {" ", "\u2581", "\u2582", "\u2583", "\u2584", "\u2585", "\u2586", "\u2587", "\u2588"};
    constexpr std::string_view ascii = " .:-=+*#@";
    level = std::min(level, 8U);
    return utf8_ ? std::string(blocks.at(level)) : std::string(1, ascii[level]);
}

void Model::sample(const json& guests, Monotonic now) {
    const double seconds = sampled_ ? std::chrono::duration<double>(now - *sampled_).count() : 0;
    sampled_ = now;
    std::map<std::string, Guest> next;
    for (const auto& one : guests) {
        const auto address = text_of(one, "address");
        const auto known = guests_.find(address);
        Guest guest = known == guests_.end() ? Guest{} : known->second;
        const auto sent = bytes_of(one, "sent");
        const auto received = bytes_of(one, "received");
        guest.name = text_of(one, "name");
        guest.blocked = number_of(one, "blocked");
        if (known != guests_.end()) {
            guest.up = rate_of(guest.sent, sent, seconds);
            guest.down = rate_of(guest.received, received, seconds);
            guest.rates.push_back(guest.up + guest.down);
            if (guest.rates.size() > history) guest.rates.pop_front();
        }
        guest.sent = sent;
        guest.received = received;
        next.emplace(address, std::move(guest));
    }
    guests_ = std::move(next);
}

void Model::note(const json& event) {
    const auto kind = text_of(event, "event");
    if (kind != "blocked" && kind != "dns") return;
    auto guest = text_of(event, "guest");
    if (guest.empty()) guest = text_of(event, "address");
    const auto time = event.find("time");
    remember(kind == "dns" ? queries_ : blocked_,
             clock_time(time != event.end() && time->is_number() ? time->get<double>() : 0) + ' ' +
                 left(guest, name_width) + event_text(event));
}

Line Model::headline(const std::string& time) const {
    double up = 0;
    double down = 0;
    for (const auto& [address, guest] : guests_) {
        up += guest.up;
        down += guest.down;
    }
    if (!trouble_.empty()) return {{printable(instance_), Style::Name}, {"  " + printable(trouble_), Style::Bad}};
    return {{printable(instance_), Style::Name},
            {"  " + std::to_string(guests_.size()) + (guests_.size() == 1 ? " guest" : " guests") + ", down " +
                 rate(down) + ", up " + rate(up) + "  " + time + "  q: quit",
             Style::Plain}};
}

/// The busiest first, by what they moved lately.
std::vector<Line> Model::guest_lines(std::size_t rows, const Bars& bars) const {
    std::vector<std::pair<double, const std::pair<const std::string, Guest>*>> order;
    double most = 1;
    for (const auto& entry : guests_) {
        double sum = 0;
        for (const double one : entry.second.rates) {
            sum += one;
            most = std::max(most, one);
        }
        order.emplace_back(sum, &entry);
    }
    std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<Line> lines;
    for (const auto& [sum, entry] : order) {
        if (lines.size() == rows) break;
        const auto& [address, guest] = *entry;
        std::string bar;
        for (const double one : guest.rates) {
            // A little is more than nothing.
            const auto level = one <= 0 ? 0 : std::max(1.0, std::round(8 * one / most));
            bar += bars.of(static_cast<unsigned>(level));
        }
        const std::string pad(history - guest.rates.size(), ' ');
        lines.push_back({{left(guest.name.empty() ? "-" : guest.name, name_width), Style::Name},
                         {left(address, address_width), Style::Plain},
                         {right(rate(guest.down), rate_width) + right(rate(guest.up), rate_width), Style::Plain},
                         {pad + bar + ' ', Style::Good},
                         {right(std::to_string(guest.blocked), 7), guest.blocked > 0 ? Style::Warn : Style::Plain}});
    }
    return lines;
}

std::vector<Line> Model::lines(std::size_t rows, std::size_t columns, const std::string& time, const Bars& bars) const {
    std::vector<Line> out{headline(time), {}};
    out.push_back({{left("GUEST", name_width) + left("ADDRESS", address_width) + right("DOWN", rate_width) +
                        right("UP", rate_width) + left("HISTORY", history) + right("BLOCKED", 7),
                    Style::Title}});
    // Guests get what they need, at most half; the two lists share the rest.
    const std::size_t half = rows > 10 ? (rows - 6) / 2 : 1;
    for (auto& line : guest_lines(half, bars)) out.push_back(std::move(line));
    const std::size_t rest = rows > out.size() + 4 ? rows - out.size() - 4 : 0;
    const auto list = [&out](const char* title, const std::deque<std::string>& lines, std::size_t count, Style style) {
        out.emplace_back();
        out.push_back({{title, Style::Title}});
        for (std::size_t i = 0; i < count; ++i) out.push_back({{i < lines.size() ? lines[i] : "", style}});
    };
    list("LAST BLOCKED", blocked_, rest / 2, Style::Bad);
    list("LAST QUERIES", queries_, rest - rest / 2, Style::Plain);
    out.resize(rows);
    for (Line& line : out) line = cut(line, columns);
    return out;
}

}  // namespace vmrouter::top
