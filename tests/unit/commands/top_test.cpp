#include "src/commands/top.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

using namespace vmrouter;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

json guest(const char* address, const char* name, std::uint64_t sent, std::uint64_t received,
           std::uint64_t blocked = 0) {
    return {{"address", address},
            {"name", name},
            {"blocked", blocked},
            {"sent", {{"packets", 1}, {"bytes", sent}}},
            {"received", {{"packets", 1}, {"bytes", received}}}};
}

std::vector<std::string> shown(const top::Model& model, std::size_t rows, std::size_t columns, bool utf8 = false) {
    std::vector<std::string> out;
    for (const auto& line : model.lines(rows, columns, "11:20:00", top::Bars(utf8))) {
        std::string text;
        for (const auto& span : line) text += span.text;
        text.erase(text.find_last_not_of(' ') + 1);
        out.push_back(text);
    }
    return out;
}

constexpr Monotonic start{std::chrono::hours(1)};

}  // namespace

TEST_CASE("The full screen shows the busiest guest first, with rates and history, then what was blocked and asked") {
    top::Model model("vmrouter virbr10");
    model.sample(json::array({guest("192.168.100.2", "web", 0, 0), guest("192.168.100.3", "", 0, 0)}), start);
    model.sample(json::array({guest("192.168.100.2", "web", 100, 1000), guest("192.168.100.3", "", 4000, 6000, 3)}),
                 start + 1s);
    model.sample(json::array({guest("192.168.100.2", "web", 100, 1000), guest("192.168.100.3", "", 4000, 46000, 12)}),
                 start + 2s);
    model.note({{"time", 0},
                {"event", "blocked"},
                {"guest", nullptr},
                {"address", "192.168.100.3"},
                {"protocol", "tcp"},
                {"peer", "192.168.1.50"},
                {"port", 22},
                {"reason", "lan"}});
    model.note({{"time", 0},
                {"event", "dns"},
                {"guest", "web"},
                {"type", "A"},
                {"name", "www.example.net"},
                {"rcode", "NOERROR"},
                {"source", "cache"}});
    model.note({{"time", 0}, {"event", "flow"}, {"guest", "web"}});
    setenv("TZ", "UTC", 1);
    tzset();
    CHECK(shown(model, 14, 100) ==
          std::vector<std::string>{
              "vmrouter virbr10  2 guests, down 40.0 kB/s, up 0 B/s  11:20:00  q: quit",
              "",
              "GUEST            ADDRESS               DOWN         UP HISTORY              BLOCKED",
              "-                192.168.100.3    40.0 kB/s      0 B/s                   :@      12",
              "web              192.168.100.2        0 B/s      0 B/s                   .        0",
              "",
              "LAST BLOCKED",
              "00:00:00 192.168.100.3    tcp 192.168.1.50:22, lan",
              "",
              "",
              "LAST QUERIES",
              "00:00:00 web              A www.example.net: NOERROR, cache",
              "",
              "",
          });
}

TEST_CASE("The full screen has as many lines as the terminal and none is longer") {
    top::Model model("vmrouter virbr10");
    json guests = json::array();
    for (int i = 2; i < 60; ++i)
        guests.push_back(guest(("192.168.100." + std::to_string(i)).c_str(), "\x1b[2Jx", 0, 0));
    model.sample(guests, start);
    for (auto& one : guests) one["sent"]["bytes"] = 1'000'000;
    model.sample(guests, start + 1s);
    for (int i = 0; i < 500; ++i)
        model.note(
            {{"time", 0}, {"event", "dns"}, {"guest", "\x1b[2J"}, {"type", "A"}, {"name", std::string(300, 'x')}});
    for (const std::size_t rows : {1U, 3U, 5U, 24U, 200U}) {
        for (const std::size_t columns : {1U, 20U, 80U}) {
            const auto lines = model.lines(rows, columns, "11:20:00", top::Bars(true));
            CHECK(lines.size() == rows);
            for (const auto& line : lines) {
                std::size_t width = 0;
                for (const auto& span : line)
                    for (const char c : span.text) {
                        CHECK(c != '\x1b');
                        width += (static_cast<unsigned char>(c) & 0xc0) == 0x80 ? 0 : 1;
                    }
                CHECK(width <= columns);
            }
        }
    }
    CHECK(shown(model, 24, 100, true)[3].find("\u2588") != std::string::npos);
}

TEST_CASE("Counters that begin anew make no absurd rate, and trouble takes the headline") {
    top::Model model("vmrouter virbr10");
    model.sample(json::array({guest("192.168.100.2", "web", 5'000'000, 0)}), start);
    model.sample(json::array({guest("192.168.100.2", "web", 1000, 0)}), start + 1s);
    CHECK(shown(model, 10, 100)[0].find("up 1.0 kB/s") != std::string::npos);
    model.set_trouble("went away");
    CHECK(shown(model, 10, 100)[0] == "vmrouter virbr10  went away");
}
