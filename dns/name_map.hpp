#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "dns/name.hpp"

namespace vmrouter::dns {

/// Names to values, case ignored. Filled once, then read on the data path: a look-up with a hash at hand is one probe
/// and one comparison of bytes (names that we route or allow by are compared, not only hashed: a collision would be a
/// way out).
template <class T>
class NameMap {
public:
    /// The value of this name, made when there is none. References last until the next insertion.
    T& operator[](const Name& name) {
        if ((items_.size() + 1) * 2 > slots_.size()) grow();
        const std::uint64_t hash = name.hash();
        std::size_t slot = hash & (slots_.size() - 1);
        for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
            Item& item = items_[slots_[slot] - 1];
            if (item.hash == hash && item.name == name) return item.value;
        }
        items_.push_back({hash, name, T{}});
        slots_[slot] = static_cast<std::uint32_t>(items_.size());
        return items_.back().value;
    }

    /// The value of the name with this wire form and hash (Suffixes has both), or nullptr.
    [[nodiscard]] const T* find(Bytes wire, std::uint64_t hash) const {
        if (slots_.empty()) return nullptr;
        for (std::size_t slot = hash & (slots_.size() - 1); slots_[slot] != 0;
             slot = (slot + 1) & (slots_.size() - 1)) {
            const Item& item = items_[slots_[slot] - 1];
            if (item.hash == hash && item.name.size() == wire.size() && equal_folded(item.name.wire(), wire))
                return &item.value;
        }
        return nullptr;
    }
    [[nodiscard]] const T* find(const Name& name) const { return find(name.wire(), name.hash()); }

    [[nodiscard]] std::size_t size() const { return items_.size(); }

private:
    struct Item {
        std::uint64_t hash;
        Name name;
        T value;
    };

    void grow() {
        slots_.assign(slots_.empty() ? 16 : slots_.size() * 2, 0);
        for (std::size_t i = 0; i < items_.size(); ++i) {
            std::size_t slot = items_[i].hash & (slots_.size() - 1);
            while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
            slots_[slot] = static_cast<std::uint32_t>(i + 1);
        }
    }

    std::vector<Item> items_;
    std::vector<std::uint32_t> slots_;  ///< 1 + index into items_; 0: free; never more than half full
};

}  // namespace vmrouter::dns
