#pragma once

// The server's insides; only the service's own sources include this.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "dhcp/frame.hpp"
#include "dhcp/hosts_keeper.hpp"
#include "dhcp/message.hpp"
#include "dhcp/probe.hpp"
#include "dhcp/reporter.hpp"
#include "dhcp/service.hpp"
#include "dhcp/signal.hpp"
#include "dhcp/storage.hpp"
#include "dhcp/transport.hpp"

namespace vmrouter::dhcp {

/// A reply that is ready to leave.
struct Outgoing {
    std::vector<std::uint8_t> frame;
    MessageType type = MessageType::Offer;
    Ipv4 address;  ///< that it grants; 0: none
    Note note;
};

/// What waits for the disk: changes, and the replies that must not be heard of before.
struct Batch {
    std::vector<AppliedChange> changes;
    std::vector<Outgoing> replies;

    [[nodiscard]] bool empty() const { return changes.empty() && replies.empty(); }
};

/// A DISCOVER that waits for the probe of an address.
struct WaitingMessage {
    Message message;
    Context context;
    unsigned conflicts = 0;  ///< probes for it that were answered
};

struct Service::Parts {
    Parts(const asio::any_io_executor& io, ServiceSetup setup, const Clock& its_clock, Random& its_random,
          Observer& its_observer);

    // The walk of a packet (service.cpp).
    asio::awaitable<void> serve();
    void handle(const ReceivedFrame& frame);
    void drop(const ReceivedFrame& frame, std::string_view why);
    void carry_out(const Message& message, const Context& context, Decision decision, unsigned conflicts = 0);
    bool apply(const std::vector<LeaseChange>& changes);
    [[nodiscard]] bool too_much_for_disk(const Decision& decision) const;
    void probe(WaitingMessage who, const ProbeRequest& request);
    Outgoing outgoing(const Message& message, const Context& context, const Decision& decision);
    void hand_over();
    asio::awaitable<void> commit_loop();
    void refuse(Batch& batch);
    void finish(Batch& batch);
    void send(std::span<Outgoing> replies);

    // What happens beside it (service_tasks.cpp).
    void start_tasks();
    void start(asio::awaitable<void> task);
    asio::awaitable<void> probe_loop();
    asio::awaitable<void> expiry_loop();
    [[nodiscard]] Signal::TimePoint wake_up_for(Time expiry) const;
    void follow_clock();
    void hear_other_server(const Datagram& datagram, unsigned port);
    void count(MessageType type);
    void restore(const std::vector<Lease>& found);
    void tell_script_all();
    [[nodiscard]] Seconds longest_lease() const;

    asio::any_io_executor executor;
    const Clock& clock;
    Random& random;
    Observer& observer;

    ServerConfig config;
    Paths paths;
    HostsKeeper hosts;
    LeaseTable leases;
    Storage storage;
    Transport transport;
    Prober prober;
    ScriptRunner script;
    std::function<unsigned(const MacAddress&)> find_port;
    Reporter reporter;

    std::vector<Outgoing> offers;  ///< of the batch at hand: they need no disk
    Batch pending;                 ///< what the next commit takes; bounded by `most_waiting`
    std::size_t most_waiting;
    std::unordered_map<Ipv4, WaitingMessage> waiting;
    Signal commit_signal;
    Signal expiry_signal;
    Signal ended;
    Signal stopped;
    Signal::TimePoint expiry_armed = Signal::TimePoint::max();
    Time anchor_wall{};
    Monotonic anchor_elapsed{};
    bool stopping = false;
    bool serving = false;
    bool commits_done = false;
    std::size_t tasks = 0;
    Counters counters;
};

}  // namespace vmrouter::dhcp
