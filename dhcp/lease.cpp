#include "dhcp/lease.hpp"

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <utility>

#include "dhcp/lease_index.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t most_former = 65536;  // former holders: a hint that is worth some memory, not all of it

bool on_disk(const std::optional<Lease>& lease) {
    return lease && lease->state != LeaseState::Offered;
}

Bytes as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::vector<const Lease*> bound_first(std::vector<const Lease*> leases) {
    std::stable_partition(leases.begin(), leases.end(),
                          [](const Lease* lease) { return lease->state == LeaseState::Bound; });
    return leases;
}

}  // namespace

std::string_view to_string(LeaseState state) {
    switch (state) {
        case LeaseState::Offered:
            return "offered";
        case LeaseState::Bound:
            return "bound";
        case LeaseState::Declined:
            return "declined";
        case LeaseState::Abandoned:
            return "abandoned";
    }
    return "";
}

std::string_view to_string(Cause cause) {
    switch (cause) {
        case Cause::Offer:
            return "offer";
        case Cause::Bind:
            return "bind";
        case Cause::Renew:
            return "renew";
        case Cause::Reboot:
            return "reboot";
        case Cause::Rename:
            return "rename";
        case Cause::Move:
            return "move";
        case Cause::Release:
            return "release";
        case Cause::Decline:
            return "decline";
        case Cause::Conflict:
            return "conflict";
        case Cause::Expire:
            return "expire";
        case Cause::Drop:
            return "drop";
        case Cause::Withdraw:
            return "withdraw";
        case Cause::ClockChange:
            return "clock change";
    }
    return "";
}

bool AppliedChange::durable() const {
    return on_disk(before) || on_disk(after);
}

struct LeaseTable::State {
    State(Range pool, std::size_t limit_, std::uint64_t seed_)
        : limit(limit_), seed(seed_), taken(pool), former(std::min(limit_, most_former), seed_) {}

    std::size_t limit;
    std::uint64_t seed;
    std::unordered_map<Ipv4, LeaseNode> nodes;  // a node stays where it is until it is erased
    ChainIndex<&LeaseNode::by_hardware> by_hardware;
    ChainIndex<&LeaseNode::by_client_id> by_client_id;
    ChainIndex<&LeaseNode::by_name> by_name;
    ExpiryQueue queue;
    AddressBits taken;  // of the range: has an entry, or a former holder
    FormerHolders former;
    std::unordered_map<int, std::size_t> per_port;
    std::unordered_map<MacAddress, std::size_t> per_sender;
    std::size_t bound = 0;
    std::size_t quarantined = 0;
    std::size_t used_in_range = 0;
    std::uint64_t version = 0;
    std::vector<AppliedChange> changes;

    [[nodiscard]] std::uint64_t key(const HardwareAddress& hardware) const {
        return hash_bytes(hardware.view(), seed + hardware.type);
    }
    [[nodiscard]] std::uint64_t key(Bytes bytes) const { return hash_bytes(bytes, seed); }
    [[nodiscard]] LeaseNode* find(Ipv4 address) {
        const auto found = nodes.find(address);
        return found == nodes.end() ? nullptr : &found->second;
    }
    [[nodiscard]] LeaseNode* named(std::string_view name) const;
    void link(LeaseNode& node);
    void unlink(LeaseNode& node);
    void count(const Lease& lease, bool add);
    void put(const Lease& lease);
    void remove(LeaseNode& node, Cause cause);
    void record(Cause cause, Ipv4 address, std::optional<Lease> before, std::uint64_t before_version);
};

LeaseNode* LeaseTable::State::named(std::string_view name) const {
    const std::string lower = to_lower(name);
    for (LeaseNode* node = by_name.first(key(as_bytes(lower))); node != nullptr; node = by_name.next(*node))
        if (equal_ignoring_case(node->lease.name, name)) return node;
    return nullptr;
}

void LeaseTable::State::count(const Lease& lease, bool add) {
    const auto step = [add](auto& map, const auto& key_) {
        std::size_t& value = map[key_];
        value = add ? value + 1 : value - 1;
        if (value == 0) map.erase(key_);
    };
    if (lease.state == LeaseState::Bound) bound = add ? bound + 1 : bound - 1;
    if (lease.quarantined()) quarantined = add ? quarantined + 1 : quarantined - 1;
    // What a guest declined counts as held by it: declining one address after another must not empty the pool.
    if (lease.state == LeaseState::Abandoned) return;
    if (lease.port != 0 || !lease.supplied_missing) step(per_port, lease.port);
    if (lease.sender) step(per_sender, *lease.sender);
}

void LeaseTable::State::link(LeaseNode& node) {
    Lease& lease = node.lease;
    if (lease.state != LeaseState::Bound || (!lease.name.empty() && named(lease.name) != nullptr)) lease.name.clear();
    if (!lease.quarantined()) {
        if (!lease.hardware.empty()) by_hardware.insert(node, key(lease.hardware));
        if (!lease.client_id.empty()) by_client_id.insert(node, key(Bytes{lease.client_id}));
        if (!lease.name.empty()) by_name.insert(node, key(as_bytes(to_lower(lease.name))));
    }
    count(lease, true);
    queue.update(node);
    node.version = ++version;
}

void LeaseTable::State::unlink(LeaseNode& node) {
    by_hardware.erase(node);
    by_client_id.erase(node);
    by_name.erase(node);
    count(node.lease, false);
}

void LeaseTable::State::put(const Lease& lease) {
    const auto [entry, fresh] = nodes.try_emplace(lease.address);
    LeaseNode& node = entry->second;
    if (lease.state != LeaseState::Offered) former.forget(lease.address);  // an offer may come to nothing
    if (fresh) {
        taken.set(lease.address, true);
        if (taken.range().contains(lease.address)) ++used_in_range;
    } else {
        unlink(node);
    }
    node.lease = lease;
    link(node);
}

void LeaseTable::State::remove(LeaseNode& node, Cause cause) {
    const Ipv4 address = node.lease.address;
    unlink(node);
    queue.erase(node);
    if (node.lease.state == LeaseState::Bound) {
        FormerHolders::Holder holder{address, node.lease.hardware, node.lease.client_id, cause == Cause::Drop};
        const auto forgotten = former.remember(std::move(holder));
        if (forgotten && !nodes.contains(*forgotten)) taken.set(*forgotten, false);
    }
    if (taken.range().contains(address)) --used_in_range;
    taken.set(address, former.find(address) != nullptr);
    nodes.erase(address);
    ++version;
}

void LeaseTable::State::record(Cause cause, Ipv4 address, std::optional<Lease> before, std::uint64_t before_version) {
    const LeaseNode* node = find(address);
    const bool kept = node != nullptr && node->lease.state != LeaseState::Offered;
    if (!kept && !on_disk(before)) return;  // an offer came or went: most of what happens is not worth a copy
    auto after = node == nullptr ? std::nullopt : std::optional{node->lease};
    changes.push_back({cause, address, std::move(before), std::move(after), version, before_version});
}

LeaseTable::LeaseTable(Range range, std::size_t limit, std::uint64_t seed)
    : state_(std::make_unique<State>(range, limit, seed)) {}
LeaseTable::~LeaseTable() = default;
LeaseTable::LeaseTable(LeaseTable&&) noexcept = default;
LeaseTable& LeaseTable::operator=(LeaseTable&&) noexcept = default;

void LeaseTable::set_range(Range range, std::size_t limit) {
    state_->limit = limit;
    state_->taken = AddressBits{range};
    state_->used_in_range = 0;
    for (const auto& holder : state_->former.oldest_first()) state_->taken.set(holder.address, true);
    for (const auto& [address, node] : state_->nodes) {
        state_->taken.set(address, true);
        if (range.contains(address)) ++state_->used_in_range;
    }
}

Range LeaseTable::range() const {
    return state_->taken.range();
}

const Lease* LeaseTable::find(Ipv4 address) const {
    const LeaseNode* node = state_->find(address);
    return node == nullptr ? nullptr : &node->lease;
}

std::vector<const Lease*> LeaseTable::by_hardware(const HardwareAddress& hardware, std::size_t count) const {
    std::vector<const Lease*> found;
    if (hardware.empty()) return found;
    const auto& index = state_->by_hardware;
    for (auto* node = index.first(state_->key(hardware)); node != nullptr && found.size() < count;
         node = index.next(*node))
        if (node->lease.hardware == hardware) found.push_back(&node->lease);
    return bound_first(std::move(found));
}

std::vector<const Lease*> LeaseTable::by_client_id(Bytes client_id, IdScope scope, std::size_t count) const {
    std::vector<const Lease*> found;
    if (client_id.empty()) return found;
    const auto& index = state_->by_client_id;
    for (auto* node = index.first(state_->key(client_id)); node != nullptr && found.size() < count;
         node = index.next(*node))
        if (std::ranges::equal(node->lease.client_id, client_id) && in_scope(node->lease.hardware, scope))
            found.push_back(&node->lease);
    return bound_first(std::move(found));
}

const Lease* LeaseTable::by_name(std::string_view name) const {
    const LeaseNode* node = state_->named(name);
    return node == nullptr ? nullptr : &node->lease;
}

std::optional<Ipv4> LeaseTable::previous(const HardwareAddress& hardware, Bytes client_id, IdScope scope) const {
    return state_->former.address_of(hardware, client_id, scope);
}

bool LeaseTable::dropped(Ipv4 address, const HardwareAddress& hardware, Bytes client_id) const {
    const auto* holder = state_->former.find(address);
    if (holder == nullptr || !holder->dropped) return false;
    if (!holder->hardware.empty()) return holder->hardware == hardware;
    return std::ranges::equal(holder->client_id, client_id);
}

std::optional<Ipv4> LeaseTable::next_free(Ipv4 from) const {
    return state_->taken.next_clear(from);
}

std::optional<Ipv4> LeaseTable::formerly_used(const std::function<bool(Ipv4)>& suits) const {
    const auto& former = state_->former.oldest_first();
    const auto found = std::ranges::find_if(former, [&](const FormerHolders::Holder& holder) {
        return range().contains(holder.address) && !state_->nodes.contains(holder.address) && suits(holder.address);
    });
    return found == former.end() ? std::nullopt : std::optional{found->address};
}

std::size_t LeaseTable::size() const {
    return state_->nodes.size();
}
std::size_t LeaseTable::bound() const {
    return state_->bound;
}
std::size_t LeaseTable::used_in_range() const {
    return state_->used_in_range;
}
std::size_t LeaseTable::quarantined() const {
    return state_->quarantined;
}
bool LeaseTable::full() const {
    return size() >= state_->limit;
}

std::size_t LeaseTable::held_by_port(int port) const {
    const auto found = state_->per_port.find(port);
    return found == state_->per_port.end() ? 0 : found->second;
}

std::size_t LeaseTable::held_by_sender(const MacAddress& sender) const {
    const auto found = state_->per_sender.find(sender);
    return found == state_->per_sender.end() ? 0 : found->second;
}

void LeaseTable::for_each(const std::function<void(const Lease&)>& visit) const {
    for (const auto& [address, node] : state_->nodes) visit(node.lease);
}

bool LeaseTable::apply(const LeaseChange& change) {
    LeaseNode* node = state_->find(change.address);
    if (node == nullptr && !change.lease) return true;
    if (node == nullptr && full()) return false;
    auto before = node == nullptr ? std::nullopt : std::optional{node->lease};
    const std::uint64_t before_version = node == nullptr ? 0 : node->version;
    if (change.lease) {
        assert(change.lease->address == change.address);
        state_->put(*change.lease);
    } else {
        state_->remove(*node, change.cause);
    }
    state_->record(change.cause, change.address, std::move(before), before_version);
    return true;
}

bool LeaseTable::restore(const Lease& lease) {
    if (state_->find(lease.address) != nullptr || full()) return false;
    state_->put(lease);
    return true;
}

std::optional<Time> LeaseTable::next_expiry() const {
    if (state_->queue.empty()) return std::nullopt;
    return state_->queue.next();
}

std::vector<Lease> LeaseTable::expire(Time now) {
    std::vector<Lease> over;
    while (!state_->queue.empty() && state_->queue.next() <= now) {
        LeaseNode& node = state_->queue.front();
        over.push_back(node.lease);
        const std::uint64_t before_version = node.version;
        state_->remove(node, Cause::Expire);
        state_->record(Cause::Expire, over.back().address, over.back(), before_version);
    }
    return over;
}

void LeaseTable::clock_changed(Time before, Time after, Seconds longest) {
    for (auto& [address, node] : state_->nodes) {
        if (!node.lease.expires) continue;
        // What is left is never negative, and never more than a lease can be: a lease loaded under a clock that stood
        // in 1970 seems to have decades left.
        const Milliseconds most = longest;
        const Milliseconds left = std::clamp(*node.lease.expires - before, Milliseconds{0}, most);
        const Time expires = after + left;
        const bool wrong = after > before ? *node.lease.expires < expires : *node.lease.expires > expires;
        if (!wrong) continue;
        Lease old = node.lease;
        node.lease.expires = expires;
        state_->queue.update(node);
        const std::uint64_t before_version = std::exchange(node.version, ++state_->version);
        state_->record(Cause::ClockChange, address, std::move(old), before_version);
    }
}

std::vector<AppliedChange> LeaseTable::take_changes() {
    return std::exchange(state_->changes, {});
}

void LeaseTable::roll_back(const std::vector<AppliedChange>& changes) {
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
        LeaseNode* node = state_->find(change->address);
        if (change->after ? node == nullptr || node->version != change->version : node != nullptr) continue;
        if (change->before) {
            state_->put(*change->before);
            state_->find(change->address)->version = change->before_version;  // an older change may go back further
            continue;
        }
        // What never reached the disk was never given: it is no client's former address.
        if (node != nullptr) state_->remove(*node, Cause::Withdraw);
        state_->former.forget(change->address);
        state_->taken.set(change->address, false);
    }
}

}  // namespace vmrouter::dhcp
