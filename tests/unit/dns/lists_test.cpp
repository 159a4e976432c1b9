#include "dns/lists.hpp"

#include <unistd.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

bool blocked(const Blocklist& list, const std::string& text) {
    const auto name = *Name::parse(text);
    return list.find(Suffixes{name}).has_value();
}

struct Kept {
    fs::path root = fs::temp_directory_path() / ("vmrouter-lists-" + std::to_string(::getpid()));
    asio::io_context io;
    std::shared_ptr<const Blocklist> list;
    std::vector<ListReport> reports;

    Kept() {
        fs::remove_all(root);
        fs::create_directories(root);
    }
    ~Kept() { fs::remove_all(root); }
    void write(const std::string& name, const std::string& text) { std::ofstream{root / name} << text; }
    ListKeeper keeper(const std::vector<std::string>& names) {
        std::vector<std::string> paths;
        for (const auto& name : names) paths.push_back((root / name).string());
        return ListKeeper{io.get_executor(), paths, [this](auto loaded, const ListReport& report) {
                              list = std::move(loaded);
                              reports.push_back(report);
                          }};
    }
    bool wait(std::size_t count, std::chrono::milliseconds limit = 2000ms) {
        const auto end = std::chrono::steady_clock::now() + limit;
        io.restart();
        while (reports.size() < count && std::chrono::steady_clock::now() < end) {
            const auto before = processor_time();
            io.run_one_for(20ms);
            longest_turn = std::max(longest_turn, processor_time() - before);
        }
        return reports.size() >= count;
    }
    /// Of this thread: what others do on the machine does not count.
    static std::chrono::nanoseconds processor_time() {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
    }
    std::chrono::nanoseconds longest_turn{0};  ///< for so long nobody else was served
};

}  // namespace

TEST_CASE("block lists are read from all files and again when one changes") {
    Kept kept;
    kept.write("a", "0.0.0.0 ads.example\n..no..name..\n");
    kept.write("b", "tracker.example\n");
    ListReport at_start;
    const auto first = read_lists({(kept.root / "a").string(), (kept.root / "missing").string()}, at_start);
    CHECK(at_start.names == 1);
    CHECK(at_start.bad_lines == 1);
    CHECK(at_start.errors.size() == 1);
    CHECK(blocked(*first, "ads.example"));

    auto keeper = kept.keeper({"a", "b", "missing"});
    keeper.follow();
    CHECK(!kept.wait(1, 200ms));
    keeper.reload();
    REQUIRE(kept.wait(1));
    CHECK(kept.reports[0].names == 2);
    CHECK(kept.reports[0].bad_lines == 1);
    CHECK(kept.reports[0].errors.size() == 1);
    CHECK(blocked(*kept.list, "ads.example"));
    CHECK(blocked(*kept.list, "tracker.example"));
    CHECK(!blocked(*kept.list, "new.example"));

    const auto old = kept.list;
    kept.write("b", "new.example\n");
    REQUIRE(kept.wait(2));
    CHECK(blocked(*kept.list, "new.example"));
    CHECK(!blocked(*kept.list, "tracker.example"));
    CHECK(blocked(*old, "tracker.example"));

    kept.write("missing", "late.example\n");
    REQUIRE(kept.wait(3));
    CHECK(kept.reports[2].errors.empty());
    CHECK(blocked(*kept.list, "late.example"));

    keeper.reload();
    REQUIRE(kept.wait(4));
}

TEST_CASE("a list of a million names is read in slices") {
    Kept kept;
    {
        std::ofstream out{kept.root / "big"};
        for (int i = 0; i < 1000000; ++i) out << "0.0.0.0 host" << i << ".ads.example\n";
    }
    auto keeper = kept.keeper({"big"});
    keeper.reload();
    // A timer that wants to go off every millisecond tells how long others had to wait.
    std::size_t turns = 0;
    auto last = std::chrono::steady_clock::now();
    asio::steady_timer timer{kept.io};
    std::function<void(const asio::error_code&)> tick = [&](const asio::error_code& error) {
        if (error) return;
        ++turns;
        timer.expires_after(1ms);
        timer.async_wait(tick);
    };
    tick({});
    REQUIRE(kept.wait(1, 60s));
    timer.cancel();
    CHECK(kept.reports[0].names == 1000000);
    CHECK(turns > 100);
    CHECK(kept.longest_turn < 25ms);
    CHECK(blocked(*kept.list, "host999999.ads.example"));
    CHECK(!blocked(*kept.list, "host1000000.ads.example"));
    WARN("read in "
         << std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - last).count()
         << " ms, " << kept.list->bytes() / 1024 << " KiB, longest turn " << kept.longest_turn.count() / 1000 << " us");
}

TEST_CASE("lines longer than a slice and a last line without an end are read") {
    Kept kept;
    std::string text = "0.0.0.0";
    for (int i = 0; i < 20000; ++i) text += " host" + std::to_string(i) + ".example";
    kept.write("a", text + "\nsecond.example\nlast.example");
    kept.write("empty", "");
    auto keeper = kept.keeper({"a", "empty"});
    keeper.reload();
    REQUIRE(kept.wait(1));
    CHECK(kept.reports[0].errors.empty());
    CHECK(blocked(*kept.list, "host0.example"));
    CHECK(blocked(*kept.list, "second.example"));
    CHECK(blocked(*kept.list, "last.example"));
    CHECK(kept.reports[0].names == 20002);
}

TEST_CASE("a keeper may go while it reads") {
    Kept kept;
    std::string text;
    for (int i = 0; i < 20000; ++i) text += "host" + std::to_string(i) + ".example\n";
    kept.write("a", text);
    {
        auto keeper = kept.keeper({"a"});
        keeper.reload();
        kept.io.run_one_for(10ms);
        kept.io.run_one_for(10ms);
    }
    kept.io.restart();
    kept.io.run_for(200ms);
    CHECK(kept.reports.empty());
}
