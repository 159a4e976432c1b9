// monitor --top on a terminal: ncurses, the keys, and the two connections (events, and a sample of the counters every
// second, for as long as somebody looks).

#define NCURSES_NOMACROS 1
#include <curses.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <clocale>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <ostream>

#include "src/commands/answers.hpp"
#include "src/commands/follower.hpp"
#include "src/commands/monitor.hpp"
#include "src/commands/top.hpp"
#include "src/commands/words.hpp"
#include "src/event_filter.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

/// The terminal as ncurses has it, given back at the end.
class Screen {
public:
    Screen() {
        std::setlocale(LC_ALL, "");
        initscr();
        cbreak();
        noecho();
        nodelay(stdscr, TRUE);
        keypad(stdscr, TRUE);
        curs_set(0);
        coloured_ = Terminal::of(STDOUT_FILENO, getenv("NO_COLOR"), getenv("TERM")).colours && has_colors() == TRUE;
        if (!coloured_) return;
        start_color();
        use_default_colors();
        constexpr std::array<short, 4> colours = {COLOR_GREEN, COLOR_YELLOW, COLOR_RED, COLOR_CYAN};
        for (std::size_t i = 0; i < colours.size(); ++i) init_pair(static_cast<short>(i + 1), colours.at(i), -1);
    }
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;
    ~Screen() { endwin(); }

    [[nodiscard]] static bool utf8() { return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0; }
    void draw(const top::Model& model, const std::string& time, const top::Bars& bars) const;

private:
    [[nodiscard]] attr_t attributes(Style style) const;
    bool coloured_ = false;
};

attr_t Screen::attributes(Style style) const {
    const auto pair = [this](int number) { return coloured_ ? static_cast<attr_t>(COLOR_PAIR(number)) : A_NORMAL; };
    switch (style) {
        case Style::Plain:
            return A_NORMAL;
        case Style::Title:
            return A_BOLD;
        case Style::Faint:
            return A_DIM;
        case Style::Good:
            return pair(1);
        case Style::Warn:
            return pair(2);
        case Style::Bad:
            return pair(3);
        case Style::Name:
            return pair(4);
    }
    return A_NORMAL;
}

void Screen::draw(const top::Model& model, const std::string& time, const top::Bars& bars) const {
    erase();
    int rows = 0;
    int columns = 0;
    getmaxyx(stdscr, rows, columns);
    int row = 0;
    for (const auto& line :
         model.lines(static_cast<std::size_t>(rows), static_cast<std::size_t>(columns), time, bars)) {
        move(row++, 0);
        for (const auto& span : line) {
            wattrset(stdscr, static_cast<int>(attributes(span.style)));
            addstr(span.text.c_str());
        }
    }
    wattrset(stdscr, A_NORMAL);
    refresh();
}

/// The counters; nothing while the instance is away.
void take_sample(top::Model& model, const std::string& socket, const std::string& guest) {
    auto client = ControlClient::connect(socket);
    if (!client) return;
    auto guests = client->request({{"command", "traffic"}});
    if (!guests) return;
    if (!guest.empty()) {
        json only = json::array();
        for (const auto& one : *guests)
            if (is_guest(one, guest)) only.push_back(one);
        *guests = std::move(only);
    }
    model.sample(*guests, SystemClock{}.monotonic());
}

bool quit_pressed() {
    for (int key = getch(); key != ERR; key = getch())
        if (key == 'q' || key == 'Q' || key == 3) return true;
    return false;
}

}  // namespace

int monitor_top(const cli::Monitor& options, const std::string& socket, std::ostream& err) {
    json request{{"command", "monitor"}, {"only", {"dns", "blocked"}}};
    if (!options.guest.empty()) request["guest"] = options.guest;
    Follower follower(socket, request);
    if (auto connected = follower.connect(); !connected) return fail(err, connected.error());
    const auto name = socket.substr(socket.rfind('/') + 1);
    top::Model model("vmrouter " + name.substr(0, name.rfind('.')));
    follower.on_lost = [&model] { model.set_trouble("went away; waiting for it to come back (q: quit)"); };
    follower.on_back = [&model] { model.set_trouble({}); };

    Screen screen;
    const top::Bars bars(Screen::utf8());
    const SystemClock clock;
    auto due = clock.monotonic();
    for (;;) {
        if (clock.monotonic() >= due) {
            take_sample(model, socket, options.guest);
            due = clock.monotonic() + Seconds{1};
        }
        screen.draw(model, clock_time(static_cast<double>(clock.now().time_since_epoch().count()) / 1000), bars);
        const auto left = std::chrono::ceil<Milliseconds>(due - clock.monotonic());
        std::array<pollfd, 2> wait{{{STDIN_FILENO, POLLIN, 0},
                                    {follower.client() == nullptr ? -1 : follower.client()->descriptor(), POLLIN, 0}}};
        poll(wait.data(), wait.size(), static_cast<int>(std::max(left, Milliseconds{0}).count()));
        if ((wait[0].revents & (POLLHUP | POLLERR)) != 0 || quit_pressed()) return 0;
        // Everything that is there; one second of the busiest guest at most.
        for (int i = 0; i < 2000; ++i) {
            const auto event = follower.next(Milliseconds{0});
            if (!event || !*event) break;
            model.note(**event);
        }
    }
}

}  // namespace vmrouter
