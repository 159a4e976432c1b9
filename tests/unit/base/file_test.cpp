#include "src/base/file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

using namespace vmrouter;

namespace {

struct TemporaryFolder {
    TemporaryFolder() {
        std::string name = std::filesystem::temp_directory_path() / "vmrouter-test-XXXXXX";
        path = mkdtemp(name.data());
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path); }
    std::string path;
};

}  // namespace

TEST_CASE("A replaced file has the new content and mode and leaves no temporary behind") {
    const TemporaryFolder folder;
    const auto path = folder.path + "/leases";
    REQUIRE(replace_file(path, "one\n"));
    REQUIRE(replace_file(path, "two\n", 0600));
    CHECK(*read_file(path) == "two\n");
    struct stat status {};
    REQUIRE(stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("A replacement that fails keeps the old file and says where") {
    const auto result = replace_file("/nonexistent/folder/leases", "x");
    REQUIRE_FALSE(result);
    CHECK(result.error().where == "/nonexistent/folder/leases.new");
}

TEST_CASE("A link at the temporary name is not followed") {
    const TemporaryFolder folder;
    const auto target = folder.path + "/target";
    REQUIRE(replace_file(target, "precious"));
    std::filesystem::create_symlink(target, folder.path + "/leases.new");
    REQUIRE(replace_file(folder.path + "/leases", "lease"));
    CHECK(*read_file(target) == "precious");
}

TEST_CASE("Reading stops at the limit") {
    const TemporaryFolder folder;
    REQUIRE(replace_file(folder.path + "/big", std::string(1000, 'x')));
    CHECK_FALSE(read_file(folder.path + "/big", 999));
    CHECK(read_file(folder.path + "/big", 1000)->size() == 1000);
}

TEST_CASE("The topmost folder that had to be made is reported") {
    const TemporaryFolder folder;
    std::string created;
    REQUIRE(make_directories(folder.path + "/a/b/c", &created));
    CHECK(created == folder.path + "/a");
    REQUIRE(make_directories(folder.path + "/a/b/c", &created));
    CHECK(created.empty());
}

TEST_CASE("A file of ours is read without following links or waiting for a pipe") {
    const TemporaryFolder folder;
    const auto path = folder.path + "/leases";
    CHECK(*read_own_file(path) == std::nullopt);
    REQUIRE(replace_file(path, "one\n"));
    CHECK(*read_own_file(path) == "one\n");
    CHECK_FALSE(read_own_file(path, 3));

    std::filesystem::create_symlink(path, folder.path + "/link");
    const auto link = read_own_file(folder.path + "/link");
    REQUIRE_FALSE(link);
    CHECK(link.error().what == "refusing to follow a symbolic link");

    REQUIRE(mkfifo((folder.path + "/pipe").c_str(), 0600) == 0);
    const auto pipe = read_own_file(folder.path + "/pipe");
    REQUIRE_FALSE(pipe);
    CHECK(pipe.error().what == "not a regular file");
}
