// Settings that instances need together: who sets them, who restores them.

#include "tests/unit/link/shared_support.hpp"

using namespace vmrouter;
using namespace vmrouter::test;

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

TEST_CASE("what an instance needs that has left its segment up stays") {
    const TemporaryFolder base;
    FakeSysctls sysctls;
    Instance a(base.path(), "virbr10", sysctls);
    Instance b(base.path(), "virbr11", sysctls);
    for (auto* instance : {&a, &b}) {
        REQUIRE(instance->shared.join("a segment", std::nullopt));
        REQUIRE(instance->need(kForwarding, "1"));
    }
    REQUIRE(a.shared.keep());
    a.kill();
    b.stop();
    CHECK(sysctls.values[kForwarding] == "1");
    Instance down(base.path(), "virbr10", sysctls);
    down.stop();
    CHECK(sysctls.values[kForwarding] == "0");
    CHECK(files_in(base.path()) == std::vector<std::string>{});
}
