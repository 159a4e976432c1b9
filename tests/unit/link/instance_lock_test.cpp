#include "src/instance_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "tests/unit/link/shared_support.hpp"

using namespace vmrouter;
using namespace vmrouter::test;

namespace {

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

}  // namespace

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
