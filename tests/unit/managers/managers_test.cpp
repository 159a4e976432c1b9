#include "src/managers/managers.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::managers;
using test::TemporaryFolder;

using Words = std::vector<std::string>;

std::string joined(const Words& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}

/// A machine whose programs a test plays: /proc, /etc and /run are in a folder, nmcli knows a list of devices.
class FakeMachine final : public Runner {
public:
    FakeMachine() {
        places.proc = folder_.path() + "/proc";
        places.systemd = folder_.path() + "/run/systemd/system";
        places.networkd_files = folder_.path() + "/run/systemd/network";
        places.network_manager = folder_.path() + "/etc/NetworkManager";
        places.network_manager_files = folder_.path() + "/run/NetworkManager/conf.d";
        std::filesystem::create_directories(folder_.path() + "/run");
        std::filesystem::create_directories(places.proc);
        auto opened = Changes::open(folder_.path() + "/changes");
        REQUIRE(opened);
        changes.emplace(std::move(*opened));
        std::filesystem::create_directories(folder_.path() + "/shared");
        shared.emplace(folder_.path() + "/shared", "virbr10", sysctls_);
    }

    void start(int pid, const std::string& program, const Words& words = {}) {
        const auto place = places.proc + "/" + std::to_string(pid);
        std::filesystem::create_directories(place);
        std::ofstream(place + "/comm") << program.substr(0, 15) << "\n";
        std::ofstream line(place + "/cmdline");
        for (const auto& word : words) line << word << '\0';
    }

    Result<Output> run(const Words& words) override {
        if (words[0] == "nmcli" && words[1] == "-t") {
            ++questions;
            if (hangs) return Failure{Error{"the program did not end within 10000 ms and was stopped", "nmcli", {}}};
            return Output{0, list()};
        }
        asked.push_back(joined(words));
        if (hangs_when_told) return Failure{Error{"the program did not end in time", "nmcli", {}}};
        if (refuses) return Output{1, "Error: not authorized\n"};
        if (words[0] == "nmcli") devices[words[3]] = words[5] == "yes";
        // Every change must be in the record before it is made.
        recorded_before.push_back(Changes::open(folder_.path() + "/changes")->all().size());
        return Output{};
    }

    [[nodiscard]] std::string list() const {
        std::string text;
        for (const auto& [name, managed] : devices)
            text += (text.empty() ? "" : "\n") + ("GENERAL.DEVICE:" + name) +
                    "\nGENERAL.STATE:" + (managed ? "100 (connected (externally))\n" : "10 (unmanaged)\n");
        return text;
    }

    /// The way back, newest first, as the program goes it.
    std::vector<std::string> undo() {
        std::vector<std::string> errors;
        struct All final : Undoer {
            explicit All(Managers& m) : managers(m) {}
            Result<void> undo(const Change& change) override {
                if (const auto* told = std::get_if<ToldProgram>(&change)) return managers.undo(*told);
                if (const auto* file = std::get_if<CreatedFile>(&change)) std::filesystem::remove(file->path);
                if (const auto* made = std::get_if<CreatedFolder>(&change)) rmdir(made->path.c_str());
                return {};
            }
            Managers& managers;
        };
        Managers managers(*this, places);
        All undoer(managers);
        for (const Error& error : changes->undo_all(undoer)) errors.push_back(to_string(error));
        REQUIRE(shared->leave());
        return errors;
    }

    [[nodiscard]] std::vector<std::string> files() const {
        std::vector<std::string> result;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path() + "/run"))
            result.push_back(entry.path().string().substr(folder_.path().size()));
        std::sort(result.begin(), result.end());
        return result;
    }

    Places places;
    std::map<std::string, bool> devices;  ///< name -> managed
    std::vector<std::string> asked;       ///< questions apart
    std::vector<std::size_t> recorded_before;
    bool refuses = false;
    bool hangs = false;
    bool hangs_when_told = false;
    int questions = 0;
    std::optional<Changes> changes;
    std::optional<Shared> shared;

    [[nodiscard]] std::string path() const { return folder_.path(); }

private:
    SysctlAccess sysctls_;
    TemporaryFolder folder_;
};

std::vector<Error> leave_alone(FakeMachine& machine, const Words& links) {
    return Managers(machine, machine.places).leave_alone(*machine.changes, *machine.shared, "virbr10", links);
}

}  // namespace

TEST_CASE("on a machine without managers nothing is told and nothing is written") {
    FakeMachine machine;
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    CHECK(machine.asked.empty());
    CHECK(machine.files().empty());
    CHECK(machine.changes->all().empty());
}

TEST_CASE("a running networkmanager is told of every device it manages and told back") {
    FakeMachine machine;
    machine.start(411, "NetworkManager");
    machine.devices = {{"virbr10", true}, {"enp6s0", true}, {"tap7", false}};
    CHECK(leave_alone(machine, {"virbr10", "enp6s0", "tap7", "absent"}).empty());
    CHECK(machine.asked == Words{"nmcli device set virbr10 managed no", "nmcli device set enp6s0 managed no"});
    CHECK(machine.questions == 1);                                     // for all of them
    CHECK(machine.recorded_before == std::vector<std::size_t>{4, 5});  // two folders, the file, and itself
    CHECK(machine.files() == Words{"/run/NetworkManager", "/run/NetworkManager/conf.d",
                                   "/run/NetworkManager/conf.d/90-vmrouter-virbr10.conf"});

    machine.asked.clear();
    CHECK(leave_alone(machine, {"virbr10", "enp6s0", "tap7", "absent"}).empty());  // again: all is said
    CHECK(machine.asked.empty());

    CHECK(machine.undo().empty());
    CHECK(machine.asked == Words{"nmcli device set enp6s0 managed yes", "nmcli device set virbr10 managed yes"});
    CHECK_FALSE(machine.devices["tap7"]);  // it was not managed before
    CHECK(machine.files().empty());
}

TEST_CASE("a device that is gone or managed again by somebody is no error on the way back") {
    FakeMachine machine;
    machine.start(411, "NetworkManager");
    machine.devices = {{"virbr10", true}, {"enp6s0", true}};
    CHECK(leave_alone(machine, {"virbr10", "enp6s0"}).empty());
    machine.devices.erase("virbr10");
    machine.devices["enp6s0"] = true;
    machine.asked.clear();
    CHECK(machine.undo().empty());
    CHECK(machine.asked.empty());
}

TEST_CASE("a manager that refuses is reported and kept for the next attempt") {
    FakeMachine machine;
    machine.start(411, "NetworkManager");
    machine.devices = {{"virbr10", true}};
    machine.refuses = true;
    const auto errors = leave_alone(machine, {"virbr10"});
    REQUIRE(errors.size() == 1);
    CHECK(errors[0].what == "cannot be told to leave virbr10 alone: Error: not authorized");
    CHECK(errors[0].where == "NetworkManager");

    machine.devices["virbr10"] = false;
    CHECK(machine.undo().size() == 1);
    CHECK(machine.changes->all().size() == 1);
    machine.refuses = false;
    CHECK(machine.undo().empty());
    CHECK(machine.devices["virbr10"]);
}

TEST_CASE("a networkmanager that hangs is waited for once") {
    FakeMachine machine;
    machine.start(411, "NetworkManager");
    machine.devices = {{"virbr10", true}, {"vnet0", true}, {"vnet1", true}};
    machine.hangs = true;
    CHECK(leave_alone(machine, {"virbr10", "vnet0", "vnet1"}).size() == 1);
    CHECK(machine.questions == 1);
    CHECK(machine.asked.empty());
    machine.hangs = false;
    machine.hangs_when_told = true;
    CHECK(leave_alone(machine, {"virbr10", "vnet0", "vnet1"}).size() == 1);
    CHECK(machine.asked.size() == 1);

    machine.devices["virbr10"] = false;
    machine.hangs = true;
    CHECK(machine.undo().size() == 1);  // and stays in the record
    machine.hangs = machine.hangs_when_told = false;
    CHECK(machine.undo().empty());
    CHECK(machine.devices["virbr10"]);
}

TEST_CASE("what networkmanager says of its devices is read by its numbers") {
    const auto devices = read_devices(
        "GENERAL.DEVICE:eth0\nGENERAL.STATE:100 (verbunden)\n\nGENERAL.DEVICE:a\\\\b\nGENERAL.STATE:10 (unmanaged)\n\n"
        "GENERAL.DEVICE:ovs0\nGENERAL.STATE:100 (connected)\n\nGENERAL.DEVICE:ovs0\nGENERAL.STATE:10 (unmanaged)\n\n"
        "GENERAL.DEVICE:00\\:1B\\:DC\nGENERAL.STATE:30 (disconnected)\n\nGENERAL.DEVICE:torn\n");
    CHECK(devices == ManagedDevices{{"eth0", true}, {"a\\b", false}, {"ovs0", true}, {"00:1B:DC", true}});
    CHECK(read_devices("Error: NetworkManager is not running.\n").empty());
}

TEST_CASE("whether networkmanager leaves a link alone is said with the reason") {
    const Result<ManagedDevices> devices(ManagedDevices{{"virbr10", false}, {"vnet0", true}});
    const Result<ManagedDevices> silent(Failure{Error{"did not end", "nmcli", {}}});
    using Said = std::pair<bool, std::string>;
    CHECK(leaves_alone(devices, true, "virbr10") == Said{true, ""});
    CHECK(leaves_alone(devices, true, "vnet0") == Said{false, "it manages it"});
    CHECK(leaves_alone(devices, true, "vnet1") == Said{true, "it does not know it"});
    CHECK(leaves_alone(devices, false, "vnet1") == Said{true, "it does not run"});
    CHECK_FALSE(leaves_alone(silent, true, "virbr10").first);
    CHECK(leaves_alone(silent, true, "virbr10").second.find("did not end") != std::string::npos);
}

TEST_CASE("an installed networkmanager that does not run finds a file when it starts") {
    FakeMachine machine;
    std::filesystem::create_directories(machine.places.network_manager);
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    CHECK(machine.asked.empty());
    CHECK(*read_file(machine.places.network_manager_files + "/90-vmrouter-virbr10.conf") ==
          "# Written by vmrouter; removed when it ends.\n"
          "[device-vmrouter-virbr10]\n"
          "match-device=interface-name:virbr10\n"
          "managed=0\n");
    CHECK(network_manager_file("a", Words{"virbr10", "tap0"}).find("interface-name:virbr10,interface-name:tap0\n") !=
          std::string::npos);
}

TEST_CASE("networkd is told by a file and a reload and again only when the ports change") {
    FakeMachine machine;
    machine.start(300, "systemd-networkd");
    const auto path = machine.places.networkd_files + "/00-vmrouter-virbr10.network";
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    CHECK(machine.asked == Words{"networkctl reload"});
    CHECK(*read_file(path) ==
          "# Written by vmrouter; removed when it ends.\n"
          "[Match]\n"
          "Name=virbr10\n"
          "\n"
          "[Link]\n"
          "Unmanaged=yes\n");
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    CHECK(machine.asked.size() == 1);
    CHECK(leave_alone(machine, {"virbr10", "vnet0"}).empty());
    CHECK(machine.asked.size() == 2);
    CHECK(read_file(path)->find("Name=virbr10 vnet0\n") != std::string::npos);

    CHECK(machine.undo().empty());
    CHECK(machine.asked.size() == 3);
    CHECK(machine.asked.back() == "networkctl reload");
    CHECK(machine.files().empty());
    CHECK(machine.undo().empty());  // nothing left
}

TEST_CASE("where systemd runs but networkd does not the file waits and nothing is reloaded") {
    FakeMachine machine;
    std::filesystem::create_directories(machine.places.systemd);
    CHECK(leave_alone(machine, {"enp6s0"}).empty());
    CHECK(machine.asked.empty());
    CHECK(std::filesystem::exists(machine.places.networkd_files + "/00-vmrouter-virbr10.network"));
    CHECK(machine.undo().empty());
    CHECK(machine.asked.empty());
    CHECK(machine.files() == Words{"/run/systemd", "/run/systemd/system"});
}

TEST_CASE("a folder that one instance made is removed by the last one") {
    FakeMachine machine;
    machine.start(300, "systemd-networkd");
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    SysctlAccess sysctls;
    Shared others(machine.path() + "/shared", "virbr11", sysctls);
    auto changes = Changes::open(machine.path() + "/others");
    REQUIRE(changes);
    CHECK(Managers(machine, machine.places).leave_alone(*changes, others, "virbr11", Words{"virbr11"}).empty());
    CHECK(machine.undo().empty());
    CHECK(machine.files() ==
          Words{"/run/systemd", "/run/systemd/network", "/run/systemd/network/00-vmrouter-virbr11.network"});
    std::swap(*changes, *machine.changes);
    machine.shared.emplace(machine.path() + "/shared", "virbr11", sysctls);
    CHECK(machine.undo().empty());
    CHECK(machine.files().empty());
}

TEST_CASE("a manager of another network namespace is not told") {
    FakeMachine machine;
    machine.start(411, "NetworkManager");
    machine.devices = {{"virbr10", true}};
    std::filesystem::create_directories(machine.places.proc + "/411/ns");
    std::ofstream(machine.places.proc + "/411/ns/net") << "";  // another inode than ours
    CHECK(leave_alone(machine, {"virbr10"}).empty());
    CHECK(machine.asked.empty());
}

TEST_CASE("whether a manager runs here") {
    FakeMachine machine;
    CHECK_FALSE(Managers(machine, machine.places).is_any_running());
    machine.start(300, "systemd-resolved");
    CHECK_FALSE(Managers(machine, machine.places).is_any_running());
    SECTION("NetworkManager") {
        machine.start(411, "NetworkManager");
    }
    SECTION("systemd-networkd") {
        machine.start(301, "systemd-networkd");
    }
    CHECK(Managers(machine, machine.places).is_any_running());
}

TEST_CASE("dhcp clients of the segment are named with their pid and others are not") {
    FakeMachine machine;
    machine.start(77, "dhclient", {"dhclient", "-4", "-pf", "/run/dhclient.enp6s0.pid", "enp6s0"});
    machine.start(78, "dhclient", {"dhclient", "eth0"});
    machine.start(79, "cat", {"cat", "enp6s0"});
    const auto found = Managers(machine, machine.places).obstacles("enp6s0");
    REQUIRE(found.size() == 1);
    CHECK(found[0].what == "dhclient (pid 77) asks for an address on enp6s0 and may take ours away");
    CHECK(found[0].hint == "stop it: kill 77");
}

TEST_CASE("a dhcpcd that serves every interface is named, and its helpers are not") {
    FakeMachine machine;
    machine.start(80, "dhcpcd", {"dhcpcd: [manager] [ip4] [ip6]"});
    machine.start(81, "dhcpcd", {"dhcpcd: [network proxy]"});
    machine.start(82, "dhcpcd", {"dhcpcd: [BPF ARP] enp6s0 192.168.1.7"});
    machine.start(83, "dhcpcd", {"dhcpcd: enp6s0 [ip4]"});
    machine.start(84, "dhcpcd", {"dhcpcd: eth0 [ip4]"});
    const auto found = Managers(machine, machine.places).obstacles("enp6s0");
    REQUIRE(found.size() == 2);
    CHECK(found[0].what == "dhcpcd (pid 80) asks for an address on enp6s0 and may take ours away");
    CHECK(found[0].hint == "write `denyinterfaces enp6s0` into /etc/dhcpcd.conf and restart dhcpcd");
    CHECK(found[1].hint == "stop it: kill 83");
}

TEST_CASE("ifupdown's lines about the segment are given by file and line") {
    const TemporaryFolder folder;
    const auto file = folder.path() + "/interfaces";
    std::ofstream(file)
        << "auto lo enp6s0\niface lo inet loopback\n# iface enp6s0 inet dhcp\n\tiface\tenp6s0 inet dhcp\n";
    CHECK(ifupdown_mentions("enp6s0", file) == Words{file + ":4"});
    CHECK(ifupdown_mentions("eth0", file).empty());
    CHECK(ifupdown_mentions("eth0", folder.path() + "/absent").empty());
}

TEST_CASE("what ifupdown's configuration includes is read, a loop of files ends, and manual is no claim") {
    const TemporaryFolder folder;
    const auto file = folder.path() + "/interfaces";
    std::filesystem::create_directories(folder.path() + "/interfaces.d");
    std::ofstream(file) << "source interfaces.d/*\nsource " << file << "\niface eth1 inet manual\n";
    std::ofstream(folder.path() + "/interfaces.d/cloud") << "auto enp6s0\niface enp6s0 inet static\n";
    const auto found = ifupdown_mentions("enp6s0", file);
    REQUIRE_FALSE(found.empty());
    CHECK(found[0] == folder.path() + "/interfaces.d/cloud:2");
    CHECK(ifupdown_mentions("eth1", file).empty());
}

TEST_CASE("our own process is found in proc with its words") {
    const auto all = processes();
    const auto own = std::find_if(all.begin(), all.end(), [](const Process& p) { return p.pid == getpid(); });
    REQUIRE(own != all.end());
    CHECK(own->program == "unit_managers");
    CHECK_FALSE(own->words.empty());
    CHECK(is_running(all, "unit_managers"));
    CHECK_FALSE(is_running(all, "no-such-program"));
}

TEST_CASE("a program's status and output come back") {
    SystemRunner runner;
    const auto output = runner.run({"sh", "-c", "echo out; echo err >&2; exit 7"});
    REQUIRE(output);
    CHECK(output->status == 7);
    CHECK(output->text == "out\nerr\n");
    CHECK(runner.run({"sh", "-c", "kill -9 $$"})->status == 137);
    CHECK(runner.run({"GREETING=a b", "OTHER=", "sh", "-c", "echo \"$GREETING$OTHER\""})->text == "a b\n");
    CHECK(runner.run({"ONLY=this"}).error().what == "there is no such program");
}

TEST_CASE("a program gets the c locale and no words of ours through a shell") {
    SystemRunner runner;
    setenv("LANG", "de_DE.UTF-8", 1);
    setenv("SECRET", "x", 1);
    const auto output = runner.run({"env"});
    REQUIRE(output);
    CHECK(output->text.find("LC_ALL=C\n") != std::string::npos);
    CHECK(output->text.find("SECRET") == std::string::npos);
    CHECK(runner.run({"echo", "$(id);`id`"})->text == "$(id);`id`\n");
}

TEST_CASE("a program that hangs is stopped and one that is not there is an error") {
    SystemRunner runner(std::chrono::milliseconds(100));
    const auto start = std::chrono::steady_clock::now();
    const auto hung = runner.run({"sleep", "30"});
    REQUIRE_FALSE(hung);
    CHECK(hung.error().what.find("100 ms") != std::string::npos);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    CHECK_FALSE(runner.run({"no-such-program-of-ours"}));
    CHECK_FALSE(runner.run({}));
}

TEST_CASE("a program that has hung is not run again at once, and others are") {
    SystemRunner runner(std::chrono::milliseconds(500));
    REQUIRE_FALSE(runner.run({"sleep", "30"}));
    const auto again = runner.run({"sleep", "0"});
    REQUIRE_FALSE(again);
    CHECK(again.error().what == "the program did not end in time a moment ago and is not run again yet");
    CHECK(runner.run({"true"}));
    CHECK(SystemRunner().run({"sleep", "0"}));
}

TEST_CASE("output beyond the limit is read and dropped") {
    SystemRunner runner;
    const auto output = runner.run({"head", "-c", "300000", "/dev/zero"});
    REQUIRE(output);
    CHECK(output->status == 0);
    CHECK(output->text.size() == 64 * 1024);
    CHECK(output->truncated);
    const auto more = runner.run_up_to(300000, {"head", "-c", "300000", "/dev/zero"});
    REQUIRE(more);
    CHECK(more->text.size() == 300000);
    CHECK_FALSE(more->truncated);
}
