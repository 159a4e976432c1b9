#include "src/commands/leases.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/instance_lock.hpp"

using namespace vmrouter;
using namespace std::chrono_literals;

namespace {

constexpr Time now{1795346400s};

/// Folders of instances, gone at the end of a test.
struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("vmrouter-leases-" + std::to_string(getpid()));
    LeaseFolders folders{path / "run", path / "lib"};

    Folder() { std::filesystem::create_directories(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }

    std::string write(const std::string& name, const std::string& text) const {
        std::filesystem::create_directories((path / name).parent_path());
        std::ofstream(path / name) << text;
        return (path / name).string();
    }
};

struct Outcome {
    int status = 0;
    std::string out;
    std::string err;
};

Outcome list(const cli::Leases& options, const LeaseFolders& folders) {
    std::ostringstream out;
    std::ostringstream err;
    const int status = leases(options, now, out, err, folders);
    return {status, out.str(), err.str()};
}

const std::string lines =
    "1795349832 52:54:00:cc:00:02 192.168.77.20 vmA 01:52:54:00:cc:00:02\n"
    "0 52:54:00:cc:00:01 192.168.77.3 * *\n"
    "1795346399 06-52:54:00:cc:00:03 192.168.77.4 old *\n";

}  // namespace

TEST_CASE("A leases file is a table sorted by address") {
    const Folder folder;
    cli::Leases options;
    options.file = folder.write("leases", lines);
    const auto outcome = list(options, folder.folders);
    CHECK(outcome.status == 0);
    CHECK(outcome.err == "");
    CHECK(outcome.out ==
          "ADDRESS        MAC                   NAME  REMAINING   STATE\n"
          "192.168.77.3   52:54:00:cc:00:01     -     never ends  bound\n"
          "192.168.77.4   06-52:54:00:cc:00:03  old   ended       expired\n"
          "192.168.77.20  52:54:00:cc:00:02     vmA   57m 12s     bound\n");
}

TEST_CASE("A leases file is a list of objects with null for what is unknown") {
    const Folder folder;
    cli::Leases options;
    options.file = folder.write("leases", lines);
    options.json = true;
    const auto document = nlohmann::json::parse(list(options, folder.folders).out);
    REQUIRE(document.size() == 3);
    CHECK(document[0] == nlohmann::json{{"address", "192.168.77.3"},
                                        {"mac", "52:54:00:cc:00:01"},
                                        {"name", nullptr},
                                        {"client_id", nullptr},
                                        {"expires", nullptr},
                                        {"state", "bound"},
                                        {"last_seen", nullptr}});
    CHECK(document[1]["state"] == "expired");
    CHECK(document[2]["client_id"] == "01:52:54:00:cc:00:02");
    CHECK(document[2]["expires"] == 1795349832);

    options.file = folder.write("leases", "");
    CHECK(list(options, folder.folders).out == "[]\n");
}

TEST_CASE("Lines that are none are reported with their number and the rest is shown") {
    const Folder folder;
    cli::Leases options;
    options.file = folder.write("leases", "what\x1b\n" + lines);
    const auto outcome = list(options, folder.folders);
    CHECK(outcome.status == 0);
    CHECK(outcome.err.find("vmrouter: " + options.file + ":1: ") == 0);
    CHECK(outcome.err.find('\x1b') == std::string::npos);
    CHECK(outcome.out.find("192.168.77.20") != std::string::npos);
}

TEST_CASE("The leases of an instance are found by its name or its configuration or because it is the only one") {
    const Folder folder;
    folder.write("lib/br0/leases", lines);
    cli::Leases options;
    CHECK(list(options, folder.folders).status == 1);
    CHECK(list(options, folder.folders).err.find("vmrouter: no instance is running\n  hint: ") == 0);

    options.instance.name = "br0";
    CHECK(list(options, folder.folders).out.find("vmA") != std::string::npos);
    options.instance.name = "br1";
    CHECK(list(options, folder.folders).status == 1);

    options.instance = {"", folder.write("vm.toml", "network.bridge = \"br0\"\n")};
    CHECK(list(options, folder.folders).out.find("vmA") != std::string::npos);
    const std::string own = folder.write("own", "0 52:54:00:cc:00:01 192.168.77.3 mine *\n");
    options.instance.file = folder.write("vm.toml", "network.bridge = \"br0\"\ndhcp.leases_file = \"" + own + "\"\n");
    CHECK(list(options, folder.folders).out.find("mine") != std::string::npos);
    options.instance.file = folder.write("vm.toml", "network.bridge = 1\n");
    CHECK(list(options, folder.folders).status == 2);

    auto lock = InstanceLock::take(folder.folders.run, "br0");
    REQUIRE(lock);
    CHECK(list({}, folder.folders).out.find("vmA") != std::string::npos);
    auto second = InstanceLock::take(folder.folders.run, "br1");
    REQUIRE(second);
    CHECK(list({}, folder.folders).err.find("several instances are running: br0, br1") != std::string::npos);
}
