#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "firewall/nft.hpp"
#include "firewall/policy.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// A named counter of our tables.
struct Counter {
    std::string name;  ///< "lan", without our prefix
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

/// Our tables in the kernel. Remembers the policy that is in force, and changes the kernel first and itself afterwards,
/// so that after an error the old policy is still in force and still remembered.
class Live {
public:
    explicit Live(Nft& nft) : nft_(nft) {}

    /// Replaces our tables by those of `policy`, in one transaction; counters start anew. Admitted names are kept.
    Result<void> apply(const Policy& policy);
    /// Goes from the policy in force to `policy` by set elements when that is enough, by apply() otherwise.
    Result<void> update(const Policy& policy);
    /// Puts the tables back as they are remembered, for when somebody else changed them.
    Result<void> repair();
    /// Deletes our tables. Nothing to delete is no error.
    Result<void> remove();

    /// A guest has this address from now on (call it before the ACK leaves), at constant cost. Replaces what the pair
    /// had.
    Result<void> bind(const Binding& binding);
    /// The pair no longer belongs together: released, expired, declined. Unknown pairs are no error.
    Result<void> unbind(const MacAddress& mac, Ipv4 address);
    /// allow_domains: these addresses are reachable for `ttl` from now, or for as long as they already are, whichever
    /// is longer. Call it before the answer leaves. Error when the set is full.
    Result<void> admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now);

    /// The policy in force; nullptr before the first apply().
    [[nodiscard]] const Policy* policy() const { return policy_ ? &*policy_ : nullptr; }
    /// Our named counters, in the order of their names.
    Result<std::vector<Counter>> counters();

private:
    Result<void> element_batch(const std::vector<struct ElementChange>& changes);

    Nft& nft_;
    std::optional<Policy> policy_;
    std::map<Ipv4, Monotonic> admitted_;  ///< until when
    FileDescriptor netlink_;
};

/// The table of the instance is in the kernel with all its chains: what `status` and the watch for tampering ask.
Result<bool> in_force(Nft& nft, const Policy& policy);

}  // namespace vmrouter::firewall
