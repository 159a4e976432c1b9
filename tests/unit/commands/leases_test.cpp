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

/// A folder of instances, gone at the end of a test.
struct Folder {
    std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("vmrouter-leases-" + std::to_string(getpid()));
    Folders folders{path / "run", path / "lib"};

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

Outcome list(const cli::Leases& options, const Folders& folders) {
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
          "ADDRESS        NAME  MAC                   VENDOR    REMAINING   STATE    LAST SEEN\n"
          "192.168.77.3   -     52:54:00:cc:00:01     QEMU/KVM  never ends  bound    -\n"
          "192.168.77.4   old   06-52:54:00:cc:00:03  -         ended       expired  -\n"
          "192.168.77.20  vmA   52:54:00:cc:00:02     QEMU/KVM  57m 12s     bound    -\n");
}

TEST_CASE("The table of an instance says when each guest was seen, fits a terminal, and shows no guest's bytes raw") {
    const auto document = nlohmann::json::parse(R"([
        {"address": "192.168.100.2", "name": "web", "mac": "52:54:00:12:34:56", "vendor": "QEMU/KVM",
         "expires": 1795346460, "state": "bound", "last_seen": 1795346390, "client_id": null},
        {"address": "192.168.100.3", "name": "a\u001b[31mb", "mac": "dc:a6:32:00:00:01", "vendor": "Raspberry Pi",
         "expires": 1795432800, "state": "declined", "last_seen": null, "client_id": null}])");
    const auto table = leases_table(document, now, {});
    CHECK(table ==
          "ADDRESS        NAME        MAC                VENDOR        REMAINING  STATE     LAST SEEN\n"
          "192.168.100.2  web         52:54:00:12:34:56  QEMU/KVM      1m         bound     10s ago\n"
          "192.168.100.3  a\\x1b[31mb  dc:a6:32:00:00:01  Raspberry Pi  1d         declined  -\n");
    CHECK(leases_table(document, now, {true, true, 100}).find("\x1b[31mb") == std::string::npos);
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
                                        {"vendor", "QEMU/KVM"},
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

TEST_CASE("Without an instance or a file the error says what to do") {
    const Folder folder;
    cli::Leases options;
    auto outcome = list(options, folder.folders);
    CHECK(outcome.status == 1);
    CHECK(outcome.err.find("no vmrouter is running here\n  hint: ") != std::string::npos);

    options.instance.name = "br0";
    outcome = list(options, folder.folders);
    CHECK(outcome.status == 1);
    CHECK(outcome.err.find("br0.sock: no vmrouter answers") != std::string::npos);

    auto first = InstanceLock::take(folder.folders.run, "br0");
    auto second = InstanceLock::take(folder.folders.run, "br1");
    REQUIRE((first && second));
    options.instance.name.clear();
    CHECK(list(options, folder.folders).err.find("several are running: br0 br1\n  hint: name one") !=
          std::string::npos);

    options.file = "/nonexistent/leases";
    CHECK(list(options, folder.folders).status == 1);
}
