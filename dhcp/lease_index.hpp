#pragma once

// The parts LeaseTable is made of; nobody else includes this. A node is indexed intrusively: it carries the links of
// every index it is in, so that leaving one costs nothing to find.

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dhcp/lease.hpp"

namespace vmrouter::dhcp {

struct LeaseNode;

inline bool in_scope(const HardwareAddress& hardware, IdScope scope) {
    return scope == IdScope::Everybody || hardware.empty();
}

struct ChainLink {
    LeaseNode* previous = nullptr;
    LeaseNode* next = nullptr;
    std::uint64_t key = 0;
    bool linked = false;
};

struct LeaseNode {
    static constexpr std::size_t not_queued = SIZE_MAX;

    Lease lease;
    std::uint64_t version = 0;
    std::size_t queue_position = not_queued;
    ChainLink by_hardware;
    ChainLink by_client_id;
    ChainLink by_name;
};

/// From the hash of a key to the nodes that have it, newest first. Different keys with one hash share a chain: callers
/// compare.
template <ChainLink LeaseNode::*Link>
class ChainIndex {
public:
    [[nodiscard]] LeaseNode* first(std::uint64_t key) const {
        const auto found = heads_.find(key);
        return found == heads_.end() ? nullptr : found->second;
    }
    static LeaseNode* next(const LeaseNode& node) { return (node.*Link).next; }

    void insert(LeaseNode& node, std::uint64_t key) {
        assert(!(node.*Link).linked);
        LeaseNode*& head = heads_[key];
        node.*Link = {nullptr, head, key, true};
        if (head != nullptr) (head->*Link).previous = &node;
        head = &node;
    }
    void erase(LeaseNode& node) {
        ChainLink& link = node.*Link;
        if (!link.linked) return;
        if (link.next != nullptr) (link.next->*Link).previous = link.previous;
        if (link.previous != nullptr)
            (link.previous->*Link).next = link.next;
        else if (link.next != nullptr)
            heads_[link.key] = link.next;
        else
            heads_.erase(link.key);
        link = {};
    }

private:
    std::unordered_map<std::uint64_t, LeaseNode*> heads_;
};

/// A binary heap by time of expiry in which every node knows its place.
class ExpiryQueue {
public:
    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] Time next() const { return heap_.front().first; }
    [[nodiscard]] LeaseNode& front() const { return *heap_.front().second; }

    /// Puts the node where its lease's expiry belongs; out of the queue when it never expires.
    void update(LeaseNode& node);
    void erase(LeaseNode& node);

private:
    using Item = std::pair<Time, LeaseNode*>;
    void place(std::size_t position, Item item);
    void sift(std::size_t position, Item item);

    std::vector<Item> heap_;
};

/// One bit for each address of a range; finds a clear one 64 at a time.
class AddressBits {
public:
    explicit AddressBits(Range range) : range_(range), words_((range.size() + 63) / 64) {}

    [[nodiscard]] const Range& range() const { return range_; }
    void set(Ipv4 address, bool value);
    /// The first clear address at or after `from`, wrapping once.
    [[nodiscard]] std::optional<Ipv4> next_clear(Ipv4 from) const;

private:
    [[nodiscard]] std::optional<std::uint64_t> clear_between(std::uint64_t first, std::uint64_t end) const;

    Range range_;
    std::vector<std::uint64_t> words_;
};

/// Which client held an address last, for those that nobody has now. Bounded; the oldest is forgotten first.
class FormerHolders {
public:
    struct Holder {
        Ipv4 address;
        HardwareAddress hardware;
        std::vector<std::uint8_t> client_id;
        bool dropped = false;
    };

    FormerHolders(std::size_t limit, std::uint64_t seed) : limit_(limit), seed_(seed) {}

    /// Returns the address that had to be forgotten for it.
    std::optional<Ipv4> remember(Holder holder);
    void forget(Ipv4 address);
    [[nodiscard]] const Holder* find(Ipv4 address) const;
    [[nodiscard]] std::optional<Ipv4> address_of(const HardwareAddress& hardware, Bytes client_id, IdScope scope) const;
    [[nodiscard]] const std::list<Holder>& oldest_first() const { return holders_; }

private:
    [[nodiscard]] std::uint64_t key(const HardwareAddress& hardware) const {
        return hash_bytes(hardware.view(), seed_ + hardware.type);
    }
    [[nodiscard]] std::uint64_t key(Bytes client_id) const { return hash_bytes(client_id, ~seed_); }

    std::size_t limit_;
    std::uint64_t seed_;
    std::list<Holder> holders_;
    std::unordered_map<Ipv4, std::list<Holder>::iterator> by_address_;
    std::unordered_map<std::uint64_t, Ipv4> by_key_;
};

}  // namespace vmrouter::dhcp
