#pragma once

// Refused packets, read back from nflog: the kernel copies the headers only, rate-limited for each guest by the rule
// set, and delivers them in batches.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firewall/netfilter_listener.hpp"
#include "firewall/policy.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::firewall {

/// One refused packet.
struct Attempt {
    std::string reason;  ///< the counter that it fell under: "lan", "host", "spoofed", ...
    MacAddress guest;    ///< who sent it; zero where the packet has no Ethernet header
    IpAddress source;
    IpAddress destination;  ///< IPv6 only for user-mode guests
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;  ///< destination port of TCP and UDP; type of ICMP and ICMPv6

    friend auto operator<=>(const Attempt&, const Attempt&) = default;
};

/// The attempts in one message of the log; anything malformed is skipped. Pure.
std::vector<Attempt> parse_attempts(Bytes datagram);

/// How often a guest tried one destination.
struct Tally {
    Attempt attempt;  ///< `source` is the latest
    std::uint64_t count = 0;
    Time first{};
    Time last{};
};

/// Attempts by guest, destination, protocol, port and reason. Bounded for each guest and as a whole: the entry that was
/// silent the longest makes room, first among the guest's own, so that one that scans does not push the others out.
class Tallies {
public:
    explicit Tallies(std::size_t limit = 4096, std::size_t guest_limit = 256)
        : limit_(limit), guest_limit_(guest_limit) {}

    /// Whether this is the first attempt of its kind (which is worth a log line).
    bool add(const Attempt& attempt, Time now);
    /// The most recent first.
    [[nodiscard]] std::vector<Tally> list() const;
    [[nodiscard]] std::uint64_t total() const { return total_; }

private:
    std::size_t limit_;
    std::size_t guest_limit_;
    std::uint64_t total_ = 0;
    std::vector<Tally> tallies_;  ///< sorted by attempt, without its source
};

/// Told of every attempt, in order; implemented by the roof.
class AttemptObserver {
public:
    virtual ~AttemptObserver() = default;
    virtual void blocked(const Attempt& attempt) = 0;
    /// The kernel had to throw messages away.
    virtual void overrun() = 0;
};

/// A netlink socket bound to the nflog group; privileged. Fails when another process reads the group.
Result<FileDescriptor> open_blocked_log(std::uint16_t group);

/// Reads the log until the descriptor fails or the io_context stops.
class BlockedLog {
public:
    BlockedLog(asio::io_context& io, FileDescriptor socket, AttemptObserver& observer);
    asio::awaitable<void> run();
    void close();

private:
    NetfilterListener listener_;
    AttemptObserver& observer_;
};

}  // namespace vmrouter::firewall
