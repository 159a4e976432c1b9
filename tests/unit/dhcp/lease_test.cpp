#include "dhcp/lease.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "scene.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

const Time start{std::chrono::seconds{1'800'000'000}};

Lease bound(std::string_view address, std::string_view hardware, Seconds lifetime = Seconds{3600}) {
    Lease lease;
    lease.address = ip(address);
    lease.hardware = hw(hardware);
    lease.expires = start + lifetime;
    lease.last_seen = start;
    return lease;
}

Lease offered(std::string_view address, std::string_view hardware) {
    Lease lease = bound(address, hardware, Seconds{15});
    lease.state = LeaseState::Offered;
    return lease;
}

LeaseTable table(std::size_t limit = 4096) {
    return LeaseTable{{ip("192.168.100.2"), ip("192.168.100.254")}, limit, 7};
}

bool put(LeaseTable& leases, const Lease& lease, Cause cause = Cause::Bind) {
    return leases.apply({cause, lease.address, lease});
}
bool remove(LeaseTable& leases, std::string_view address, Cause cause = Cause::Release) {
    return leases.apply({cause, ip(address), std::nullopt});
}

/// All former addresses, longest unused first.
std::vector<Ipv4> former(const LeaseTable& leases) {
    std::vector<Ipv4> found;
    CHECK_FALSE(leases.formerly_used([&](Ipv4 address) {
        found.push_back(address);
        return false;
    }));
    return found;
}

}  // namespace

TEST_CASE("A lease is found by address and hardware address and client-id and name") {
    LeaseTable leases = table();
    Lease lease = bound("192.168.100.9", vm1);
    lease.client_id = {1, 2, 3};
    lease.name = "Web";
    REQUIRE(put(leases, lease));
    CHECK(*leases.find(ip("192.168.100.9")) == lease);
    CHECK(leases.by_hardware(hw(vm1)).size() == 1);
    CHECK(leases.by_client_id(lease.client_id, IdScope::Everybody).size() == 1);
    CHECK(leases.by_name("wEB")->address == lease.address);
    CHECK(leases.by_hardware(hw(vm2)).empty());
    CHECK(leases.by_client_id(std::vector<std::uint8_t>{1, 2}, IdScope::Everybody).empty());
    CHECK(leases.by_name("we") == nullptr);
    REQUIRE(remove(leases, "192.168.100.9"));
    CHECK(leases.find(ip("192.168.100.9")) == nullptr);
    CHECK(leases.by_hardware(hw(vm1)).empty());
    CHECK(leases.by_client_id(lease.client_id, IdScope::Everybody).empty());
    CHECK(leases.by_name("web") == nullptr);
    CHECK(leases.size() == 0);
}

TEST_CASE("Of several leases of one client the bound ones come first and then the newest") {
    LeaseTable leases = table();
    put(leases, bound("192.168.100.10", vm1));
    put(leases, bound("192.168.100.11", vm1));
    put(leases, offered("192.168.100.12", vm1), Cause::Offer);
    const auto held = leases.by_hardware(hw(vm1));
    REQUIRE(held.size() == 3);
    CHECK(held[0]->address == ip("192.168.100.11"));
    CHECK(held[1]->address == ip("192.168.100.10"));
    CHECK(held[2]->state == LeaseState::Offered);
    CHECK(leases.by_hardware(hw(vm1), 1).size() == 1);
}

TEST_CASE("Offers leave no trace for the journal and everything else does") {
    LeaseTable leases = table();
    put(leases, offered("192.168.100.10", vm1), Cause::Offer);
    remove(leases, "192.168.100.10", Cause::Withdraw);
    CHECK(leases.take_changes().empty());
    put(leases, offered("192.168.100.10", vm1), Cause::Offer);
    put(leases, bound("192.168.100.10", vm1));
    put(leases, bound("192.168.100.10", vm1, Seconds{7200}), Cause::Renew);
    Lease declined = bound("192.168.100.10", vm1, Seconds{600});
    declined.state = LeaseState::Declined;
    put(leases, declined, Cause::Decline);
    const auto changes = leases.take_changes();
    REQUIRE(changes.size() == 3);
    CHECK(changes[0].cause == Cause::Bind);
    CHECK(changes[0].before->state == LeaseState::Offered);
    CHECK(changes[0].after->state == LeaseState::Bound);
    CHECK(changes[1].cause == Cause::Renew);
    CHECK(changes[2].after->state == LeaseState::Declined);
    CHECK(leases.take_changes().empty());
}

TEST_CASE("A name belongs to one lease and a second one does without") {
    LeaseTable leases = table();
    Lease first = bound("192.168.100.10", vm1);
    first.name = "web";
    Lease second = bound("192.168.100.11", vm2);
    second.name = "WEB";
    put(leases, first);
    put(leases, second);
    CHECK(leases.by_name("web")->address == first.address);
    CHECK(leases.find(second.address)->name.empty());
}

TEST_CASE("Leases expire in order and never before their time") {
    LeaseTable leases = table();
    put(leases, bound("192.168.100.10", vm1, Seconds{300}));
    put(leases, bound("192.168.100.11", vm2, Seconds{100}));
    put(leases, offered("192.168.100.12", vm3), Cause::Offer);
    Lease forever = bound("192.168.100.13", vm3);
    forever.expires.reset();
    put(leases, forever);
    leases.take_changes();
    CHECK(leases.next_expiry() == start + Seconds{15});
    CHECK(leases.expire(start + Seconds{14}).empty());
    CHECK(leases.expire(start + Seconds{15}).size() == 1);
    CHECK(leases.take_changes().empty());
    put(leases, bound("192.168.100.11", vm2, Seconds{400}), Cause::Renew);
    CHECK(leases.next_expiry() == start + Seconds{300});
    CHECK(leases.expire(start + Seconds{100}).empty());
    const auto over = leases.expire(start + Seconds{1000});
    REQUIRE(over.size() == 2);
    CHECK(over[0].address == ip("192.168.100.10"));
    CHECK(over[1].address == ip("192.168.100.11"));
    CHECK_FALSE(leases.next_expiry());
    const auto changes = leases.take_changes();
    REQUIRE(changes.size() == 3);
    CHECK(changes.back().cause == Cause::Expire);
    CHECK(leases.bound() == 1);
}

TEST_CASE("An expired client is remembered by its address until somebody else has it") {
    LeaseTable leases = table();
    Lease lease = bound("192.168.100.10", vm1);
    lease.client_id = {9, 9};
    put(leases, lease);
    leases.expire(start + Seconds{3600});
    CHECK(leases.previous(hw(vm1), {}, IdScope::Everybody) == ip("192.168.100.10"));
    CHECK(leases.previous({}, lease.client_id, IdScope::Everybody) == ip("192.168.100.10"));
    CHECK_FALSE(leases.previous(hw(vm2), {}, IdScope::Everybody));
    CHECK_FALSE(leases.previous({}, {}, IdScope::Everybody));
    CHECK(leases.next_free(ip("192.168.100.10")) == ip("192.168.100.11"));
    CHECK(former(leases) == std::vector{ip("192.168.100.10")});
    put(leases, bound("192.168.100.10", vm2));
    CHECK_FALSE(leases.previous(hw(vm1), {}, IdScope::Everybody));
    CHECK(former(leases).empty());
}

TEST_CASE("A dropped lease is remembered as dropped until its address is given again") {
    LeaseTable leases = table();
    put(leases, bound("192.168.100.10", vm1));
    remove(leases, "192.168.100.10", Cause::Drop);
    CHECK(leases.dropped(ip("192.168.100.10"), hw(vm1), {}));
    CHECK_FALSE(leases.dropped(ip("192.168.100.10"), hw(vm2), {}));
    put(leases, bound("192.168.100.10", vm1));
    remove(leases, "192.168.100.10", Cause::Release);
    CHECK_FALSE(leases.dropped(ip("192.168.100.10"), hw(vm1), {}));
}

TEST_CASE("Former holders are forgotten, oldest first, when there are too many") {
    LeaseTable leases = table(3);
    for (int i = 10; i < 15; ++i) {
        put(leases, bound("192.168.100." + std::to_string(i), "52:54:00:00:00:" + std::to_string(i)));
        remove(leases, "192.168.100." + std::to_string(i));
    }
    CHECK(former(leases) == std::vector{ip("192.168.100.12"), ip("192.168.100.13"), ip("192.168.100.14")});
    CHECK_FALSE(leases.previous(hw("52:54:00:00:00:10"), {}, IdScope::Everybody));
    CHECK(leases.next_free(ip("192.168.100.10")) == ip("192.168.100.10"));
}

TEST_CASE("A free address is found from anywhere, across the end of the range") {
    LeaseTable leases{{ip("10.0.0.10"), ip("10.0.0.200")}, 4096, 1};
    CHECK(leases.next_free(ip("10.0.0.10")) == ip("10.0.0.10"));
    CHECK(leases.next_free(ip("10.0.0.200")) == ip("10.0.0.200"));
    CHECK(leases.next_free(ip("10.0.0.201")) == ip("10.0.0.10"));
    for (int i = 10; i <= 200; ++i)
        if (i != 77) put(leases, bound("10.0.0." + std::to_string(i), vm1));
    for (const int from : {10, 76, 77, 78, 200})
        CHECK(leases.next_free(ip("10.0.0." + std::to_string(from))) == ip("10.0.0.77"));
    put(leases, bound("10.0.0.77", vm1));
    CHECK_FALSE(leases.next_free(ip("10.0.0.10")));
    CHECK(leases.used_in_range() == 191);
}

TEST_CASE("A new range knows the leases that are there") {
    LeaseTable leases = table();
    put(leases, bound("192.168.100.10", vm1));
    put(leases, bound("192.168.100.200", vm2));
    leases.set_range({ip("192.168.100.10"), ip("192.168.100.20")}, 65536);
    CHECK(leases.used_in_range() == 1);
    CHECK(leases.next_free(ip("192.168.100.10")) == ip("192.168.100.11"));
    remove(leases, "192.168.100.200");
    CHECK(leases.used_in_range() == 1);
    CHECK(former(leases).empty());
}

TEST_CASE("A full table takes no new entry but changes and removes old ones") {
    LeaseTable leases = table(2);
    CHECK(put(leases, bound("192.168.100.10", vm1)));
    CHECK(put(leases, bound("192.168.100.11", vm2)));
    CHECK(leases.full());
    CHECK_FALSE(put(leases, bound("192.168.100.12", vm3)));
    CHECK_FALSE(leases.restore(bound("192.168.100.12", vm3)));
    CHECK(put(leases, bound("192.168.100.10", vm1, Seconds{10}), Cause::Renew));
    CHECK(remove(leases, "192.168.100.11"));
    CHECK(put(leases, bound("192.168.100.12", vm3)));
}

TEST_CASE("What is loaded from disk is no change and does not replace what is there") {
    LeaseTable leases = table();
    CHECK(leases.restore(bound("192.168.100.10", vm1)));
    CHECK_FALSE(leases.restore(bound("192.168.100.10", vm2)));
    CHECK(leases.take_changes().empty());
    CHECK(leases.find(ip("192.168.100.10"))->hardware == hw(vm1));
}

TEST_CASE("Changes that were not written are taken back to what was before") {
    LeaseTable leases = table();
    const Lease old = bound("192.168.100.10", vm1);
    put(leases, old);
    leases.take_changes();
    put(leases, offered("192.168.100.11", vm2), Cause::Offer);
    put(leases, bound("192.168.100.11", vm2));
    put(leases, bound("192.168.100.10", vm1, Seconds{9000}), Cause::Renew);
    remove(leases, "192.168.100.10", Cause::Release);
    put(leases, bound("192.168.100.12", vm3));
    const auto changes = leases.take_changes();
    REQUIRE(changes.size() == 4);
    leases.roll_back(changes);
    CHECK(*leases.find(ip("192.168.100.10")) == old);
    CHECK(leases.find(ip("192.168.100.11"))->state == LeaseState::Offered);
    CHECK(leases.find(ip("192.168.100.12")) == nullptr);
    CHECK(former(leases).empty());
    CHECK(leases.next_free(ip("192.168.100.12")) == ip("192.168.100.12"));
    CHECK(leases.take_changes().empty());
    CHECK(leases.bound() == 1);
}

TEST_CASE("An address that changed again since stays as it is in a roll-back") {
    LeaseTable leases = table();
    put(leases, bound("192.168.100.10", vm1));
    const auto first = leases.take_changes();
    put(leases, bound("192.168.100.10", vm1, Seconds{9000}), Cause::Renew);
    leases.roll_back(first);
    REQUIRE(leases.find(ip("192.168.100.10")) != nullptr);
    CHECK(leases.find(ip("192.168.100.10"))->expires == start + Seconds{9000});
}

TEST_CASE("A clock that jumps takes nothing away and gives nothing") {
    for (const Seconds jump : {Seconds{86400 * 365}, Seconds{600}, Seconds{-86400}}) {
        LeaseTable leases = table();
        put(leases, bound("192.168.100.10", vm1, Seconds{3000}));
        Lease forever = bound("192.168.100.11", vm2);
        forever.expires.reset();
        put(leases, forever);
        leases.take_changes();
        leases.clock_changed(start, start + jump, Seconds{3600});
        CHECK(leases.find(ip("192.168.100.10"))->expires == start + jump + Seconds{3000});
        CHECK_FALSE(leases.find(ip("192.168.100.11"))->expires);
        CHECK(leases.expire(start + jump + Seconds{2999}).empty());
        CHECK(leases.expire(start + jump + Seconds{3000}).size() == 1);
        CHECK(leases.take_changes().front().cause == Cause::ClockChange);
    }
}

TEST_CASE("A clock that comes from 1970 leaves leases of the file their true expiry or one lease time") {
    const Time epoch{std::chrono::seconds{100}};
    LeaseTable leases = table();
    leases.restore(bound("192.168.100.10", vm1, Seconds{86400}));   // still good when the clock is right
    leases.restore(bound("192.168.100.11", vm2, Seconds{-86400}));  // over by then, but it may still be in use
    leases.clock_changed(epoch, start, Seconds{3600});
    CHECK(leases.find(ip("192.168.100.10"))->expires == start + Seconds{86400});
    CHECK(leases.find(ip("192.168.100.11"))->expires == start + Seconds{3600});
}

TEST_CASE("What a port and an Ethernet source hold is counted: leases and offers and what was declined") {
    LeaseTable leases = table();
    Lease lease = bound("192.168.100.10", vm1);
    lease.port = 5;
    lease.sender = mac(vm1);
    put(leases, lease);
    Lease second = offered("192.168.100.11", vm2);
    second.port = 5;
    second.sender = mac(vm1);
    put(leases, second, Cause::Offer);
    CHECK(leases.held_by_port(5) == 2);
    CHECK(leases.held_by_sender(mac(vm1)) == 2);
    second.state = LeaseState::Declined;
    put(leases, second, Cause::Decline);
    CHECK(leases.held_by_port(5) == 2);
    CHECK(leases.quarantined() == 1);
    second.state = LeaseState::Abandoned;
    put(leases, second, Cause::Conflict);
    CHECK(leases.held_by_port(5) == 1);
    CHECK(leases.quarantined() == 1);
    lease.port = 6;
    put(leases, lease, Cause::Renew);
    CHECK(leases.held_by_port(5) == 0);
    CHECK(leases.held_by_port(6) == 1);
    leases.expire(start + Seconds{4000});
    CHECK(leases.held_by_port(6) == 0);
    CHECK(leases.held_by_sender(mac(vm1)) == 0);
    CHECK(leases.quarantined() == 0);
}

TEST_CASE("Random operations leave the table as a plain map would be") {
    LeaseTable leases{{ip("192.168.100.2"), ip("192.168.100.60")}, 50, 3};
    std::map<Ipv4, Lease> model;
    std::mt19937 random{12345};
    Time now = start;
    for (int step = 0; step < 20000; ++step) {
        const auto dice = random() % 100;
        const Ipv4 address{ip("192.168.100.2").value + static_cast<std::uint32_t>(random() % 70)};
        if (dice < 60) {
            Lease lease;
            lease.address = address;
            lease.state = static_cast<LeaseState>(random() % 4);
            lease.hardware = HardwareAddress{MacAddress{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(random() % 20)}}};
            lease.client_id.assign(random() % 3, static_cast<std::uint8_t>(random() % 4));
            lease.port = static_cast<int>(random() % 4);
            if (random() % 8 != 0) lease.expires = now + Seconds{static_cast<std::int64_t>(random() % 500) + 1};
            const bool room = model.contains(address) || model.size() < 50;
            REQUIRE(put(leases, lease) == room);
            if (room) model[address] = lease;
        } else if (dice < 80) {
            remove(leases, to_string(address));
            model.erase(address);
        } else {
            now += Seconds{static_cast<std::int64_t>(random() % 20)};
            const auto over = leases.expire(now);
            const auto count = std::erase_if(
                model, [&](const auto& entry) { return entry.second.expires && *entry.second.expires <= now; });
            REQUIRE(over.size() == count);
        }
        REQUIRE(leases.size() == model.size());
        if (step % 50 != 0) continue;
        std::map<int, std::size_t> ports;
        std::optional<Time> next;
        for (const auto& [key, lease] : model) {
            REQUIRE(leases.find(key) != nullptr);
            REQUIRE(*leases.find(key) == lease);
            if (lease.state != LeaseState::Abandoned) ++ports[lease.port];
            if (lease.expires && (!next || *lease.expires < *next)) next = lease.expires;
        }
        REQUIRE(leases.next_expiry() == next);
        for (int port = 1; port < 4; ++port) REQUIRE(leases.held_by_port(port) == ports[port]);
        for (std::uint8_t last = 0; last < 20; ++last) {
            const HardwareAddress hardware{MacAddress{{2, 0, 0, 0, 0, last}}};
            const auto expected = std::ranges::count_if(model, [&](const auto& entry) {
                return entry.second.hardware == hardware && !entry.second.quarantined();
            });
            REQUIRE(leases.by_hardware(hardware, 100).size() == static_cast<std::size_t>(expected));
        }
        leases.take_changes();
    }
}
