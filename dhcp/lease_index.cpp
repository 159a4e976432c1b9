#include "dhcp/lease_index.hpp"

#include <algorithm>

namespace vmrouter::dhcp {

void ExpiryQueue::place(std::size_t position, Item item) {
    heap_[position] = item;
    item.second->queue_position = position;
}

void ExpiryQueue::sift(std::size_t position, Item item) {
    while (position > 0) {
        const std::size_t parent = (position - 1) / 2;
        if (heap_[parent].first <= item.first) break;
        place(position, heap_[parent]);
        position = parent;
    }
    for (;;) {
        std::size_t child = 2 * position + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && heap_[child + 1].first < heap_[child].first) ++child;
        if (item.first <= heap_[child].first) break;
        place(position, heap_[child]);
        position = child;
    }
    place(position, item);
}

void ExpiryQueue::update(LeaseNode& node) {
    if (!node.lease.expires) return erase(node);
    if (node.queue_position == LeaseNode::not_queued) {
        node.queue_position = heap_.size();
        heap_.emplace_back(*node.lease.expires, &node);
    }
    sift(node.queue_position, {*node.lease.expires, &node});
}

void ExpiryQueue::erase(LeaseNode& node) {
    if (node.queue_position == LeaseNode::not_queued) return;
    const std::size_t position = std::exchange(node.queue_position, LeaseNode::not_queued);
    const Item last = heap_.back();
    heap_.pop_back();
    if (last.second != &node) sift(position, last);
}

void AddressBits::set(Ipv4 address, bool value) {
    if (!range_.contains(address)) return;
    const std::uint64_t index = address.value - range_.first.value;
    const std::uint64_t bit = std::uint64_t{1} << (index % 64);
    if (value)
        words_[index / 64] |= bit;
    else
        words_[index / 64] &= ~bit;
}

std::optional<std::uint64_t> AddressBits::clear_between(std::uint64_t first, std::uint64_t end) const {
    for (std::uint64_t index = first; index < end; index = (index / 64 + 1) * 64) {
        const std::uint64_t clear = ~words_[index / 64] >> (index % 64);
        if (clear == 0) continue;
        const std::uint64_t found = index + static_cast<std::uint64_t>(std::countr_zero(clear));
        return found < end ? std::optional{found} : std::nullopt;
    }
    return std::nullopt;
}

std::optional<Ipv4> AddressBits::next_clear(Ipv4 from) const {
    if (range_.size() == 0) return std::nullopt;
    const std::uint64_t start = range_.contains(from) ? from.value - range_.first.value : 0;
    auto found = clear_between(start, range_.size());
    if (!found) found = clear_between(0, start);
    if (!found) return std::nullopt;
    return Ipv4{static_cast<std::uint32_t>(range_.first.value + *found)};
}

std::optional<Ipv4> FormerHolders::remember(Holder holder) {
    forget(holder.address);
    std::optional<Ipv4> forgotten;
    if (limit_ > 0 && holders_.size() >= limit_) {
        forgotten = holders_.front().address;
        forget(*forgotten);
    }
    if (!holder.hardware.empty()) by_key_[key(holder.hardware)] = holder.address;
    if (!holder.client_id.empty()) by_key_[key(Bytes{holder.client_id})] = holder.address;
    holders_.push_back(std::move(holder));
    by_address_[holders_.back().address] = std::prev(holders_.end());
    return forgotten;
}

void FormerHolders::forget(Ipv4 address) {
    const auto found = by_address_.find(address);
    if (found == by_address_.end()) return;
    const Holder& holder = *found->second;
    for (const std::uint64_t hash : {key(holder.hardware), key(Bytes{holder.client_id})}) {
        const auto entry = by_key_.find(hash);
        if (entry != by_key_.end() && entry->second == address) by_key_.erase(entry);
    }
    holders_.erase(found->second);
    by_address_.erase(found);
}

const FormerHolders::Holder* FormerHolders::find(Ipv4 address) const {
    const auto found = by_address_.find(address);
    return found == by_address_.end() ? nullptr : &*found->second;
}

std::optional<Ipv4> FormerHolders::address_of(const HardwareAddress& hardware, Bytes client_id, IdScope scope) const {
    const auto found = by_key_.find(hardware.empty() ? key(client_id) : key(hardware));
    if (found == by_key_.end()) return std::nullopt;
    const Holder* holder = find(found->second);
    const bool same_id = !client_id.empty() && std::ranges::equal(holder->client_id, client_id);
    const bool same = hardware.empty() ? same_id && in_scope(holder->hardware, scope) : holder->hardware == hardware;
    return same ? std::optional{found->second} : std::nullopt;
}

}  // namespace vmrouter::dhcp
