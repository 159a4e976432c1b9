#pragma once

// Which name a guest resolved to an address lately: what makes addresses in `monitor` and `status` readable. Bounded in
// number; a guest that resolves much pushes out its own names first.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dns/name.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dns {

class ResolvedNames {
public:
    static constexpr std::size_t ways = 8;           ///< entries that compete for one place
    static constexpr std::size_t most_records = 32;  ///< addresses taken from one reply

    /// Remembers up to `most` pairs of guest and address (rounded up to a power of two); memory comes with the first.
    explicit ResolvedNames(std::size_t most = 4096);

    /// Notes every A record in the answer section of a reply to `guest`, which asked for `name`. Malformed bytes are
    /// ignored. Costs an allocation only when a place gets another, longer name.
    void note(Ipv4 guest, const Name& name, Bytes reply, Monotonic now);

    struct Found {
        Name name;
        Monotonic when{};  ///< of the last reply that said so
    };
    /// The name that this guest was last told to be at this address.
    [[nodiscard]] std::optional<Found> find(Ipv4 guest, Ipv4 address) const;

    [[nodiscard]] std::size_t size() const { return size_; }

private:
    struct Entry {
        Ipv4 guest;
        Ipv4 address;
        Monotonic when{};
        std::string name;  ///< wire form; empty: unused
    };
    using Set = std::array<Entry, ways>;

    void note_address(Ipv4 guest, Bytes name, Ipv4 address, Monotonic now);
    [[nodiscard]] std::size_t set_of(Ipv4 guest, Ipv4 address) const;

    std::size_t set_count_;
    std::size_t size_ = 0;
    std::vector<Set> sets_;
};

}  // namespace vmrouter::dns
