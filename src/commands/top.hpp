#pragma once

// The full screen of `monitor --top` as text: what is shown is decided here, how it gets onto the screen in
// top_screen.cpp.

#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "src/base/clock.hpp"
#include "src/base/terminal.hpp"

namespace vmrouter::top {

/// A piece of a line in one style.
struct Span {
    std::string text;  ///< printable ASCII, but for bars
    Style style = Style::Plain;
};
using Line = std::vector<Span>;

/// Eight levels of a bar: block elements where the terminal shows UTF-8, else ASCII.
struct Bars {
    explicit Bars(bool utf8) : utf8_(utf8) {}
    /// `level` 0 to 8.
    [[nodiscard]] std::string of(unsigned level) const;

private:
    bool utf8_;
};

class Model {
public:
    static constexpr std::size_t history = 20;  ///< samples of each guest
    static constexpr std::size_t most_events = 200;

    explicit Model(std::string instance) : instance_(std::move(instance)) {}

    /// The counters of all guests (the answer to "traffic"); rates come with the second sample.
    void sample(const nlohmann::json& guests, Monotonic now);
    /// An event of `monitor`.
    void note(const nlohmann::json& event);
    /// Said in the headline; empty when all is well.
    void set_trouble(std::string trouble) { trouble_ = std::move(trouble); }

    /// The whole screen: exactly `rows` lines of at most `columns` characters.
    [[nodiscard]] std::vector<Line> lines(std::size_t rows, std::size_t columns, const std::string& time,
                                          const Bars& bars) const;

private:
    struct Guest {
        std::string name;
        std::uint64_t sent = 0;
        std::uint64_t received = 0;
        std::uint64_t blocked = 0;
        double up = 0;  ///< bytes a second
        double down = 0;
        std::deque<double> rates;  ///< both together, oldest first
    };
    [[nodiscard]] Line headline(const std::string& time) const;
    [[nodiscard]] std::vector<Line> guest_lines(std::size_t rows, const Bars& bars) const;

    std::string instance_;
    std::string trouble_;
    std::map<std::string, Guest> guests_;  ///< by address
    std::deque<std::string> blocked_;      ///< newest first
    std::deque<std::string> queries_;
    std::optional<Monotonic> sampled_;
};

}  // namespace vmrouter::top
