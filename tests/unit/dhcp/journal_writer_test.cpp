#include "dhcp/journal_writer.hpp"

#include <sys/stat.h>

#include <asio/io_context.hpp>
#include <optional>
#include <vector>

#include "src/base/file.hpp"
#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

TEST_CASE("Appended records are in the file in order when their commit reports") {
    const TemporaryFolder folder;
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    const auto scenario = [&]() -> asio::awaitable<void> {
        const auto begun = co_await writer.rewrite("header\n");
        CHECK(begun);
        CHECK(*read_file(folder / "journal") == "header\n");
        const auto one = co_await writer.append("one\n");
        CHECK(one);
        CHECK(*read_file(folder / "journal") == "header\none\n");
        const auto two = co_await writer.append("two\nthree\n");
        CHECK(two);
        CHECK(*read_file(folder / "journal") == "header\none\ntwo\nthree\n");
        const auto again = co_await writer.rewrite("new\n");
        CHECK(again);
        const auto four = co_await writer.append("four\n");
        CHECK(four);
        CHECK(*read_file(folder / "journal") == "new\nfour\n");
    };
    finish(io, scenario());
    struct stat status {};
    REQUIRE(stat((folder / "journal").c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
}

TEST_CASE("A journal that was never begun takes nothing") {
    const TemporaryFolder folder;
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    const auto scenario = [&]() -> asio::awaitable<void> {
        const auto refused = co_await writer.append("one\n");
        CHECK_FALSE(refused);
    };
    finish(io, scenario());
}

TEST_CASE("After a failed write nothing is appended until a complete journal was written") {
    const TemporaryFolder folder;
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    const auto scenario = [&]() -> asio::awaitable<void> {
        const auto begun = co_await writer.rewrite("header\n");
        CHECK(begun);
        std::optional<FullDisk> full(std::in_place, 10);
        const auto torn = co_await writer.append("a record that does not fit\n");
        REQUIRE_FALSE(torn);
        CHECK(torn.error().what.find("cannot write the DHCP journal") == 0);
        CHECK(torn.error().where == folder / "journal");
        CHECK(*read_file(folder / "journal") == "header\na r");
        const auto still = co_await writer.rewrite("all that there is, too long as well\n");
        CHECK_FALSE(still);
        full.reset();

        const auto refused = co_await writer.append("never written behind a torn line\n");
        CHECK_FALSE(refused);
        CHECK(*read_file(folder / "journal") == "header\na r");
        const auto recovered = co_await writer.rewrite("complete\n");
        CHECK(recovered);
        const auto again = co_await writer.append("and on\n");
        CHECK(again);
        CHECK(*read_file(folder / "journal") == "complete\nand on\n");
    };
    finish(io, scenario());
}

TEST_CASE("A journal that works goes on when no other can take its place") {
    const TemporaryFolder folder;
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    const auto scenario = [&]() -> asio::awaitable<void> {
        CHECK_FALSE(writer.appends());
        const auto begun = co_await writer.rewrite("header\n");
        CHECK(begun);
        std::optional<FullDisk> full(std::in_place, 20);
        const auto longer = co_await writer.rewrite("complete, and too long for what the disk has left\n");
        CHECK_FALSE(longer);
        CHECK(writer.appends());
        const auto one = co_await writer.append("one\n");
        CHECK(one);
        full.reset();
        // Nor when it was to go on elsewhere.
        writer.move_to(folder / "missing/journal");
        const auto moved = co_await writer.rewrite("there\n");
        CHECK_FALSE(moved);
        const auto two = co_await writer.append("two\n");
        CHECK(two);
        CHECK(*read_file(folder / "journal") == "header\none\ntwo\n");
        std::filesystem::create_directory(folder / "missing");
        const auto again = co_await writer.rewrite("there\n");
        CHECK(again);
        const auto three = co_await writer.append("three\n");
        CHECK(three);
        CHECK(*read_file(folder / "missing/journal") == "there\nthree\n");
        CHECK(*read_file(folder / "journal") == "header\none\ntwo\n");
    };
    finish(io, scenario());
}

TEST_CASE("The journal is not written through a link that somebody left in its place") {
    const TemporaryFolder folder;
    REQUIRE(replace_file(folder / "precious", "precious\n"));
    std::filesystem::create_symlink(folder / "precious", folder / "journal");
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    const auto scenario = [&]() -> asio::awaitable<void> {
        const auto begun = co_await writer.rewrite("header\n");
        CHECK(begun);
    };
    finish(io, scenario());
    CHECK(*read_file(folder / "precious") == "precious\n");
    CHECK_FALSE(std::filesystem::is_symlink(folder / "journal"));
}

TEST_CASE("What was asked for before the writer is destroyed is written") {
    const TemporaryFolder folder;
    asio::io_context io;
    {
        JournalWriter writer(io.get_executor(), folder / "journal");
        const auto ask = [&](std::string text) -> asio::awaitable<void> {
            const auto ignored = co_await writer.append(std::move(text));
            CHECK(ignored);
        };
        const auto begin = [&]() -> asio::awaitable<void> {
            const auto begun = co_await writer.rewrite("header\n");
            CHECK(begun);
        };
        asio::co_spawn(io, begin(), [](std::exception_ptr) {});
        for (int i = 0; i < 50; ++i) asio::co_spawn(io, ask(std::to_string(i) + "\n"), [](std::exception_ptr) {});
        io.poll();
    }
    const auto content = *read_file(folder / "journal");
    CHECK(content.substr(0, 9) == "header\n0\n");
    CHECK(content.ends_with("\n49\n"));
    io.run();  // the completions that were still on their way
}

TEST_CASE("The event loop goes on while the disk is busy") {
    const TemporaryFolder folder;
    asio::io_context io;
    JournalWriter writer(io.get_executor(), folder / "journal");
    bool written = false;
    const auto write = [&]() -> asio::awaitable<void> {
        const auto done = co_await writer.replace(folder / "large", std::string(std::size_t{256} << 20, 'x'));
        CHECK(done);
        written = true;
    };
    int ticks = 0;
    const auto tick = [&]() -> asio::awaitable<void> {
        while (!written) {
            ++ticks;
            co_await sleep_for(io, Milliseconds{1});
        }
    };
    asio::co_spawn(io, write(), [](std::exception_ptr) {});
    finish(io, tick());
    CHECK(ticks > 5);
}
