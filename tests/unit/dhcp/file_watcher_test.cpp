#include "dhcp/file_watcher.hpp"

#include <asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "src/base/file.hpp"
#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

/// Counts changes in the background.
struct Watch {
    explicit Watch(const std::string& path) : watcher(io.get_executor(), path) {
        asio::co_spawn(io, loop(), [](std::exception_ptr) {});
    }
    asio::awaitable<void> loop() {
        for (;;) {
            const bool changed = co_await watcher.changed();  // named first: g++ 12 miscompiles it as a condition
            if (!changed) co_return;
            ++changes;
        }
    }
    /// The changes within the next 30 ms.
    int settle() {
        changes = 0;
        io.run_for(Milliseconds{30});
        return changes;
    }

    asio::io_context io;
    FileWatcher watcher;
    int changes = 0;
};

void write_in_place(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
}

}  // namespace

TEST_CASE("A watched file is noticed when it is written and replaced and removed") {
    const TemporaryFolder folder;
    Watch watch(folder / "hosts");
    CHECK(watch.settle() == 0);
    write_in_place(folder / "hosts", "one\n");
    CHECK(watch.settle() > 0);
    write_in_place(folder / "hosts", "two\n");
    CHECK(watch.settle() > 0);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(replace_file(folder / "hosts", "three\n"));
        CHECK(watch.settle() > 0);
    }
    std::filesystem::remove(folder / "hosts");
    CHECK(watch.settle() > 0);
    write_in_place(folder / "hosts", "four\n");
    CHECK(watch.settle() > 0);
}

TEST_CASE("A file beside the watched one is nobody's business") {
    const TemporaryFolder folder;
    write_in_place(folder / "hosts", "one\n");
    Watch watch(folder / "hosts");
    write_in_place(folder / "leases", "one\n");
    REQUIRE(replace_file(folder / "leases", "two\n"));
    CHECK(watch.settle() == 0);
}

TEST_CASE("A watched file may be in a folder that does not exist yet or goes away") {
    const TemporaryFolder folder;
    Watch watch(folder / "a/b/hosts");
    CHECK(watch.settle() == 0);
    std::filesystem::create_directory(folder / "a");
    watch.settle();
    std::filesystem::create_directory(folder / "a/b");
    watch.settle();
    write_in_place(folder / "a/b/hosts", "one\n");
    CHECK(watch.settle() > 0);

    std::filesystem::remove_all(folder / "a");
    CHECK(watch.settle() > 0);
    std::filesystem::create_directories(folder / "a/b");
    write_in_place(folder / "a/b/hosts", "two\n");
    CHECK(watch.settle() > 0);

    std::filesystem::rename(folder / "a/b", folder / "a/old");
    CHECK(watch.settle() > 0);
    std::filesystem::create_directory(folder / "a/b");
    watch.settle();
    write_in_place(folder / "a/b/hosts", "three\n");
    CHECK(watch.settle() > 0);
}

TEST_CASE("A link's file is watched where it is") {
    const TemporaryFolder folder;
    std::filesystem::create_directory(folder / "etc");
    write_in_place(folder / "etc/real", "one\n");
    std::filesystem::create_symlink(folder / "etc/real", folder / "hosts");
    Watch watch(folder / "hosts");
    write_in_place(folder / "etc/real", "two\n");
    CHECK(watch.settle() > 0);
    std::filesystem::remove(folder / "hosts");
    std::filesystem::create_symlink(folder / "etc/other", folder / "hosts");
    CHECK(watch.settle() > 0);
}
