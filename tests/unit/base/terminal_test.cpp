#include "src/base/terminal.hpp"

#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>

#include "src/base/table.hpp"

using namespace vmrouter;

namespace {

/// A terminal of 72 columns.
struct Pty {
    Pty() {
        winsize size{};
        size.ws_col = 72;
        size.ws_row = 24;
        REQUIRE(openpty(&controller, &terminal, nullptr, nullptr, &size) == 0);
    }
    Pty(const Pty&) = delete;
    Pty& operator=(const Pty&) = delete;
    ~Pty() {
        close(controller);
        close(terminal);
    }
    int controller = -1;
    int terminal = -1;
};

constexpr Terminal plain;
constexpr Terminal coloured{true, true, 40};

}  // namespace

TEST_CASE("Colours are for terminals that show them, and never with NO_COLOR") {
    const Pty pty;
    CHECK(Terminal::of(pty.terminal, nullptr, "xterm").colours);
    CHECK(Terminal::of(pty.terminal, "", "xterm").colours);  // an empty NO_COLOR is none
    CHECK_FALSE(Terminal::of(pty.terminal, "1", "xterm").colours);
    CHECK_FALSE(Terminal::of(pty.terminal, "0", "xterm").colours);
    CHECK_FALSE(Terminal::of(pty.terminal, nullptr, "dumb").colours);
    CHECK_FALSE(Terminal::of(pty.terminal, nullptr, nullptr).colours);
    CHECK(Terminal::of(pty.terminal, "1", "xterm").is_terminal);
    CHECK(Terminal::of(pty.terminal, "1", "xterm").width == 72);

    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const auto pipe_end = Terminal::of(ends[1], nullptr, "xterm");
    CHECK_FALSE(pipe_end.is_terminal);
    CHECK_FALSE(pipe_end.colours);
    CHECK(pipe_end.width == 0);
    close(ends[0]);
    close(ends[1]);
}

TEST_CASE("A stream that is not the program's own output is plain") {
    std::ostringstream text;
    CHECK_FALSE(Terminal::of(text).is_terminal);
    CHECK(Terminal::of(std::cout).is_terminal == (isatty(STDOUT_FILENO) != 0));
    CHECK(Terminal::of(std::cerr).is_terminal == (isatty(STDERR_FILENO) != 0));
}

TEST_CASE("A painted text ends its own colour") {
    CHECK(plain.paint(Style::Bad, "no") == "no");
    CHECK(coloured.paint(Style::Plain, "no") == "no");
    CHECK(coloured.paint(Style::Good, "yes") == "\x1b[32myes\x1b[0m");
    CHECK(coloured.paint(Style::Good, "") == "");
}

TEST_CASE("What is printable stays, and stays the same when it is made printable again") {
    CHECK(printable("web-1 (a\\b)") == "web-1 (a\\b)");
    CHECK(printable("\x1b[31mred\n\xff") == "\\x1b[31mred\\x0a\\xff");
    CHECK(printable(printable("\x1b")) == printable("\x1b"));
}

TEST_CASE("Text is wrapped at spaces") {
    CHECK(wrap("one two three", 0) == "one two three");
    CHECK(wrap("one two three", 7) == "one two\nthree");
    CHECK(wrap("one two three", 6) == "one\ntwo\nthree");
    CHECK(wrap("one two three", 8, 2) == "one two\n  three");
    CHECK(wrap("incomprehensibilities are long", 8) == "incomprehensibilities\nare long");
    CHECK(wrap("", 8) == "");
}

TEST_CASE("A table is aligned, and its last column hangs below itself on a terminal only") {
    Table table({"NAME", {"AGE", Table::Align::Right}, "WHAT"});
    CHECK(table.empty());
    table.add({"web", "5", "a word or two, and then some more"});
    table.add({"a-long-name", "12345", ""});
    table.add({"short"});
    CHECK_FALSE(table.empty());
    CHECK(table.text(plain) ==
          "NAME           AGE  WHAT\n"
          "web              5  a word or two, and then some more\n"
          "a-long-name  12345  -\n"
          "short            -  -\n");
    CHECK(table.text({true, false, 42}, 1) ==
          " NAME           AGE  WHAT\n"
          " web              5  a word or two, and\n"
          "                     then some more\n"
          " a-long-name  12345  -\n"
          " short            -  -\n");
    CHECK(table.text({true, false, 30}).find("and then some more\n") != std::string::npos);  // too narrow to wrap
    std::ostringstream out;
    table.print(out);
    CHECK(out.str() == table.text(plain));
}

TEST_CASE("A table counts what is seen: colours and hostile bytes shift nothing") {
    Table table({"NAME", "STATE"});
    table.add({{"\x1b[2J", Style::Name}, {"bound", Style::Good}});
    table.add({"ok", {"gone", Style::Bad}});
    CHECK(table.text(plain) ==
          "NAME     STATE\n"
          "\\x1b[2J  bound\n"
          "ok       gone\n");
    CHECK(table.text(coloured) ==
          "\x1b[1mNAME\x1b[0m     \x1b[1mSTATE\x1b[0m\n"
          "\x1b[36m\\x1b[2J\x1b[0m  \x1b[32mbound\x1b[0m\n"
          "ok       \x1b[1;31mgone\x1b[0m\n");
}

TEST_CASE("Progress is one line of a terminal that vanishes, and nothing elsewhere") {
    std::ostringstream out;
    {
        Progress progress(out);
        progress.show("asking", 1, 3);
    }
    CHECK(out.str() == "");
    {
        Progress progress(out, {true, false, 20});
        progress.clear();
        CHECK(out.str() == "");
        progress.show("asking", 1, 3);
        progress.show("something much longer than the line\n");
    }
    CHECK(out.str() == "\r\x1b[K[1/3] asking\r\x1b[Ksomething much long\r\x1b[K");
}
