#include "src/managers/firewalld.hpp"

#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "src/managers/background.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::managers;
using test::TemporaryFolder;

/// A firewalld that a test plays, over D-Bus or (without busctl) by firewall-cmd.
class FakeFirewalld final : public Runner {
    TemporaryFolder folder_;

public:
    FakeFirewalld() { start(); }

    [[nodiscard]] const std::string& proc() const { return folder_.path(); }
    void start() {
        std::filesystem::create_directories(folder_.path() + "/7");
        std::ofstream(folder_.path() + "/7/comm") << "firewalld\n";
    }
    void stop() { std::filesystem::remove_all(folder_.path() + "/7"); }

    Result<Output> run(const std::vector<std::string>& words) override {
        ++calls;
        if (words[0] == "busctl")
            return busctl ? on_bus(words) : Failure{Error{"there is no such program", "busctl", {}}};
        if (words[1].starts_with("--get")) {
            const auto zone = zones.find(words[1].substr(words[1].find('=') + 1));
            return zone == zones.end() ? Output{2, "no zone\n"} : Output{0, zone->second + "\n"};
        }
        const auto zone = words[1].substr(words[1].find('=') + 1);
        const auto interface = words[2].substr(words[2].find('=') + 1);
        return change(words[2].starts_with("--change"), zone, interface, "success\n");
    }

    std::map<std::string, std::string> zones;
    bool busctl = true;
    int calls = 0;

private:
    Result<Output> on_bus(const std::vector<std::string>& words) {
        REQUIRE(words[1] == "--auto-start=no");  // asking must not start it
        const auto& method = words[6];
        if (method == "getZoneOfInterface") {
            const auto zone = zones.find(words[8]);
            return Output{0, "s \"" + (zone == zones.end() ? "" : zone->second) + "\"\n"};
        }
        return change(method == "changeZoneOfInterface", words[8], words[9], "");
    }
    Result<Output> change(bool to, const std::string& zone, const std::string& interface, const std::string& said) {
        if (to)
            zones[interface] = zone;
        else if (zones.count(interface) == 0 || zones[interface] != zone)
            return Output{1, "Call failed: UNKNOWN_INTERFACE: '" + interface + "' is not in any zone\n"};
        else
            zones.erase(interface);
        return Output{0, said};
    }
};

const ToldProgram from_none{"firewalld", "virbr10", ""};

}  // namespace

TEST_CASE("firewalld is asked and told over D-Bus, or by firewall-cmd without busctl") {
    for (const bool busctl : {true, false}) {
        FakeFirewalld machine;
        machine.busctl = busctl;
        Firewalld firewalld(machine, machine.proc());
        CHECK(*firewalld.zone_of("virbr10") == "");
        REQUIRE(firewalld.change_zone("virbr10", "trusted"));
        CHECK(*firewalld.zone_of("virbr10") == "trusted");
        REQUIRE(firewalld.undo(from_none));
        CHECK(machine.zones.empty());
    }
}

TEST_CASE("The zone from before comes back") {
    FakeFirewalld machine;
    machine.zones["virbr10"] = "trusted";
    Firewalld firewalld(machine, machine.proc());
    REQUIRE(firewalld.undo({"firewalld", "virbr10", "internal"}));
    CHECK(machine.zones == std::map<std::string, std::string>{{"virbr10", "internal"}});
}

TEST_CASE("A segment that somebody else has put elsewhere, or that firewalld has forgotten, is left alone") {
    FakeFirewalld machine;
    Firewalld firewalld(machine, machine.proc());
    machine.zones["virbr10"] = "work";
    REQUIRE(firewalld.undo(from_none));
    CHECK(machine.zones == std::map<std::string, std::string>{{"virbr10", "work"}});
    machine.zones.clear();
    REQUIRE(firewalld.undo(from_none));
}

TEST_CASE("A firewalld that does not run has forgotten everything and is not asked") {
    FakeFirewalld machine;
    machine.stop();
    REQUIRE(Firewalld(machine, machine.proc()).undo(from_none));
    CHECK(machine.calls == 0);
}

TEST_CASE("A program in the background tells its exit status to the loop") {
    asio::io_context io;
    Background background(io.get_executor());
    std::vector<int> ended;
    REQUIRE(background.start({"sh", "-c", "exit 3"}, [&](int status) { ended.push_back(status); }));
    CHECK(background.running());
    CHECK_FALSE(background.start({"true"}, [](int) {}));
    io.run();
    CHECK(ended == std::vector<int>{3});
    CHECK_FALSE(background.running());
    REQUIRE(background.start({"true"}, [&](int status) { ended.push_back(status); }));
    io.restart();
    io.run();
    CHECK(ended == std::vector<int>{3, 0});
    CHECK_FALSE(background.start({"no-such-program-anywhere"}, [](int) {}));
}

TEST_CASE("Whoever cannot wait for the loop waits for the program itself, or ends it") {
    asio::io_context io;
    const TemporaryFolder folder;
    bool told = false;
    Background background(io.get_executor());
    REQUIRE(background.start({"sh", "-c", "sleep 0.1; touch " + folder.path() + "/done"}, [&](int) { told = true; }));
    background.finish(std::chrono::seconds(10));
    CHECK(std::filesystem::exists(folder.path() + "/done"));
    CHECK_FALSE(background.running());
    REQUIRE(background.start({"sleep", "100"}, [&](int) { told = true; }));
    background.finish(std::chrono::milliseconds(1));
    io.run();
    CHECK_FALSE(told);
}
