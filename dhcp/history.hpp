#pragma once

// What the server saw of each guest lately, and what it did about it: the answer to "why has this guest no address?".
// Memory is bounded however many guests there seem to be: those that were granted an address and all others are counted
// apart, so that made-up guests push out only one another.

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dhcp/hardware.hpp"
#include "dhcp/server.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dhcp {

/// A message of a guest and what came of it. The same thing again and again is one event with a count.
struct GuestEvent {
    Time first{};
    Time last{};
    std::uint64_t count = 1;
    MessageType message = MessageType::Unknown;  ///< what the guest sent; Unknown: it could not be read
    std::string verb;                            ///< what was answered ("OFFER", "ACK", "NAK"), or what it sent
    Silence silence = Silence::None;             ///< why there was no answer; None: there was one
    Ipv4 address;                                ///< it was about; 0: none
    int port = 0;                                ///< interface index of the bridge port; 0: not known
    std::string detail;                          ///< "for 1h", "wrong network", "names another server"; escaped

    friend bool operator==(const GuestEvent&, const GuestEvent&) = default;
};

struct GuestRecord {
    static constexpr std::size_t most_events = 8;

    HardwareAddress client;
    Time first_seen{};
    Time last_seen{};                  ///< its last message that was its own
    int port = 0;                      ///< through which that came; 0: not known
    bool granted = false;              ///< it got an address since we started
    std::vector<GuestEvent> events;    ///< oldest first, at most `most_events`
    std::optional<GuestEvent> forged;  ///< what others sent in its name: the last such message, and how many
};

class GuestHistory {
public:
    /// `guests` that were granted an address are remembered, and half as many others. `seed` (random) keeps guests from
    /// choosing hash collisions.
    explicit GuestHistory(std::size_t guests = 1024, std::uint64_t seed = 0);
    GuestHistory(const GuestHistory&) = delete;
    GuestHistory& operator=(const GuestHistory&) = delete;

    void add(const Note& note);

    /// nullptr: nothing was heard of it, or that is long ago. Valid until the next add().
    [[nodiscard]] const GuestRecord* find(const HardwareAddress& client) const;
    /// The last one that was heard first.
    [[nodiscard]] std::vector<const GuestRecord*> newest_first() const;
    [[nodiscard]] std::size_t size() const { return granted_.size() + others_.size(); }

private:
    using Records = std::list<GuestRecord>;  // newest first
    struct Hash {
        std::uint64_t seed;
        std::size_t operator()(const HardwareAddress& client) const {
            return hash_bytes(client.view(), seed + client.type);
        }
    };

    GuestRecord& record_of(const HardwareAddress& client, bool granted);
    void forget_oldest(Records& records, std::size_t limit);

    std::size_t limit_;
    Records granted_;
    Records others_;
    std::unordered_map<HardwareAddress, Records::iterator, Hash> by_client_;
};

}  // namespace vmrouter::dhcp
