#pragma once

// Asking the resolvers that we forward to: which one, when the next, and when to stop.
//
// Each upstream has a health of its own. One that leaves a question unanswered for `patience_of_first` while nothing
// else was heard from it either is suspected: later questions prefer the others, and a probe (". NS", which every
// resolver knows) is sent. The probe's answer clears it; no answer, or an ICMP error, means down, and then it is probed
// again when questions come, at growing intervals. Only silence against the probe counts: a guest that asks for names
// whose servers are dead would otherwise talk a healthy upstream down. While nobody asks anything, nothing happens
// here.

#include <array>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/channel.hpp"
#include "dns/endpoint.hpp"
#include "dns/wheel.hpp"
#include "src/base/clock.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

class Exchange;
class Upstream;

enum class Health : std::uint8_t { Up, Suspect, Down, Loop };
std::string_view to_string(Health health);

struct UpstreamConfig {
    std::vector<Endpoint> servers;  ///< in the order of preference; at most 16 are used
    bool strict_order = true;       ///< false: the fastest first
    std::string device;             ///< queries leave by this interface or not at all; empty: by the routes
    std::vector<Ipv4> own;          ///< our addresses: a server that is one of them, port 53, would be us

    friend bool operator==(const UpstreamConfig&, const UpstreamConfig&) = default;
};

struct UpstreamStatus {
    Endpoint endpoint;
    Health health = Health::Up;
    std::chrono::milliseconds rtt{0};  ///< smoothed; 0: no answer yet
    std::uint64_t queries = 0;
    std::uint64_t answers = 0;   ///< of any kind, SERVFAIL included
    std::uint64_t failures = 0;  ///< silence for five seconds, an ICMP error, a TCP connection that failed
    std::uint64_t out = 0;       ///< waiting for an answer now
    std::optional<std::chrono::milliseconds> since_answer;  ///< how long ago anything came from it; probes count too
};

/// What an exchange came to.
struct Outcome {
    enum class Status : std::uint8_t {
        Answered,     ///< `bytes` is a response to our question, with our query's id; SERVFAIL or REFUSED only when no
                      ///< upstream had better
        NoUpstream,   ///< there is none to ask
        Unreachable,  ///< all are silent or refuse connections
        Overloaded,   ///< too much is out already
        Cancelled,    ///< torn down: the caller must return without touching anything
    };
    Status status = Status::NoUpstream;
    Bytes bytes;                     ///< until the next co_await, as `from`
    const Endpoint* from = nullptr;  ///< who answered
};

/// A group of upstreams for the same names: the default ones, or those of a route.
class Upstream {
public:
    static constexpr std::size_t most_servers = 16;
    static constexpr std::size_t longest_queue = 4096;  ///< questions that wait for a channel

    // A dead first server costs one question at most 400 ms: this, a tick of the wheel, and the second's answer.
    static constexpr std::chrono::milliseconds patience_of_first{350};
    static constexpr std::chrono::milliseconds least_patience{150};
    static constexpr std::chrono::milliseconds first_repeat{800};  ///< the only server again, when the packet was lost
    static constexpr std::chrono::milliseconds deadline{2800};     ///< silence from all; the promise is 3 s
    static constexpr std::chrono::milliseconds late_deadline{4700};  ///< when one is alive, the name is just slow
    static constexpr std::chrono::milliseconds probe_patience{1000};
    static constexpr std::chrono::seconds least_probe_interval{1};
    static constexpr std::chrono::seconds most_probe_interval{30};

    /// `engine` must outlive the group.
    Upstream(Engine& engine, UpstreamConfig config);
    /// Waiting exchanges end as Cancelled, from inside this call.
    ~Upstream();
    Upstream(const Upstream&) = delete;
    Upstream& operator=(const Upstream&) = delete;

    /// A query to be awaited: `const Outcome outcome = co_await exchange;`. `query` is a whole message that ends in our
    /// own bare OPT record (11 bytes, or has none); its id does not matter. It must live until the exchange is done.
    [[nodiscard]] Exchange exchange(Bytes query);

    /// Takes the new list; servers that stay keep what is known about them, questions that are out go on with the new
    /// ones. Not from inside a completion. True when the list differs.
    bool configure(UpstreamConfig config);
    [[nodiscard]] const UpstreamConfig& config() const { return config_; }

    [[nodiscard]] std::vector<UpstreamStatus> status() const;
    /// All that could be asked are down (or there is none): a stale answer is better than waiting.
    [[nodiscard]] bool all_down() const;
    [[nodiscard]] std::size_t out() const { return live_; }

    /// Sends each server a question that only a loop can bring back to us: see is_loop. Servers that were found to be a
    /// loop get another chance.
    void probe_for_loops();
    /// The way to the servers may be another one: those that were silent are probed now, not when their time comes;
    /// `everyone`: those that were alive as well, so that no question has to find out.
    void probe_at_once(bool everyone);
    /// True when `qname` (wire form) is such a question of ours: the server it went to is no longer asked.
    bool is_loop(Bytes qname);
    /// A cheap look before that.
    static bool looks_like_loop(Bytes qname);

    /// Told when a server's health changes.
    std::function<void(const Endpoint&, Health before, Health now)> health_changed;

private:
    friend class Exchange;
    class Server;
    class Question;
    class Probe;
    class LoopProbe;

    Server* choose(const Exchange& exchange, bool again) const;
    [[nodiscard]] std::chrono::milliseconds patience(const Exchange& exchange, const Server& server) const;
    [[nodiscard]] bool heard_since(Monotonic when) const;
    void probe_the_down(Monotonic when);
    void set_health(Server& server, Health health);
    void enqueue(Exchange& exchange);
    void pump();

    Engine& engine_;
    UpstreamConfig config_;
    std::vector<std::unique_ptr<Server>> servers_;
    Exchange* first_ = nullptr;  ///< all that wait for an answer
    std::size_t live_ = 0;
    std::deque<Exchange*> queue_;
    std::size_t queued_ = 0;  ///< in queue_ and not null
    bool pumping_ = false;
};

/// One question on its way, in the frame of the coroutine that waits for it.
class Exchange {
public:
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;
    ~Exchange();

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> waiter);
    [[nodiscard]] Outcome await_resume() const noexcept { return outcome_; }

private:
    friend class Upstream;
    Exchange(Upstream& upstream, Bytes query);

    void start();
    void ask_next(Monotonic when);
    [[nodiscard]] bool waits_for_living() const;
    void overdue();
    void out_of_time();
    void answered(Upstream::Server& server, std::span<std::uint8_t> response);
    void failed(Upstream::Server& server, Ending ending);
    void deliver_second_best();
    void finish(Outcome::Status status, std::span<std::uint8_t> bytes = {}, const Endpoint* from = nullptr);
    void detach();

    Upstream& upstream_;
    Bytes query_;
    std::coroutine_handle<> waiter_;
    Outcome outcome_;
    Exchange* next_ = nullptr;
    Exchange* previous_ = nullptr;
    Upstream::Question* questions_ = nullptr;  ///< on the wire for us
    Upstream::Server* last_ = nullptr;         ///< asked most recently
    Monotonic begun_{};
    Monotonic last_asked_{};
    Timeout overdue_;
    Timeout deadline_;
    std::vector<std::uint8_t> second_best_;  ///< an answer that says failure or is broken, kept while others are asked
    Endpoint second_best_from_;
    std::uint32_t asked_ = 0;    ///< servers by number, in this round
    std::uint32_t refused_ = 0;  ///< servers that cannot be reached
    std::uint8_t sent_ = 0;
    bool extended_ = false;
    bool linked_ = false;
    bool queued_ = false;
    bool done_ = false;
};

}  // namespace vmrouter::dns
