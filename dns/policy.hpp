#pragma once

// What a guest may ask, how much of it at once, and what of an upstream's response may reach it. Pure.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "dns/prefix_set.hpp"
#include "dns/response.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"
#include "src/base/rate.hpp"

namespace vmrouter::dns {

/// Limits that keep one guest's appetite from the others.
struct AdmissionLimits {
    double queries_per_second = 200000;  ///< per guest, on average; above it queries are dropped (a guest repeats them)
    double burst = 200000;
    double crowded_per_second = 2000;  ///< per guest, while one asks more than we can even receive
    double crowded_burst = 2000;
    std::chrono::seconds crowded_time{10};  ///< how long that lasts after the last loss
    std::size_t outstanding = 15360;        ///< queries that wait for an upstream, of all guests together
    std::size_t share = 256;                ///< a guest always gets this many of them
    std::size_t guests = 4096;              ///< accounts kept; idle ones are forgotten when there are more
};

/// What one guest asked since its account was opened.
struct GuestQueries {
    Ipv4 guest;
    std::uint64_t queries = 0;    ///< that were looked at
    std::uint64_t refused = 0;    ///< dropped or answered SERVFAIL because of a limit
    std::size_t outstanding = 0;  ///< that wait for an upstream now
};

/// Accounts of queries per guest.
class Admission {
public:
    explicit Admission(AdmissionLimits limits = {}) : limits_(limits) {}

    /// Queries were lost before anyone could look at them: while several guests ask, each gets the lower rate for a
    /// while, so that the one who floods does not take the others' place in the queue.
    void lost_queries(Monotonic now);
    /// May this guest's query be looked at? Takes one from its rate.
    bool admit(Ipv4 guest, Monotonic now);
    /// May this guest have one more query outstanding upstream? A guest may hold twice as many as are still free (so
    /// one alone gets two thirds of all, two get two fifths each, and so on), and `share` in any case: what is left for
    /// those is a third of `outstanding` once more, which the upstreams have room for (ChannelPool::room). True counts
    /// it; pair with end().
    bool begin(Ipv4 guest);
    void end(Ipv4 guest);

    [[nodiscard]] std::size_t outstanding() const { return outstanding_; }
    [[nodiscard]] std::size_t outstanding(Ipv4 guest) const;
    [[nodiscard]] std::uint64_t refused() const { return refused_; }  ///< by either limit
    [[nodiscard]] std::size_t accounts() const { return accounts_.size(); }
    [[nodiscard]] std::vector<GuestQueries> guests() const;  ///< by address

private:
    struct Account {
        TokenBucket rate;
        TokenBucket crowded;
        std::uint64_t queries = 0;
        std::uint64_t refused = 0;
        std::size_t outstanding = 0;
        Monotonic last{};
    };
    Account& account(Ipv4 guest, Monotonic now);
    void forget_idle();

    AdmissionLimits limits_;
    std::unordered_map<Ipv4, Account> accounts_;
    std::size_t outstanding_ = 0;
    std::uint64_t refused_ = 0;
    Monotonic crowded_until_{};
};

enum class ResponseError {
    None,
    TooShort,      ///< no header
    NotAResponse,  ///< QR clear or another opcode
    WrongId,
    WrongQuestion,  ///< another name, type or class, or no question with a success
    Malformed,      ///< counts, names or lengths that do not fit the message
};
const char* to_string(ResponseError error);

struct ResponseRules {
    const PrefixSet* blocked = nullptr;  ///< rebinding protection; null: off
    std::uint32_t max_ttl = 604800;      ///< seconds; longer TTLs are taken and passed on as this (RFC 8767 section 4)
};

/// Is this the response to what we asked, and what of it may a guest see? Checks id, question (case ignored), and every
/// record; drops answer records outside the question's CNAME and DNAME chain; takes out A, AAAA, SVCB and HTTPS records
/// that point into blocked networks (with their signatures, and says so in answer.removed; when nothing is left the
/// answer is NODATA); takes off the OPT; works out how long it may be kept. Nothing of the additional section is ever
/// used for anything but this very answer. An error response without a question (some servers do that) is taken by its
/// id alone. Work is bounded by the size of the message. On an error `answer` is left cleared.
ResponseError check_response(const Question& question, std::uint16_t id, Bytes response, const ResponseRules& rules,
                             Answer& answer);

}  // namespace vmrouter::dns
