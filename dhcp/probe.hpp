#pragma once

// Is somebody using this address? Asked before a never-seen address is offered, for any number of addresses at once:
// a question, 100 ms of listening, and one timer for all of them, because the first to be asked is the first to be due.
// While an address is on offer its ARP is still listened to, so that a host that answers late is found out.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "dhcp/arp.hpp"
#include "dhcp/packet_socket.hpp"
#include "dhcp/signal.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/random.hpp"

namespace vmrouter::dhcp {

struct ProbeEvent {
    enum class Kind : std::uint8_t {
        Silent,    ///< nobody answered in time
        Answered,  ///< somebody did, before that
        Late,      ///< somebody uses an address that is only watched
    };
    Kind kind = Kind::Silent;
    Ipv4 address;
    std::optional<MacAddress> by;  ///< nullopt: not known (an answer through a relay)

    friend bool operator==(const ProbeEvent&, const ProbeEvent&) = default;
};

class Prober {
public:
    static constexpr Milliseconds usual_patience{100};
    static constexpr std::size_t most =
        1024;  ///< probes at once; a guest that causes more is not served until some end

    /// `arp` is open_probe_socket()'s; without one every probe ends silent. `random` outlives the prober. An answer
    /// counts that arrives within `patience` of the question.
    Prober(const asio::any_io_executor& executor, FileDescriptor arp, const MacAddress& ours, Random& random,
           Milliseconds patience = usual_patience);

    /// Asks on the segment. `client` is who wants the address: when it has it already, that is no conflict. False: too
    /// many probes run. A probe of the same address goes on as it is.
    bool start(Ipv4 address, std::optional<MacAddress> client);
    /// Asks through a relay; returns the frame to send with the packet socket. Empty: as false above.
    std::vector<std::uint8_t> start_through(const MacAddress& relay, Ipv4 ours, Ipv4 address);
    /// An ICMP echo reply from the packet socket.
    void on_echo_reply(Bytes frame);

    /// Reports one use of the address by anybody but `client`, until unwatch().
    void watch(Ipv4 address, std::optional<MacAddress> client);
    void unwatch(Ipv4 address);

    /// What happened, after waiting for it. Empty after close().
    asio::awaitable<std::vector<ProbeEvent>> events();

    void replace_socket(FileDescriptor arp, const MacAddress& ours);
    void close();

private:
    struct Running {
        Signal::TimePoint deadline;
        std::optional<MacAddress> client;
        std::uint64_t cookie = 0;  ///< of an ICMP probe
    };
    struct Due {
        Ipv4 address;
        Signal::TimePoint deadline;
    };

    bool add(Ipv4 address, Running running);
    void report(ProbeEvent event);
    void collect_silent();
    void listen();
    bool read_arp();
    void on_arp(const ArpPacket& packet);
    void adjust_hearing();

    asio::posix::stream_descriptor arp_;
    MacAddress ours_;
    Random& random_;
    Milliseconds patience_;
    FrameBatch batch_;
    Signal signal_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< for handlers that outlive us
    bool deaf_ = false;
    bool closed_ = false;
    std::unordered_map<Ipv4, Running> running_;
    std::deque<Due> due_;  ///< in order of their deadlines; those that ended early are still in it
    std::unordered_map<Ipv4, std::optional<MacAddress>> watched_;  ///< address to client
    std::vector<ProbeEvent> events_;
};

}  // namespace vmrouter::dhcp
