#include "src/changes.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <set>

#include "src/state.hpp"
#include "tests/unit/link/facts_builder.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using test::TemporaryFolder;

const std::vector<Change> kOneOfEach{
    CreatedTable{"inet", "vmrouter_virbr10"},
    CreatedLink{"virbr10", *MacAddress::parse("52:54:00:12:34:56")},
    SetMtu{"virbr10", 1500, 1400},
    RemovedRoute6{"virbr10", *Ipv6::parse("2001:db8:1::"), 48, "0a30"},
    RemovedAddress6{"virbr10", *Ipv6::parse("2001:db8::7"), 64, 2},
    SetSysctl{"net/ipv6/conf/virbr10/disable_ipv6", "0", "1"},
    AddedAddress{"virbr10", *Cidr::parse("192.168.100.1/24")},
    EnslavedPort{"vnet0", "virbr10"},
    IsolatedPort{"vnet0"},
    SetLinkUp{"virbr10"},
    AddedGuardRules{"virbr10", 0x100000},
    InsertedRule{"ip", "filter", "FORWARD", "vmrouter virbr10 \"quoted\"", 0x100000},
    FilledChecksums{"virbr10", true, false},
    CreatedFolder{"/run/systemd/network"},
    CreatedFile{"/run/systemd/network/10-vmrouter-virbr10.network"},
    ToldProgram{"NetworkManager", "virbr10", "managed"},
};

/// Notes what it is asked to undo, and refuses some of it.
class FakeUndoer final : public Undoer {
public:
    Result<void> undo(const Change& change) override {
        asked.push_back(describe_undo(change));
        if (refused.contains(asked.back())) return Failure{Error{"cannot " + asked.back(), {}, {}}};
        return {};
    }
    std::vector<std::string> asked;
    std::set<std::string> refused;
};

/// Counts what is on disk when the undo of a change begins: a kill at that moment leaves this record.
class WatchingUndoer final : public Undoer {
public:
    explicit WatchingUndoer(std::string path) : path_(std::move(path)) {}
    Result<void> undo(const Change& change) override {
        const auto on_disk = Changes::open(path_);
        REQUIRE(on_disk);
        still_recorded.push_back(!on_disk->all().empty() && on_disk->all().back() == change);
        return {};
    }
    std::vector<bool> still_recorded;

private:
    std::string path_;
};

Changes open_or_fail(const std::string& path) {
    auto changes = Changes::open(path);
    REQUIRE(changes);
    return std::move(*changes);
}

}  // namespace

TEST_CASE("every kind of change survives its json line") {
    std::set<std::size_t> kinds;
    for (const Change& change : kOneOfEach) {
        INFO(to_json(change));
        kinds.insert(change.index());
        CHECK(to_json(change).find('\n') == std::string::npos);
        CHECK(change_from_json(to_json(change)) == change);
        CHECK_FALSE(to_string(change).empty());
        CHECK(to_string(change) != describe_undo(change));
    }
    CHECK(kinds.size() == std::variant_size_v<Change>);
}

TEST_CASE("every truncation of a line and every foreign line is refused") {
    for (const Change& change : kOneOfEach) {
        const auto line = to_json(change);
        for (std::size_t length = 0; length < line.size(); ++length)
            CHECK_FALSE(change_from_json(line.substr(0, length)));
    }
    CHECK_FALSE(change_from_json("[]"));
    CHECK_FALSE(change_from_json(R"({"change":"sold_house"})"));
    CHECK_FALSE(change_from_json(R"({"change":"added_address","link":"virbr10","address":"192.168.100.1/33"})"));
    CHECK_FALSE(change_from_json(R"({"change":"added_address","link":7,"address":"192.168.100.1/24"})"));
    CHECK_FALSE(change_from_json(R"({"change":"set_mtu","name":"a","before":-1,"ours":1})"));
}

TEST_CASE("texts say what was done and what undoing does") {
    const Change change = SetSysctl{"net/ipv4/conf/eth0.5/forwarding", "0", "1"};
    CHECK(to_string(change) == "set net.ipv4.conf.eth0/5.forwarding from 0 to 1");
    CHECK(describe_undo(change) == "set net.ipv4.conf.eth0/5.forwarding to 0");
}

TEST_CASE("a recorded change is on disk before record returns and is undone newest first") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/virbr10.changes";
    auto changes = open_or_fail(path);
    CHECK_FALSE(std::filesystem::exists(path));
    std::size_t count = 0;
    for (const Change& change : kOneOfEach) {
        REQUIRE(changes.record(change));
        ++count;
        CHECK(open_or_fail(path).all().size() == count);
    }
    CHECK(open_or_fail(path).all() == kOneOfEach);

    FakeUndoer undoer;
    CHECK(changes.undo_all(undoer).empty());
    REQUIRE(undoer.asked.size() == kOneOfEach.size());
    CHECK(undoer.asked.front() == "tell NetworkManager about virbr10");
    CHECK(undoer.asked.back() == "delete table inet vmrouter_virbr10");
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a change is recorded until it has been undone") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/virbr10.changes";
    auto changes = open_or_fail(path);
    for (const Change& change : kOneOfEach) REQUIRE(changes.record(change));
    WatchingUndoer undoer(path);
    CHECK(changes.undo_all(undoer).empty());
    CHECK(undoer.still_recorded == std::vector<bool>(kOneOfEach.size(), true));
}

TEST_CASE("undoing goes on after errors and keeps what is left for the next time") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/virbr10.changes";
    auto changes = open_or_fail(path);
    for (const Change& change : kOneOfEach) REQUIRE(changes.record(change));
    FakeUndoer undoer;
    undoer.refused = {"delete virbr10", "remove the routing rules of virbr10"};
    const auto errors = changes.undo_all(undoer);
    REQUIRE(errors.size() == 2);
    CHECK(errors[0].what == "cannot remove the routing rules of virbr10");
    CHECK(undoer.asked.size() == kOneOfEach.size());

    auto later = open_or_fail(path);
    REQUIRE(later.all().size() == 2);
    undoer.refused.clear();
    CHECK(later.undo_all(undoer).empty());
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a failure half way undoes the newest changes only") {
    const TemporaryFolder folder;
    auto changes = open_or_fail(folder.path() + "/c");
    for (const Change& change : kOneOfEach) REQUIRE(changes.record(change));
    FakeUndoer undoer;
    CHECK(changes.undo_down_to(kOneOfEach.size() - 2, undoer).empty());
    CHECK(undoer.asked.size() == 2);
    CHECK(open_or_fail(folder.path() + "/c").all().size() == kOneOfEach.size() - 2);
}

TEST_CASE("recording again changes nothing and the first value from before stays") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/c";
    auto changes = open_or_fail(path);
    REQUIRE(changes.record(SetSysctl{"net/ipv4/conf/eth0/forwarding", "0", "1"}));
    REQUIRE(changes.record(SetMtu{"virbr10", 1500, 1400}));
    REQUIRE(changes.record(SetLinkUp{"virbr10"}));
    REQUIRE(changes.record(FilledChecksums{"virbr10", true, true}));
    auto next = open_or_fail(path);  // after a kill: everything has our values now
    REQUIRE(next.record(SetSysctl{"net/ipv4/conf/eth0/forwarding", "1", "1"}));
    REQUIRE(next.record(SetMtu{"virbr10", 1400, 1300}));
    REQUIRE(next.record(SetLinkUp{"virbr10"}));
    REQUIRE(next.record(FilledChecksums{"virbr10", false, false}));
    const std::vector<Change> expected{SetSysctl{"net/ipv4/conf/eth0/forwarding", "0", "1"},
                                       SetMtu{"virbr10", 1500, 1300}, SetLinkUp{"virbr10"},
                                       FilledChecksums{"virbr10", true, true}};
    CHECK(next.all() == expected);
    CHECK(open_or_fail(path).all() == expected);
}

TEST_CASE("a forgotten change is not undone") {
    const TemporaryFolder folder;
    auto changes = open_or_fail(folder.path() + "/c");
    REQUIRE(changes.record(SetLinkUp{"a"}));
    REQUIRE(changes.record(SetLinkUp{"b"}));
    REQUIRE(changes.forget(SetLinkUp{"a"}));
    REQUIRE(changes.forget(SetLinkUp{"never"}));
    CHECK(open_or_fail(folder.path() + "/c").all() == std::vector<Change>{SetLinkUp{"b"}});
    REQUIRE(changes.forget(SetLinkUp{"b"}));
    CHECK_FALSE(std::filesystem::exists(folder.path() + "/c"));
}

TEST_CASE("a line torn by a kill is dropped and the next one is whole") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/c";
    {
        auto changes = open_or_fail(path);
        REQUIRE(changes.record(SetLinkUp{"a"}));
        REQUIRE(changes.record(SetLinkUp{"b"}));
    }
    const auto whole = *read_file(path);
    std::filesystem::resize_file(path, whole.size() - 5);
    auto changes = open_or_fail(path);
    CHECK(changes.unreadable() == 1);
    CHECK(changes.all() == std::vector<Change>{SetLinkUp{"a"}});
    REQUIRE(changes.record(SetLinkUp{"c"}));
    CHECK(open_or_fail(path).all() == std::vector<Change>{SetLinkUp{"a"}, SetLinkUp{"c"}});
    CHECK(open_or_fail(path).unreadable() == 0);
}

TEST_CASE("after a reboot only files and folders are left to undo") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/c";
    std::ofstream file(path);
    file << R"({"vmrouter_changes":1,"boot":"00000000-0000-0000-0000-000000000000"})"
         << "\n";
    for (const Change& change : kOneOfEach) file << to_json(change) << "\n";
    file.close();
    const auto changes = open_or_fail(path);
    CHECK(changes.all() == std::vector<Change>{CreatedFolder{"/run/systemd/network"},
                                               CreatedFile{"/run/systemd/network/10-vmrouter-virbr10.network"}});
}

TEST_CASE("a record that cannot be written is an error and the change does not count") {
    auto changes = open_or_fail("/nonexistent/folder/c");
    const auto refused = changes.record(SetLinkUp{"a"});
    REQUIRE_FALSE(refused);
    CHECK(changes.all().empty());
}

TEST_CASE("a record that somebody removed is written anew") {
    const TemporaryFolder folder;
    auto changes = open_or_fail(folder.path() + "/c");
    REQUIRE(changes.record(SetLinkUp{"a"}));
    std::filesystem::remove(folder.path() + "/c");
    REQUIRE(changes.record(SetLinkUp{"b"}));
    CHECK(open_or_fail(folder.path() + "/c").all().size() == 2);
}

TEST_CASE("a link in the record's place is not followed") {
    const TemporaryFolder folder;
    std::ofstream(folder.path() + "/target") << "";
    std::filesystem::create_symlink(folder.path() + "/target", folder.path() + "/c");
    CHECK_FALSE(Changes::open(folder.path() + "/c"));
}

TEST_CASE("the state is read back as it was saved and is empty at first") {
    const TemporaryFolder folder;
    const auto place = folder.path() + "/lib/virbr10";
    REQUIRE(load_state(place));
    CHECK(*load_state(place) == State{});
    const State state{Cidr::parse("192.168.142.1/24"), boot_id(), {{"vnet0", 12}, {"tap1", 15}}, {{"tap1", 15}}};
    REQUIRE(save_state(place, state));
    CHECK(*load_state(place) == state);
    CHECK_FALSE(boot_id().empty());
    REQUIRE(save_state(place, State{}));
    CHECK(*load_state(place) == State{});
}

TEST_CASE("a port goes onto our bridge again unless somebody else uses it by now") {
    test::Host host;
    host.link("br0", "bridge").link("br1", "bridge").link("bond0", "bond").link("enp6s0").link("enp7s0");
    for (const char* port : {"vnet0", "vnet1", "vnet2", "vnet3", "vnet4"}) host.link(port, "tun");
    host.master("vnet1", "br0").master("vnet2", "br1").master("enp7s0", "bond0");
    const auto answer = [&](const std::string& port, int index) -> std::string {
        const auto may = may_return({port, index}, host.facts, "br0");
        return !may ? may.error().what : *may ? "yes" : "no";
    };
    const auto of = [&](const std::string& port) { return answer(port, host.index(port)); };
    CHECK(of("vnet0") == "yes");
    CHECK(of("vnet1") == "no");  // it is there
    CHECK(of("vnet2") == "is not put onto br0 again, where it was: it belongs to br1");
    CHECK(answer("vnet0", host.index("vnet3")) == "no");  // another device of that name
    CHECK(answer("gone", 99) == "no");
    CHECK(of("enp6s0") == "yes");
    host.address("enp6s0", "192.168.1.7/24");
    CHECK(of("enp6s0") == "is not put onto br0 again, where it was: it has the address 192.168.1.7");
    host.route("default", "enp6s0", "192.168.1.1");
    CHECK(of("enp6s0") == "is not put onto br0 again, where it was: the host reaches the internet through it");
    host.route("default", "vnet4");  // a tunnel's: no address
    CHECK(of("vnet4") == "is not put onto br0 again, where it was: the host reaches the internet through it");
    link::Address6 address{host.index("vnet3"), *Ipv6::parse("2001:db8::7"), 64, 0, false, false};
    host.facts.addresses6 = {address};
    CHECK(of("vnet3") == "yes");  // of a guest's router advertisement
    host.facts.addresses6[0].permanent = true;
    CHECK(of("vnet3") == "is not put onto br0 again, where it was: it has the address 2001:db8::7");
    host.facts.addresses6[0].local = *Ipv6::parse("fe80::7");
    CHECK(of("vnet3") == "yes");
}

TEST_CASE("a state file that is a link or torn or foreign is an error") {
    const TemporaryFolder folder;
    const auto path = folder.path() + "/state";
    REQUIRE(save_state(folder.path(), {Cidr::parse("192.168.142.1/24"), "b", {{"vnet0", 12}}}));
    const auto whole = *read_file(path);
    for (std::size_t length = 0; length + 2 < whole.size(); ++length) {
        std::ofstream(path) << whole.substr(0, length);
        CHECK_FALSE(load_state(folder.path()));
    }
    for (const char* text : {"[]", R"({"address":7})", R"({"address":"here"})", R"({"ports":[{"name":"a"}]})",
                             R"({"ports":[7]})", R"({"ports":{"name":"a"}})"}) {
        INFO(text);
        std::ofstream(path) << text;
        CHECK_FALSE(load_state(folder.path()));
    }
    std::filesystem::remove(path);
    std::filesystem::create_symlink("/etc/hostname", path);
    CHECK_FALSE(load_state(folder.path()));
}
