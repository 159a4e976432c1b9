#pragma once

// The lease table: everything that is promised to clients, indexed by address, hardware address, client-id, name and
// time of expiry; no operation but clock_changed(), set_range() and a walk over all depends on the number of leases
// (a heap's logarithm aside). What must reach the disk is collected for the journal until take_changes().

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/hardware.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dhcp {

/// A lease time that never ends, as option 51 has it.
inline constexpr Seconds infinite{0xffffffff};

enum class LeaseState : std::uint8_t {
    Offered,    ///< promised for a few seconds, kept in memory only
    Bound,      ///< acknowledged: on disk before the client hears of it
    Declined,   ///< quarantined: a client found it in use (DHCPDECLINE)
    Abandoned,  ///< quarantined: our own probe was answered
};
std::string_view to_string(LeaseState state);  ///< "offered", "bound", "declined", "abandoned"

/// What the client told us beside its identity; for `script`. Not kept across a restart.
struct Supplied {
    std::string hostname;  ///< option 12 or 81 as it came, up to 255 bytes, not sanitised
    std::string vendor_class;
    std::vector<std::string> user_classes;
    std::vector<std::uint8_t> requested_options;
    std::vector<std::string> tags;  ///< set: of its reservation
    Ipv4 relay;
    std::vector<std::uint8_t> circuit_id;     ///< option 82.1
    std::vector<std::uint8_t> remote_id;      ///< option 82.2
    std::vector<std::uint8_t> subscriber_id;  ///< option 82.6

    friend bool operator==(const Supplied&, const Supplied&) = default;
};

struct Lease {
    Ipv4 address;
    LeaseState state = LeaseState::Bound;
    HardwareAddress hardware;             ///< Declined, Abandoned: of the client that declined, of who answered
    std::vector<std::uint8_t> client_id;  ///< option 61 with its type byte; empty: none
    std::string name;                     ///< host name without domain, legal; empty: unknown
    bool name_reserved = false;           ///< the name came from a reservation, not from the client
    std::optional<Time> expires;          ///< nullopt: never
    Time last_seen{};                     ///< when a message of the client last touched it
    std::optional<Time> probed;           ///< Offered: when a probe of the address went unanswered
    int port = 0;                         ///< interface index of the bridge port it came through; 0: unknown
    std::optional<MacAddress> sender;  ///< the Ethernet source of its last message; nullopt: not known (relay, restart)
    bool supplied_missing = false;     ///< taken from a file: `supplied` is not known (DNSMASQ_DATA_MISSING), ...
    bool relay_missing = false;        ///< ... not even its relay, which our journal keeps
    Supplied supplied;

    [[nodiscard]] bool quarantined() const { return state == LeaseState::Declined || state == LeaseState::Abandoned; }
    friend bool operator==(const Lease&, const Lease&) = default;
};

/// Why a lease changed; decides what the script hears and what the log says.
enum class Cause : std::uint8_t {
    Offer,        ///< none -> Offered, or an offer refreshed
    Bind,         ///< a new lease
    Renew,        ///< the same client, address; a new expiry
    Reboot,       ///< the same, asked for by a client that begins anew (INIT-REBOOT, SELECTING)
    Rename,       ///< only the name changed
    Move,         ///< removed because its client took another address, or a reservation took it over
    Release,      ///< removed by DHCPRELEASE
    Decline,      ///< quarantined by DHCPDECLINE
    Conflict,     ///< quarantined because a probe was answered
    Expire,       ///< removed because its time was over
    Drop,         ///< removed by the operator (`leases drop`)
    Withdraw,     ///< an offer that its client did not take
    ClockChange,  ///< expiry moved with the wall clock
};
std::string_view to_string(Cause cause);

/// The new state of one address, as a decision asks for it.
struct LeaseChange {
    Cause cause = Cause::Offer;
    Ipv4 address;
    std::optional<Lease> lease;  ///< nullopt: there is none any more; otherwise lease->address == address

    friend bool operator==(const LeaseChange&, const LeaseChange&) = default;
};

/// Whose leases a client-id finds.
enum class IdScope : std::uint8_t {
    Everybody,        ///< of every client that sent it
    WithoutHardware,  ///< only of those that have no hardware address, for which it is all there is
};

/// A change that was applied.
struct AppliedChange {
    Cause cause = Cause::Offer;
    Ipv4 address;
    std::optional<Lease> before;
    std::optional<Lease> after;
    std::uint64_t version = 0;         ///< of the address after the change; see LeaseTable::roll_back
    std::uint64_t before_version = 0;  ///< and before it

    /// A Bound lease or a quarantine came, changed or went: the journal must know. Offers stay in memory.
    [[nodiscard]] bool durable() const;
};

/// An inclusive range of addresses.
struct Range {
    Ipv4 first;
    Ipv4 last;

    [[nodiscard]] bool contains(Ipv4 address) const { return first <= address && address <= last; }
    [[nodiscard]] std::uint64_t size() const { return last < first ? 0 : std::uint64_t{last.value} - first.value + 1; }
    friend bool operator==(const Range&, const Range&) = default;
};

class LeaseTable {
public:
    /// `seed` (random) keeps guests from choosing hash collisions. `limit` bounds all entries together; the usual
    /// choice is the size of the range and as many reservations.
    explicit LeaseTable(Range range, std::size_t limit = 65536, std::uint64_t seed = 0);
    ~LeaseTable();
    LeaseTable(LeaseTable&&) noexcept;
    LeaseTable& operator=(LeaseTable&&) noexcept;

    /// The range whose free addresses next_free() walks, and the new limit; leases outside it stay. Cost: the number of
    /// leases.
    void set_range(Range range, std::size_t limit);
    [[nodiscard]] Range range() const;

    /// The entry of an address, in any state. Pointers are valid until the table changes.
    [[nodiscard]] const Lease* find(Ipv4 address) const;
    /// Bound leases and offers (never quarantines) of a client, Bound first, then by age, newest first; at most `count`
    /// are visited.
    [[nodiscard]] std::vector<const Lease*> by_hardware(const HardwareAddress& hardware, std::size_t count = 16) const;
    [[nodiscard]] std::vector<const Lease*> by_client_id(Bytes client_id, IdScope scope, std::size_t count = 16) const;
    /// The Bound lease that has this name, case-insensitively.
    [[nodiscard]] const Lease* by_name(std::string_view name) const;
    /// The address that a client held before its lease ended, until it is leased again: by hardware address, or by
    /// client-id when `hardware` is empty. Bounded memory, oldest forgotten first.
    [[nodiscard]] std::optional<Ipv4> previous(const HardwareAddress& hardware, Bytes client_id, IdScope scope) const;
    /// The operator dropped this client's lease of that address, and it has asked for none since.
    [[nodiscard]] bool dropped(Ipv4 address, const HardwareAddress& hardware, Bytes client_id) const;

    /// The first address at or after `from` in the range, wrapping, that has no entry and that no client held before;
    /// nullopt when there is none. Call again with the result + 1 to go on; 64 addresses a step.
    [[nodiscard]] std::optional<Ipv4> next_free(Ipv4 from) const;
    /// Of the free addresses of the range that a client held before, the one unused for longest that suits.
    [[nodiscard]] std::optional<Ipv4> formerly_used(const std::function<bool(Ipv4)>& suits) const;

    [[nodiscard]] std::size_t size() const;           ///< entries in all states
    [[nodiscard]] std::size_t bound() const;          ///< leases
    [[nodiscard]] std::size_t used_in_range() const;  ///< addresses of the range that have an entry
    [[nodiscard]] std::size_t quarantined() const;    ///< addresses that are Declined or Abandoned
    [[nodiscard]] bool full() const;                  ///< size() has reached the limit
    /// Leases, offers and DHCPDECLINEs that came through a bridge port, or from an Ethernet source. Port 0: those of
    /// which we never knew it; who came through which port before a restart is nobody's burden.
    [[nodiscard]] std::size_t held_by_port(int port) const;
    [[nodiscard]] std::size_t held_by_sender(const MacAddress& sender) const;

    /// Every entry, in no particular order.
    void for_each(const std::function<void(const Lease&)>& visit) const;

    /// Makes it so. False (and nothing changed) when the table is full. A Bound lease whose name another Bound lease
    /// has gets none. What is durable is kept for take_changes().
    bool apply(const LeaseChange& change);
    /// Loads a lease from disk: no change is recorded. False when the address is there already or the table is full.
    bool restore(const Lease& lease);

    /// When expire() has something to do next; nullopt: never.
    [[nodiscard]] std::optional<Time> next_expiry() const;
    /// Removes everything whose time is over (leases, offers, quarantines) and returns it.
    std::vector<Lease> expire(Time now);
    /// The wall clock was set: it showed `before` and shows `after` at the same moment. Leases keep what they had left,
    /// at most `longest`; nothing expires for it. Durable.
    void clock_changed(Time before, Time after, Seconds longest);

    /// The durable changes since the last call, oldest first.
    std::vector<AppliedChange> take_changes();
    /// Takes back changes that could not be written, newest first; an address that changed again since stays as it is.
    void roll_back(const std::vector<AppliedChange>& changes);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmrouter::dhcp
