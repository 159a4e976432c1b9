// The machine as it was found: real changes in a namespace, undone from the record, compared with what was there
// before.

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "src/base/text.hpp"
#include "src/changes.hpp"
#include "src/instance_lock.hpp"
#include "src/link/address.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/rule.hpp"
#include "src/shared.hpp"
#include "src/undo.hpp"
#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using test::Namespace;
using test::output_of;
using test::run;
using test::TemporaryFolder;

/// Everything that could be left behind: links with their options, addresses, routes of all tables, rules, neighbours,
/// every network sysctl. Without what the kernel changes by itself: timers, lifetimes, its own multicast neighbours.
std::string snapshot() {
    std::string text = output_of(
        "ip -d link | sed -E 's/[a-z_]+_timer +[0-9.]+//g'; ip addr | grep -v valid_lft | sed "
        "'s/ tentative//; s/ dadfailed//'; ip -4 route show table all;"
        "ip -6 route show table all; ip rule; ip -6 rule; ip neigh show;"
        "grep -r . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/ipv4/ip_forward 2>/dev/null"
        "  | grep -v stable_secret | sort");
    return text;
}

/// The lines that only one of both has; empty: nothing was left behind and nothing is missing.
std::string difference(const std::string& before, const std::string& after) {
    const auto lines = [](const std::string& text) {
        std::multiset<std::string_view> result;
        for (const auto line : split(text, '\n')) result.insert(line);
        return result;
    };
    const auto old_lines = lines(before);
    const auto new_lines = lines(after);
    std::vector<std::string_view> missing;
    std::vector<std::string_view> left;
    std::set_difference(old_lines.begin(), old_lines.end(), new_lines.begin(), new_lines.end(),
                        std::back_inserter(missing));
    std::set_difference(new_lines.begin(), new_lines.end(), old_lines.begin(), old_lines.end(),
                        std::back_inserter(left));
    std::string text;
    for (const auto line : missing) text += "- " + std::string(line) + "\n";
    for (const auto line : left) text += "+ " + std::string(line) + "\n";
    return text;
}

class TestUndoer final : public KernelUndoer {
public:
    using KernelUndoer::KernelUndoer;

private:
    Result<void> undo_table(const CreatedTable&) override { return {}; }
    Result<void> undo_rule(const InsertedRule&) override { return {}; }
    Result<void> undo_checksums(const FilledChecksums&) override { return {}; }
    Result<void> undo_told(const ToldProgram&) override { return {}; }
};

/// A machine with an uplink and a candidate port, in the current namespace.
void build_host() {
    REQUIRE(
        run("ip link set lo up; echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad;"
            "ip link add eth0 type veth peer name eth0-far; ip link set eth0-far up; ip link set eth0 up;"
            "ip addr add 192.168.0.7/24 brd + dev eth0; ip route add default via 192.168.0.1;"
            "ip link add vnet0 type veth peer name guest0; ip link set guest0 up; ip link set vnet0 up"));
    // The kernel tells carriers in its own time, and IPv6 takes notice later still.
    REQUIRE(
        run("while ip link | grep -q NO-CARRIER; do sleep 0.01; done;"
            "for link in eth0 eth0-far vnet0 guest0; do"
            "  until ip -6 route show table local dev $link | grep -q ^local.fe80; do sleep 0.01; done; done"));
}

/// IPv6 takes notice of a carrier later still: an address has its route when it has.
void settle() {
    REQUIRE(
        run("for address in $(ip -6 -o addr show dev vnet0 scope global | sed 's/.*inet6 //; s/\\/.*//'); do"
            " while ip -o link show vnet0 | grep -q ,UP && ! ip -6 route show table local | grep -q \"$address\";"
            " do sleep 0.01; done; done"));
}

/// An instance at work: every step is recorded, then made.
class Session {
public:
    Session(const std::string& folder, std::string segment)
        : segment_(std::move(segment)),
          netlink_(link::Netlink::open()),
          lock_(InstanceLock::take(folder, segment_)),
          changes_(Changes::open(folder + "/" + segment_ + ".changes")),
          shared_(folder, segment_, access_) {
        REQUIRE(netlink_);
        REQUIRE(lock_);
        REQUIRE(changes_);
    }

    struct Step {
        std::optional<Change> change;  ///< absent: the step records by itself
        std::function<Result<void>()> make;
    };

    std::vector<Step> steps_for_bridge(bool created) {
        const auto mac = link::stable_mac("test", segment_);
        std::vector<Step> steps;
        if (created) {
            steps.push_back({CreatedLink{segment_, mac}, [this, mac] { return create(mac); }});
            steps.push_back(
                {EnslavedPort{"vnet0", segment_}, [this] { return enslave(*netlink_, "vnet0", segment_); }});
            steps.push_back({IsolatedPort{"vnet0"}, [this] { return set_isolated(*netlink_, "vnet0", true); }});
        }
        add_common(steps);
        return steps;
    }

    /// The segment is there, with addresses of its own.
    std::vector<Step> steps_for_interface() {
        std::vector<Step> steps;
        const auto facts = read_host_facts(*netlink_, segment_);
        REQUIRE(facts);
        const auto* own = facts->find(segment_);
        REQUIRE(own != nullptr);
        for (const auto& address : facts->addresses6) {
            if (address.link != own->index || !address.permanent) continue;
            steps.push_back({RemovedAddress6{segment_, address.local, address.length, address.flags},
                             [] { return Result<void>{}; }});
        }
        add_common(steps);
        return steps;
    }

    /// Makes `count` steps; then records one more and, with `half`, does not make it.
    void run_steps(const std::vector<Step>& steps, std::size_t count, bool half) {
        for (std::size_t i = 0; i < std::min(count + (half ? 1 : 0), steps.size()); ++i) {
            if (steps[i].change) REQUIRE(changes_->record(*steps[i].change));
            if (i == count) break;
            const auto made = steps[i].make();
            if (!made) FAIL(to_string(made.error()));
        }
    }

    void undo() {
        TestUndoer undoer(*netlink_, shared_);
        for (const Error& error : changes_->undo_all(undoer)) FAIL_CHECK(to_string(error));
        REQUIRE(shared_.leave());
    }

private:
    Result<void> create(const MacAddress& mac) {
        const auto created = create_bridge(*netlink_, segment_, {mac, false, 1500});
        return created ? Result<void>{} : Failure{created.error()};
    }

    void add_common(std::vector<Step>& steps) {
        for (const auto& wanted : link::segment_sysctls(segment_, true))
            steps.push_back({std::nullopt, [this, wanted] { return shared_.need_sysctl(*changes_, wanted); }});
        const auto address = *Cidr::parse("192.168.100.1/24");
        steps.push_back(
            {AddedAddress{segment_, address}, [this, address] { return add_address(*netlink_, segment_, address); }});
        steps.push_back({AddedGuardRules{segment_, 0x100000}, [this] {
                             return add_rule(*netlink_,
                                             link::guard_rule(segment_, 0x100000, *Cidr::parse("192.168.0.0/24")));
                         }});
        const auto links = link::read_links(*netlink_);
        REQUIRE(links);
        const auto own = std::find_if(links->begin(), links->end(), [&](const auto& l) { return l.name == segment_; });
        if (own == links->end() || !own->up())
            steps.push_back({SetLinkUp{segment_}, [this] { return set_up(*netlink_, segment_); }});
        if (own == links->end() || own->mtu != 1400) {
            steps.push_back({SetMtu{segment_, own == links->end() ? 1500 : own->mtu, 1400},
                             [this] { return set_mtu(*netlink_, segment_, 1400); }});
        }
        for (const auto& list : {link::segment_forwarding(segment_), link::uplink_sysctls("eth0")}) {
            for (const auto& wanted : list)
                steps.push_back({std::nullopt, [this, wanted] { return shared_.need_sysctl(*changes_, wanted); }});
        }
        steps.push_back({std::nullopt, [this] { return learn_neighbour(); }});
    }

    /// A guest that the kernel has heard of.
    [[nodiscard]] Result<void> learn_neighbour() const {
        REQUIRE(run("ip neigh add 192.168.100.7 lladdr 02:00:00:00:00:07 nud stale dev " + segment_));
        return {};
    }

    std::string segment_;
    Result<link::Netlink> netlink_;
    Result<InstanceLock> lock_;
    Result<Changes> changes_;
    SysctlAccess access_;
    Shared shared_;
};

using StepsOf = std::function<std::vector<Session::Step>(Session&)>;

/// Kills an instance after `count` steps, with `half` when the next one is recorded but not made; a new instance
/// undoes. How many steps there are.
std::size_t kill_after(std::size_t count, bool half, const std::string& segment, const std::string& scene,
                       const StepsOf& steps_of) {
    const auto space = Namespace::enter();
    REQUIRE(space);
    build_host();
    REQUIRE(run(scene));
    settle();
    const auto before = snapshot();
    const TemporaryFolder base;
    const auto folder = base.path() + "/run";
    std::size_t total = 0;
    {
        Session killed(folder, segment);
        const auto steps = steps_of(killed);
        total = steps.size();
        killed.run_steps(steps, count, half);
    }
    if (count == total) CHECK_FALSE(difference(before, snapshot()).empty());
    {
        Session down(folder, segment);
        down.undo();
    }
    INFO("killed after " << count << " of " << total << " steps" << (half ? " and one record" : ""));
    CHECK(difference(before, snapshot()) == "");
    CHECK_FALSE(std::filesystem::exists(folder));
    return total;
}

void kill_everywhere(const std::string& segment, const std::string& scene, const StepsOf& steps_of) {
    const auto total = kill_after(0, false, segment, scene, steps_of);
    for (std::size_t count = 0; count < total; ++count) kill_after(count, true, segment, scene, steps_of);
    kill_after(total, false, segment, scene, steps_of);
}

}  // namespace

TEST_CASE("a created bridge is gone after a kill at any step and all else is as before") {
    { IN_NAMESPACE; }
    kill_everywhere("virbr10", "true", [](Session& session) { return session.steps_for_bridge(true); });
}

TEST_CASE("an adopted bridge is as before after a kill at any step") {
    { IN_NAMESPACE; }
    kill_everywhere("br7",
                    "ip link add br7 mtu 1450 address 02:00:00:00:07:07 type bridge; ip link set vnet0 master br7;"
                    "ip addr add 10.77.0.1/24 dev br7; ip link set br7 addrgenmode none; ip link set br7 up;"
                    "until ip link show br7 | grep -q 'state UP'; do sleep 0.01; done;"
                    "echo 2 > /proc/sys/net/ipv4/conf/br7/rp_filter",
                    [](Session& session) { return session.steps_for_bridge(false); });
}

TEST_CASE("an interface with ipv6 addresses is as before after a kill at any step") {
    { IN_NAMESPACE; }
    kill_everywhere("vnet0", "ip addr add 2001:db8::7/64 nodad dev vnet0; ip addr add 172.30.0.1/24 dev vnet0",
                    [](Session& session) { return session.steps_for_interface(); });
}

TEST_CASE("an adopted bridge whose mac has changed gets its link local address back") {
    { IN_NAMESPACE; }
    kill_everywhere("br7",
                    "ip link add br7 type bridge; ip link set vnet0 address 02:00:00:00:00:99;"
                    "ip link set vnet0 master br7; ip link set br7 up;"
                    "until ip -6 addr show br7 | grep -q fe80::ff:fe00:99; do sleep 0.01; done;"
                    "ip link add vnet1 address 02:00:00:00:00:01 type veth peer name guest1;"
                    "ip link set vnet1 master br7",
                    [](Session& session) { return session.steps_for_interface(); });
}

TEST_CASE("a second start after a kill restores what was there before the first") {
    IN_NAMESPACE;
    build_host();
    REQUIRE(run("ip link add br7 type bridge; ip link set br7 up; ip link set br7 down"));
    const auto before = snapshot();
    const TemporaryFolder base;
    for (int start = 0; start < 3; ++start) {
        Session killed(base.path(), "br7");
        const auto steps = killed.steps_for_bridge(false);
        killed.run_steps(steps, steps.size() - 1, false);
    }
    Session down(base.path(), "br7");
    down.undo();
    CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("a link that is somebody else's by now is not deleted") {
    IN_NAMESPACE;
    const TemporaryFolder base;
    auto netlink = link::Netlink::open();
    REQUIRE(netlink);
    SysctlAccess access;
    Shared shared(base.path(), "virbr10", access);
    TestUndoer undoer(*netlink, shared);
    REQUIRE(run("ip link add virbr10 type bridge"));
    const auto mac = *MacAddress::parse("02:00:00:00:00:01");
    REQUIRE(undoer.undo(CreatedLink{"virbr10", mac}));
    CHECK_FALSE(output_of("ip -o link show virbr10").empty());

    REQUIRE(run("ip link set virbr10 address 02:00:00:00:00:01"));  // killed before it was marked: known by its MAC
    REQUIRE(undoer.undo(CreatedLink{"virbr10", mac}));
    CHECK(output_of("ip -o link show type bridge").empty());
}

TEST_CASE("a folder that somebody else uses by now stays and a file that is gone is no error") {
    const TemporaryFolder base;
    auto netlink = link::Netlink::open();
    REQUIRE(netlink);
    SysctlAccess access;
    Shared shared(base.path(), "virbr10", access);
    TestUndoer undoer(*netlink, shared);
    REQUIRE(make_directories(base.path() + "/network"));
    REQUIRE(replace_file_unsynced(base.path() + "/network/ours", "x"));
    REQUIRE(undoer.undo(CreatedFolder{base.path() + "/network"}));
    CHECK(std::filesystem::exists(base.path() + "/network"));
    REQUIRE(undoer.undo(CreatedFile{base.path() + "/network/ours"}));
    REQUIRE(undoer.undo(CreatedFile{base.path() + "/network/ours"}));
    REQUIRE(undoer.undo(CreatedFolder{base.path() + "/network"}));
    CHECK_FALSE(std::filesystem::exists(base.path() + "/network"));
}
