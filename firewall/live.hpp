#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "firewall/elements.hpp"
#include "firewall/nft.hpp"
#include "firewall/policy.hpp"
#include "src/base/clock.hpp"
#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// A named counter of our tables.
struct Counter {
    std::string name;  ///< "lan": the reason, or "opened"
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
};

/// What one guest sent to us and got from us, since the tables were loaded or it was silent for a day.
struct Traffic {
    Ipv4 guest;
    std::uint64_t sent_packets = 0;
    std::uint64_t sent_bytes = 0;
    std::uint64_t received_packets = 0;
    std::uint64_t received_bytes = 0;

    friend bool operator==(const Traffic&, const Traffic&) = default;
};

/// Our tables in the kernel. Remembers the policy that is in force, and changes the kernel first and itself afterwards,
/// so that after an error the old policy is still in force and still remembered.
class Live {
public:
    explicit Live(Nft& nft) : nft_(nft) {}

    /// Replaces our tables by those of `policy`, in one transaction; counters start anew. Names that were admitted stay
    /// admitted for as long as they were.
    Result<void> apply(const Policy& policy, Monotonic now);
    /// Goes from the policy in force to `policy` by set elements when that is enough, by apply() otherwise.
    Result<void> update(const Policy& policy, Monotonic now);
    /// Puts the tables back as they are remembered, for when somebody else changed them.
    Result<void> repair(Monotonic now);
    /// Deletes our tables. Nothing to delete is no error.
    Result<void> remove(const std::string& instance);

    /// A guest has this address from now on: call it before the ACK leaves. Constant cost. What the same pair had (its
    /// port) is replaced; other MACs keep the address if it is theirs too.
    Result<void> bind(const Binding& binding);
    /// The pair no longer belongs together: released, expired, declined. Unknown pairs are no error.
    Result<void> unbind(const MacAddress& mac, Ipv4 address);
    /// allow_domains: these addresses are reachable for `ttl` from now, or for as long as they already are, whichever
    /// is longer. Call it before the answer leaves. An error when the set is full.
    Result<void> admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now);

    /// Whether the kernel still has what we gave it: the same rules, word by word, and the same elements (names of
    /// allow_domains excepted, which run out by themselves). False before the first apply().
    Result<bool> in_force();

    /// The policy in force, bindings included; nothing before the first apply().
    [[nodiscard]] std::optional<Policy> policy() const;
    /// Our named counters by name; equal ones of several tables are added up.
    Result<std::vector<Counter>> counters();
    /// Every guest of the segment that was heard, by address.
    Result<std::vector<Traffic>> traffic();

private:
    [[nodiscard]] std::string admitted(Monotonic now);
    void remember(const Policy& policy);
    [[nodiscard]] std::string kernel_rules();
    [[nodiscard]] bool owned_by_others(Ipv4 address, const MacAddress& mac) const;
    void change(std::vector<ElementChange>& changes, ElementChange::Action action, std::string_view set,
                const std::vector<std::uint8_t>& key) const;
    void move_pin(std::vector<ElementChange>& changes, const MacAddress& mac, const std::string& from,
                  const std::string& to) const;
    void count_pin(const MacAddress& mac, const std::string& from, const std::string& to);
    Result<void> write(const std::vector<ElementChange>& changes);

    Nft& nft_;
    std::string rules_;                                              ///< as nft lists them, right after apply()
    std::optional<Policy> policy_;                                   ///< without its bindings, which are here:
    std::map<std::pair<Ipv4, MacAddress>, std::string> bindings_;    ///< to the port
    std::map<MacAddress, std::map<std::string, std::size_t>> pins_;  ///< how many bindings name this port
    std::map<Ipv4, Monotonic> admitted_;                             ///< until when
    ElementWriter writer_;
};

/// Whether all tables and chains of `policy` are in the kernel, with as many rules as they should have; for a process
/// that did not apply it itself (Live::in_force() knows more).
Result<bool> in_force(Nft& nft, const Policy& policy);

/// Whether the kernel can tell the bridge that a frame's port belongs to (Segment::match_bridge_name); loads the module
/// that it needs for that.
bool knows_bridge_names(Nft& nft);

}  // namespace vmrouter::firewall
