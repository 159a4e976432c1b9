#include "src/shared.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <asio/co_spawn.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>

#include "src/instance_lock.hpp"
#include "src/shared_watch.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using test::TemporaryFolder;

const std::string kForwarding = "net/ipv4/conf/eth0/forwarding";

class FakeSysctls : public SysctlAccess {
public:
    std::optional<std::string> read(const std::string& path) override {
        const auto found = values.find(path);
        return found == values.end() ? std::nullopt : std::optional(found->second);
    }
    Result<void> write(const std::string& path, std::string_view value,
                       const std::function<bool()>& still_holds) override {
        if (still_holds && !still_holds()) return Failure{Error{"the interface has changed meanwhile", path, {}}};
        values[path] = value;
        ++writes;
        return {};
    }
    std::map<std::string, std::string> values{{kForwarding, "0"}};
    int writes = 0;
};

/// One instance as a test plays it: its lock, its record, its view of what is shared.
struct Instance {
    Instance(const std::string& folder, const std::string& name, FakeSysctls& sysctls)
        : lock(InstanceLock::take(folder, name)),
          changes(Changes::open(folder + "/" + name + ".changes")),
          shared(folder, name, sysctls) {
        REQUIRE(lock);
        REQUIRE(changes);
    }
    Result<void> need(const std::string& path, std::string value) {
        return shared.need_sysctl(*changes, {path, std::move(value), false});
    }
    /// An orderly stop.
    void stop() {
        struct Sysctls final : Undoer {
            explicit Sysctls(Shared& s) : shared(s) {}
            Result<void> undo(const Change& change) override {
                return shared.release_sysctl(std::get<SetSysctl>(change));
            }
            Shared& shared;
        } undoer(shared);
        CHECK(changes->undo_all(undoer).empty());
        REQUIRE(shared.leave());
        kill();
    }
    /// kill -9: the lock goes, everything else stays. (The lock file would as well: "a lock goes with its process".)
    void kill() { const InstanceLock dropped = std::move(*lock); }

    Result<InstanceLock> lock;
    Result<Changes> changes;
    Shared shared;
};

asio::awaitable<void> count_changes(SharedWatch& watch, int& heard) {
    for (;;) {
        co_await watch.changed();
        ++heard;
    }
}

/// A process of a user who is nobody: it takes every lock that it can get on `paths` and keeps it.
class Stranger {
public:
    explicit Stranger(const std::vector<std::string>& paths) {
        int ready[2] = {};
        REQUIRE(pipe(ready) == 0);
        child_ = fork();
        REQUIRE(child_ >= 0);
        if (child_ == 0) lock_all(paths, ready[1]);
        close(ready[1]);
        REQUIRE(read(ready[0], &locked_, sizeof locked_) == sizeof locked_);
        close(ready[0]);
    }
    Stranger(const Stranger&) = delete;
    Stranger& operator=(const Stranger&) = delete;
    ~Stranger() {
        kill(child_, SIGKILL);
        waitpid(child_, nullptr, 0);
    }
    [[nodiscard]] int locked() const { return locked_; }

private:
    [[noreturn]] static void lock_all(const std::vector<std::string>& paths, int out) {
        int locked = setuid(65534) == 0 ? 0 : -1000;
        for (const auto& path : paths) {
            const int fd = open(path.c_str(), O_RDONLY);
            struct flock reading {};
            reading.l_type = F_RDLCK;
            if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) ++locked;
            if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &reading) == 0) ++locked;
        }
        static_cast<void>(!write(out, &locked, sizeof locked));
        for (;;) pause();
    }
    pid_t child_ = -1;
    int locked_ = 0;
};

std::vector<std::string> files_in(const std::string& folder) {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TEST_CASE("one instance sets a sysctl and restores it and leaves nothing behind") {
    const TemporaryFolder base;
    const auto folder = base.path() + "/run";
    FakeSysctls sysctls;
    {
        Instance a(folder, "virbr10", sysctls);
        REQUIRE(a.shared.join("virbr10", std::nullopt));
        REQUIRE(a.need(kForwarding, "1"));
        CHECK(sysctls.values[kForwarding] == "1");
        CHECK(a.changes->all() == std::vector<Change>{SetSysctl{kForwarding, "0", "1"}});
        a.stop();
    }
    CHECK(sysctls.values[kForwarding] == "0");
    CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("a setting of a device that another one took the place of is neither recorded nor set") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path() + "/run", "virbr10", sysctls);
    REQUIRE(a.shared.join("virbr10", std::nullopt));
    CHECK_FALSE(a.shared.need_sysctl(*a.changes, {kForwarding, "1", false}, [] { return false; }));
    CHECK(a.changes->all().empty());
    CHECK(sysctls.writes == 0);

    int asked = 0;  // once more when the setting is open, just before the write
    CHECK_FALSE(a.shared.need_sysctl(*a.changes, {kForwarding, "1", false}, [&] { return ++asked == 1; }));
    CHECK(asked == 2);
    CHECK(sysctls.writes == 0);
}

TEST_CASE("a sysctl that has the value already is neither written nor recorded") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    sysctls.values[kForwarding] = "1";
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    CHECK(a.changes->all().empty());
    CHECK(sysctls.writes == 0);
    a.stop();
    CHECK(sysctls.values[kForwarding] == "1");
}

TEST_CASE("the first of two to stop leaves the sysctl and the last one restores it") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "virbr11", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    REQUIRE(b.need(kForwarding, "1"));
    CHECK(b.changes->all() == std::vector<Change>{SetSysctl{kForwarding, "0", "1"}});
    SECTION("in the order they came") {
        a.stop();
        CHECK(sysctls.values[kForwarding] == "1");
        b.stop();
    }
    SECTION("in the other order") {
        b.stop();
        CHECK(sysctls.values[kForwarding] == "1");
        a.stop();
    }
    CHECK(sysctls.values[kForwarding] == "0");
    CHECK(files_in(base.path()).empty());
}

TEST_CASE("a killed instance does not count but its value from before does") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    a.kill();
    Instance b(base.path(), "virbr11", sysctls);
    REQUIRE(b.need(kForwarding, "1"));
    b.stop();
    CHECK(sysctls.values[kForwarding] == "0");
}

TEST_CASE("a killed instance that starts again restores what was there before its first start") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance first(base.path(), "virbr10", sysctls);
    REQUIRE(first.need(kForwarding, "1"));
    first.kill();
    SECTION("with what is shared") {}
    SECTION("without what is shared") {
        std::filesystem::remove(base.path() + "/shared");
    }
    Instance second(base.path(), "virbr10", sysctls);
    REQUIRE(second.need(kForwarding, "1"));
    second.stop();
    CHECK(sysctls.values[kForwarding] == "0");
    CHECK(files_in(base.path()).empty());
}

TEST_CASE("undoing for a killed instance leaves alone what a living one needs") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "virbr11", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    REQUIRE(b.need(kForwarding, "1"));
    a.kill();
    {
        Instance down(base.path(), "virbr10", sysctls);  // `vmrouter down`
        down.stop();
    }
    CHECK(sysctls.values[kForwarding] == "1");
    b.stop();
    CHECK(sysctls.values[kForwarding] == "0");
}

TEST_CASE("a sysctl that somebody else has changed since is left alone") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    sysctls.values[kForwarding] = "2";
    a.stop();
    CHECK(sysctls.values[kForwarding] == "2");
}

TEST_CASE("forwarding that the whole machine has got from somebody else meanwhile stays on") {
    const std::string everywhere = "net/ipv4/ip_forward";
    const TemporaryFolder folder;
    FakeSysctls sysctls;
    sysctls.values[everywhere] = "0";
    Instance one(folder.path(), "virbr10", sysctls);
    REQUIRE(one.shared.join("virbr10", std::nullopt));
    REQUIRE(one.need(kForwarding, "1"));
    sysctls.values[everywhere] = "1";  // Docker starts
    one.stop();
    CHECK(sysctls.values[kForwarding] == "1");

    // What was on before us has nothing to do with it: the administrator's 0 on one interface comes back.
    sysctls.values[kForwarding] = "0";
    Instance two(folder.path(), "virbr10", sysctls);
    REQUIRE(two.shared.join("virbr10", std::nullopt));
    REQUIRE(two.need(kForwarding, "1"));
    two.stop();
    CHECK(sysctls.values[kForwarding] == "0");
}

TEST_CASE("a kill between two steps of setting a sysctl loses no value from before") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    {
        Instance a(base.path(), "virbr10", sysctls);
        REQUIRE(a.changes->record(SetSysctl{kForwarding, "0", "1"}));  // killed after the first of three steps
        a.kill();
    }
    SECTION("before the write") {}
    SECTION("after the write") {
        sysctls.values[kForwarding] = "1";
    }
    Instance again(base.path(), "virbr10", sysctls);
    REQUIRE(again.need(kForwarding, "1"));
    CHECK(sysctls.values[kForwarding] == "1");
    again.stop();
    CHECK(sysctls.values[kForwarding] == "0");
}

TEST_CASE("an uplink that is none any more gets its values back and others keep ours") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    const std::string mark = "net/ipv4/conf/eth0/src_valid_mark";
    const std::string other = "net/ipv4/conf/eth01/forwarding";
    sysctls.values[mark] = "0";
    sysctls.values[other] = "0";
    Instance a(base.path(), "virbr10", sysctls);
    for (const auto& path : {kForwarding, mark, other}) REQUIRE(a.need(path, "1"));
    REQUIRE(a.shared.release_interface(*a.changes, "eth0"));
    CHECK(sysctls.values == std::map<std::string, std::string>{{kForwarding, "0"}, {mark, "0"}, {other, "1"}});
    CHECK(a.changes->all() == std::vector<Change>{SetSysctl{other, "0", "1"}});
    a.stop();
    CHECK(sysctls.values[other] == "0");
}

TEST_CASE("what one instance made is known as made to those that find it") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    CHECK_FALSE(*a.shared.found_before("table ip mangle", false));
    CHECK(*a.shared.found_before("folder /run/systemd", true));
    Instance b(base.path(), "virbr11", sysctls);
    CHECK_FALSE(*b.shared.found_before("table ip mangle", true));  // there by now: the first one made it
    CHECK(*b.shared.found_before("folder /run/systemd", true));
    CHECK_FALSE(*a.shared.found_before("table ip mangle", true));  // a restart
    a.stop();
    CHECK_FALSE(*b.shared.found_before("table ip mangle", true));
    b.stop();
    CHECK(files_in(base.path()).empty());
    Instance c(base.path(), "virbr12", sysctls);
    CHECK(*c.shared.found_before("table ip mangle", true));  // somebody else's: ours are all gone
    c.stop();
}

TEST_CASE("what serves all that count on it is removed by the last of these") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance beside(base.path(), "usermode", sysctls);  // lives all the time, and counts on nothing
    REQUIRE(beside.shared.join("", std::nullopt));
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "virbr11", sysctls);
    std::vector<std::string> removed;
    const auto release = [&](Instance& instance, const std::string& thing) {
        return instance.shared.release(thing, [&]() -> Result<void> {
            removed.push_back(thing);
            return {};
        });
    };
    for (auto* instance : {&a, &b}) CHECK(*instance->shared.count_on("rule 1"));
    CHECK_FALSE(*a.shared.count_on("rule 1"));
    CHECK(*a.shared.count_on("rule 2"));  // of another mark
    SECTION("in the order they came") {
        REQUIRE(release(a, "rule 1"));
        CHECK(removed.empty());
        REQUIRE(release(b, "rule 1"));
    }
    SECTION("in the other order, and both before one has ended") {
        REQUIRE(release(b, "rule 1"));
        CHECK(removed.empty());
        REQUIRE(release(a, "rule 1"));
    }
    SECTION("one was killed") {
        b.kill();
        REQUIRE(release(a, "rule 1"));
    }
    SECTION("a failure is tried again") {
        REQUIRE(release(b, "rule 1"));
        CHECK_FALSE(a.shared.release("rule 1", [] { return Result<void>(Failure{Error{"busy", {}, {}}}); }));
        REQUIRE(release(a, "rule 1"));
    }
    CHECK(removed == std::vector<std::string>{"rule 1"});
    REQUIRE(release(a, "rule 2"));
    REQUIRE(release(a, "rule 2"));  // what nobody knows of (any more) is removed: there is no harm in that
    CHECK(removed == std::vector<std::string>{"rule 1", "rule 2", "rule 2"});
    for (auto* instance : {&a, &b, &beside}) REQUIRE(instance->shared.leave());
    CHECK_FALSE(std::filesystem::exists(base.path() + "/shared"));
}

TEST_CASE("an interface that goes away while its setting is put back is no error") {
    class Vanishing final : public FakeSysctls {
    public:
        Result<void> write(const std::string& path, std::string_view value,
                           const std::function<bool()>& still_holds) override {
            if (value == "1") return FakeSysctls::write(path, value, still_holds);
            values.erase(path);
            return Failure{Error{"cannot set the kernel setting", path, {}}};
        }
    };
    const TemporaryFolder base;
    Vanishing sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    a.stop();
    CHECK(files_in(base.path()).empty());
}

TEST_CASE("a setting whose interface has a name that is not UTF-8 is left alone") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    sysctls.values["net/ipv4/conf/b\xfcro/forwarding"] = "0";
    CHECK_FALSE(a.need("net/ipv4/conf/b\xfcro/forwarding", "1"));
    CHECK(a.changes->all().empty());
    CHECK(sysctls.writes == 0);
}

TEST_CASE("the sysctls of a link that we made go with it and are not recorded") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    const std::string path = "net/ipv4/conf/virbr10/arp_ignore";
    sysctls.values[path] = "0";
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.changes->record(CreatedLink{"virbr10", {}}));
    REQUIRE(a.need(path, "1"));
    CHECK(sysctls.values[path] == "1");
    CHECK(a.changes->all().size() == 1);
}

TEST_CASE("a sysctl of a vanished interface is no error on the way out and an optional one never is") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.need(kForwarding, "1"));
    sysctls.values.clear();
    CHECK_FALSE(a.need("net/ipv4/conf/eth1/forwarding", "1"));
    CHECK(a.shared.need_sysctl(*a.changes, {"net/ipv6/conf/eth1/disable_ipv6", "1", true}));
    a.stop();
    CHECK(sysctls.values.empty());
    CHECK(sysctls.writes == 1);
}

TEST_CASE("instances are listed with their segments and whether they live") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "enp6s0", sysctls);
    REQUIRE(a.shared.join("virbr10", Cidr::parse("192.168.100.1/24")));
    REQUIRE(b.shared.join("enp6s0", Cidr::parse("192.168.101.1/24")));
    a.kill();
    const auto listed = b.shared.instances();
    REQUIRE(listed);
    CHECK(*listed == std::vector<SharedInstance>{{"virbr10", "virbr10", Cidr::parse("192.168.100.1/24"), false},
                                                 {"enp6s0", "enp6s0", Cidr::parse("192.168.101.1/24"), true}});
    REQUIRE(b.shared.leave());
    CHECK(b.shared.instances()->size() == 1);
}

TEST_CASE("an instance hears of another that comes and goes and of nothing else") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.shared.join("virbr10", std::nullopt));
    asio::io_context io;
    auto descriptor = open_shared_watch(base.path());
    REQUIRE(descriptor);
    SharedWatch watch(io, std::move(*descriptor));
    int heard = 0;
    asio::co_spawn(io, count_changes(watch, heard), [](const std::exception_ptr&) {});
    REQUIRE(a.changes->record(SetLinkUp{"virbr10"}));
    io.run_for(std::chrono::milliseconds(20));
    CHECK(heard == 0);
    {
        Instance b(base.path(), "virbr11", sysctls);
        REQUIRE(b.shared.join("virbr11", std::nullopt));
        io.run_for(std::chrono::milliseconds(20));
        CHECK(heard == 1);
        REQUIRE(b.shared.leave());
    }
    io.run_for(std::chrono::milliseconds(20));
    CHECK(heard == 2);
    CHECK_FALSE(open_shared_watch(base.path() + "/absent"));
}

TEST_CASE("two living instances cannot have overlapping networks") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "virbr11", sysctls);
    REQUIRE(a.shared.join("virbr10", Cidr::parse("192.168.100.1/24")));
    const auto refused = b.shared.join("virbr11", Cidr::parse("192.168.100.129/25"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().what.find("virbr10") != std::string::npos);
    REQUIRE(a.shared.join("virbr10", Cidr::parse("192.168.100.1/24")));  // itself is no obstacle
    a.kill();
    CHECK(b.shared.join("virbr11", Cidr::parse("192.168.100.129/25")));
}

TEST_CASE("instances in different network namespaces do not see each other's segments or sysctls") {
    const TemporaryFolder base;
    FakeSysctls here;
    FakeSysctls there;
    Instance a(base.path(), "virbr10", here);
    REQUIRE(a.shared.join("virbr10", Cidr::parse("192.168.100.1/24")));
    REQUIRE(a.need(kForwarding, "1"));
    IN_NAMESPACE;
    Instance b(base.path(), "virbr11", there);
    CHECK(b.shared.instances()->empty());
    REQUIRE(b.shared.join("virbr11", Cidr::parse("192.168.100.1/24")));
    REQUIRE(b.need(kForwarding, "1"));
    b.stop();
    CHECK(there.values[kForwarding] == "0");
    CHECK(here.values[kForwarding] == "1");
}

TEST_CASE("what is shared but cannot be read is an error and is not overwritten") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    for (const char* text : {"", "{", "[]", "{}", R"({"instances":[{}],"sysctls":[],"things":[]})"}) {
        std::ofstream(base.path() + "/shared") << text;
        const auto refused = a.need(kForwarding, "1");
        REQUIRE_FALSE(refused);
        CHECK(refused.error().where == base.path() + "/shared");
        CHECK(*read_file(base.path() + "/shared") == text);
    }
    CHECK(sysctls.writes == 0);
}

TEST_CASE("a second instance of one name is refused by the pid of the first") {
    const TemporaryFolder base;
    const auto folder = base.path() + "/run";
    CHECK_FALSE(running_instance(folder, "virbr10"));
    {
        const auto first = InstanceLock::take(folder, "virbr10");
        REQUIRE(first);
        const auto second = InstanceLock::take(folder, "virbr10");
        REQUIRE_FALSE(second);
        CHECK(second.error().what == "vmrouter already serves virbr10 (pid " + std::to_string(getpid()) + ")");
        CHECK(running_instance(folder, "virbr10") == getpid());
        const auto other = InstanceLock::take(folder, "virbr11");
        REQUIRE(other);
        CHECK(running_instances(folder) == std::vector<std::string>{"virbr10", "virbr11"});
    }
    CHECK(running_instances(folder).empty());
    CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("who is not root can hold nobody up") {
    const TemporaryFolder base;
    REQUIRE(chmod(base.path().c_str(), 0755) == 0);
    const auto lock = base.path() + "/virbr10.lock";
    std::ofstream(lock) << "1\n";
    REQUIRE(chmod(lock.c_str(), 0644) == 0);  // one that was there is not for everybody either
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    REQUIRE(a.shared.join("virbr10", std::nullopt));
    std::filesystem::create_hard_link(lock, lock + ".kept");
    a.kill();
    std::filesystem::rename(lock + ".kept", lock);  // kill -9 leaves it

    std::vector<std::string> paths{base.path()};
    for (const auto& name : files_in(base.path())) paths.push_back(base.path() + "/" + name);
    const Stranger stranger(paths);
    CHECK(stranger.locked() >= 1);  // the folder, which means nothing
    CHECK_FALSE(running_instance(base.path(), "virbr10"));
    alarm(20);  // whoever waits for its lock waits for ever
    Instance again(base.path(), "virbr10", sysctls);
    REQUIRE(again.need(kForwarding, "1"));
    again.stop();
    alarm(0);
    CHECK(sysctls.values[kForwarding] == "0");
}

TEST_CASE("a lock goes with its process however that ends") {
    const TemporaryFolder base;
    int ready[2] = {};
    REQUIRE(pipe(ready) == 0);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const auto lock = InstanceLock::take(base.path(), "virbr10");
        const char ok = lock ? 'y' : 'n';
        static_cast<void>(!write(ready[1], &ok, 1));
        for (;;) pause();
    }
    char ok = 0;
    REQUIRE(read(ready[0], &ok, 1) == 1);
    REQUIRE(ok == 'y');
    CHECK(running_instance(base.path(), "virbr10") == child);
    CHECK_FALSE(InstanceLock::take(base.path(), "virbr10"));
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    close(ready[0]);
    close(ready[1]);
    CHECK_FALSE(running_instance(base.path(), "virbr10"));
    CHECK(std::filesystem::exists(base.path() + "/virbr10.lock"));
    CHECK(InstanceLock::take(base.path(), "virbr10"));
    CHECK(files_in(base.path()).empty());
}

TEST_CASE("a folder that was there or is in use is not removed") {
    const TemporaryFolder base;
    { const auto lock = InstanceLock::take(base.path(), "virbr10"); }
    CHECK(std::filesystem::exists(base.path()));
    const auto folder = base.path() + "/run";
    {
        const auto lock = InstanceLock::take(folder, "virbr10");
        std::ofstream(folder + "/other") << "x";
    }
    CHECK(files_in(folder) == std::vector<std::string>{"other"});
    std::filesystem::remove(folder + "/other");
    { const auto lock = InstanceLock::take(folder, "virbr10"); }
    CHECK_FALSE(std::filesystem::exists(folder));
}
