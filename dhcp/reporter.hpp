#pragma once

// What the server says: log lines within the rates that guests can provoke, the observer, and each guest's history.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "dhcp/history.hpp"
#include "dhcp/observer.hpp"
#include "dhcp/server.hpp"
#include "src/base/clock.hpp"
#include "src/base/log.hpp"
#include "src/base/rate.hpp"

namespace vmrouter::dhcp {

inline constexpr log::Logger logger{"dhcp"};

/// Lines that guests can provoke: so many a second, and then how many there were.
class LineLimit {
public:
    LineLimit(double per_second, double burst) : bucket_(per_second, burst) {}
    bool allows(Monotonic now);

private:
    TokenBucket bucket_;
    std::size_t suppressed_ = 0;
};

class Reporter {
public:
    /// Both outlive the reporter.
    Reporter(const Clock& clock, Observer& observer, std::uint64_t seed);

    /// One message was dealt with.
    void note(const Note& line);
    void warn(const Warning& warning);
    /// Another server answered somebody.
    void server_seen(const OtherServer& server);
    /// May a line about a lease be written now?
    bool allows_line() { return note_limit_.allows(clock_.monotonic()); }
    /// May a line about what goes wrong again and again be written now?
    bool allows_trouble() { return trouble_limit_.allows(clock_.monotonic()); }

    [[nodiscard]] const GuestHistory& history() const { return history_; }

private:
    const Clock& clock_;
    Observer& observer_;
    GuestHistory history_;
    LineLimit note_limit_{20, 200};
    std::vector<LineLimit> warning_limits_;  ///< one for each kind
    LineLimit trouble_limit_{0.1, 5};
    LineLimit server_limit_{0.1, 5};
    std::unordered_map<MacAddress, TokenBucket> servers_;  ///< bounded
};

}  // namespace vmrouter::dhcp
