// What instances know of each other, and what they make together.

#include <asio/co_spawn.hpp>
#include <chrono>

#include "src/shared_watch.hpp"
#include "tests/unit/link/shared_support.hpp"

using namespace vmrouter;
using namespace vmrouter::test;

namespace {

/// Two that live in one folder.
struct Neighbours {
    TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a{base.path(), "virbr10", sysctls};
    Instance b{base.path(), "virbr11", sysctls};
};

asio::awaitable<void> count_changes(SharedWatch& watch, int& heard) {
    for (;;) {
        co_await watch.changed();
        ++heard;
    }
}

}  // namespace

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
    SECTION("one has left its segment up until it is undone") {
        REQUIRE(b.shared.join("virbr11", std::nullopt));
        REQUIRE(b.shared.keep());
        b.kill();
        REQUIRE(release(a, "rule 1"));
        CHECK(removed.empty());
        REQUIRE(release(b, "rule 1"));  // `vmrouter down`
    }
    SECTION("one has left its segment up, came back and was killed") {
        REQUIRE(b.shared.join("virbr11", std::nullopt));
        REQUIRE(b.shared.keep());
        REQUIRE(b.shared.join("virbr11", std::nullopt));
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

TEST_CASE_METHOD(Neighbours, "instances are listed with their segments and whether they live") {
    REQUIRE(a.shared.join("virbr10", Cidr::parse("192.168.100.1/24")));
    REQUIRE(b.shared.join("enp6s0", Cidr::parse("192.168.101.1/24")));
    a.kill();
    const auto listed = b.shared.instances();
    REQUIRE(listed);
    CHECK(*listed == std::vector<SharedInstance>{{"virbr10", "virbr10", Cidr::parse("192.168.100.1/24"), false, false},
                                                 {"virbr11", "enp6s0", Cidr::parse("192.168.101.1/24"), true, true}});
    REQUIRE(b.shared.leave());
    CHECK(b.shared.instances()->size() == 1);
    REQUIRE(a.shared.keep());
    CHECK(b.shared.instances()->at(0).alive);
    CHECK_FALSE(b.shared.instances()->at(0).runs);
    CHECK_FALSE(b.shared.join("enp6s0", Cidr::parse("192.168.100.1/25")));
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

TEST_CASE_METHOD(Neighbours, "two living instances cannot have overlapping networks") {
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
