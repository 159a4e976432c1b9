#include "src/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;

/// The service manager's end, and the environment that leads there.
class Manager {
public:
    explicit Manager(const std::string& place) : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::copy(place.begin(), place.end(), std::begin(address.sun_path));
        if (place.front() == '@') address.sun_path[0] = '\0';
        const void* bytes = &address;
        REQUIRE(bind(socket_.get(), static_cast<const sockaddr*>(bytes),
                     static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + place.size())) == 0);
        setenv("NOTIFY_SOCKET", place.c_str(), 1);
    }
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;
    ~Manager() {
        for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) unsetenv(name);
    }
    std::string heard() {
        std::array<char, 4096> buffer{};
        const auto got = recv(socket_.get(), buffer.data(), buffer.size(), 0);
        return got < 0 ? "nothing" : std::string(buffer.data(), static_cast<std::size_t>(got));
    }

private:
    FileDescriptor socket_;
};

}  // namespace

TEST_CASE("the service manager hears each state as it wants it") {
    const test::TemporaryFolder folder;
    Manager manager(folder.path() + "/notify");
    auto notifier = Notifier::from_environment();
    REQUIRE(notifier.connected());
    notifier.ready("serving virbr10");
    CHECK(manager.heard() == "READY=1\nSTATUS=serving virbr10\n");
    notifier.status("two lines\nREADY=1");
    CHECK(manager.heard() == "STATUS=two lines READY=1\n");
    notifier.reloading(Monotonic(std::chrono::milliseconds(1500)));
    CHECK(manager.heard() == "RELOADING=1\nMONOTONIC_USEC=1500000\n");
    notifier.alive();
    CHECK(manager.heard() == "WATCHDOG=1\n");
    notifier.stopping("restoring");
    CHECK(manager.heard() == "STOPPING=1\nSTATUS=restoring\n");
    CHECK(manager.heard() == "nothing");
}

TEST_CASE("a socket in the abstract namespace is reached") {
    Manager manager("@vmrouter-test-" + std::to_string(getpid()));
    auto notifier = Notifier::from_environment();
    notifier.alive();
    CHECK(manager.heard() == "WATCHDOG=1\n");
}

TEST_CASE("the watchdog is kept only when it is meant for this process") {
    const test::TemporaryFolder folder;
    Manager manager(folder.path() + "/notify");
    CHECK_FALSE(Notifier::from_environment().watchdog_interval());
    setenv("WATCHDOG_USEC", "30000000", 1);
    CHECK(Notifier::from_environment().watchdog_interval() == std::chrono::seconds(30));
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    CHECK(Notifier::from_environment().watchdog_interval() == std::chrono::seconds(30));
    setenv("WATCHDOG_PID", "1", 1);
    CHECK_FALSE(Notifier::from_environment().watchdog_interval());
    unsetenv("WATCHDOG_PID");
    for (const char* text : {"0", "-1", "soon", ""}) {
        setenv("WATCHDOG_USEC", text, 1);
        CHECK_FALSE(Notifier::from_environment().watchdog_interval());
    }
}

TEST_CASE("without a service manager nothing is said and nothing fails") {
    unsetenv("NOTIFY_SOCKET");
    auto none = Notifier::from_environment();
    CHECK_FALSE(none.connected());
    none.ready("x");
    for (const std::string& place :
         {std::string("/nonexistent/socket"), std::string("relative"), std::string("@"), "/" + std::string(200, 'x')}) {
        setenv("NOTIFY_SOCKET", place.c_str(), 1);
        auto notifier = Notifier::from_environment();
        CHECK_FALSE(notifier.connected());
        notifier.alive();
    }
    unsetenv("NOTIFY_SOCKET");
}

TEST_CASE("a service manager that does not read does not hold up the service") {
    const test::TemporaryFolder folder;
    Manager manager(folder.path() + "/notify");
    auto notifier = Notifier::from_environment();
    for (int i = 0; i < 10000; ++i) notifier.alive();
    CHECK(manager.heard() == "WATCHDOG=1\n");
}
