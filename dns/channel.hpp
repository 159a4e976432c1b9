#pragma once

// The sockets under the forwarder: c-ares channels, many to an upstream, all in one epoll set.
//
// A c-ares channel keeps one UDP socket, hence one source port, as long as it has queries out. A spoofer must guess
// port and id (RFC 5452), so while there are few queries each travels in a channel of its own, on a port that the
// kernel drew for it alone. A channel costs about 80 kB; when more are out than there are channels, they share, up to
// `most_sharing` in one, and a channel that has sent `most_sent` is left to run empty, which closes its socket. What
// nobody waits for any more (the guest was told SERVFAIL, another upstream was faster) does not count as out: names
// that are never answered must not take the place of those that are.
//
// c-ares calls back from inside its own loops, from ares_send even. Those callbacks only take note; Engine tells the
// attempts about it when c-ares has returned.

#include <ares.h>

#include <asio/any_io_executor.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dns/endpoint.hpp"
#include "dns/free_list.hpp"
#include "dns/wheel.hpp"
#include "src/base/clock.hpp"
#include "src/base/random.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

class Channel;
class ChannelPool;

/// How a query that was handed to a channel ended.
enum class Ending : std::uint8_t {
    Answered,   ///< with a response to our question that carries our id; any rcode
    Refused,    ///< nobody listens there or no way leads there (ICMP, no route, interface gone)
    Broken,     ///< the answer was to be fetched over TCP, and that failed
    Silent,     ///< nothing came in `Channel::patience`
    Cancelled,  ///< the channel was destroyed
};

/// One query on the wire. Owned by the channel from send() until ended() returns.
class Attempt : public Pooled {
public:
    virtual ~Attempt() = default;
    /// Called exactly once, never from inside send(). `response` may be written to and is gone afterwards.
    virtual void ended(Ending ending, std::span<std::uint8_t> response) = 0;

    /// Nobody waits for its answer any more; how it ends is told all the same.
    void abandon();

private:
    friend class Channel;
    Channel* channel_ = nullptr;  ///< while it is on the wire
    std::uint16_t id_ = 0;
    bool abandoned_ = false;
};

/// What all channels share: the epoll set, the wheel, and the queue of endings. One per process is enough.
class Engine {
public:
    /// `random` must outlive the engine.
    Engine(asio::any_io_executor executor, Random& random);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    [[nodiscard]] Wheel& wheel() { return wheel_; }
    [[nodiscard]] Random& random() { return random_; }
    [[nodiscard]] std::size_t channels() const { return channels_; }

    /// Called after every batch of endings: the moment to send what they produced.
    std::function<void()> after_batch;

    /// Tells the attempts that have ended. Not from inside Attempt::ended.
    void settle();
    /// When the endings that are being told were collected.
    [[nodiscard]] Monotonic time() const { return time_; }

private:
    friend class Channel;
    friend class ChannelPool;
    struct Ended {
        std::unique_ptr<Attempt> attempt;
        Ending ending;
        std::size_t offset;
        std::size_t size;
    };

    void wait();
    void poll();
    void note(std::unique_ptr<Attempt> attempt, Ending ending, Bytes response);
    void watch(int fd, Channel* channel, bool readable, bool writable);

    Wheel wheel_;
    Random& random_;
    asio::steady_timer soon_;
    asio::posix::stream_descriptor epoll_;
    std::vector<Channel*> by_socket_;  ///< who owns the descriptor; events for others are stale
    std::vector<Ended> ended_;
    std::vector<std::uint8_t> responses_;  ///< of ended_, one after the other
    std::vector<Ended> batch_;             ///< what settle() is telling
    std::vector<std::uint8_t> batch_responses_;
    std::vector<std::unique_ptr<Channel>> discarded_;
    std::size_t channels_ = 0;
    Monotonic time_{};
    bool settling_ = false;
    bool settle_posted_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< for what is queued in the loop when we go
};

/// One c-ares channel for one upstream.
class Channel {
public:
    static constexpr std::chrono::milliseconds patience{5000};

    /// Null when c-ares cannot be set up (no memory).
    static std::unique_ptr<Channel> open(Engine& engine, ChannelPool& pool);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    /// `query` is a whole message; its id is replaced by a random one.
    void send(std::unique_ptr<Attempt> attempt, Bytes query);
    /// Lets c-ares read, write (-1: neither) and look at its clock.
    void process(int readable, int writable);

    [[nodiscard]] std::size_t out() const { return ids_.size(); }
    /// Of these, what somebody waits for.
    [[nodiscard]] std::size_t awaited() const { return ids_.size() - abandoned_; }

private:
    friend class Attempt;
    friend class ChannelPool;
    explicit Channel(Engine& engine, ChannelPool& pool) : engine_(engine), pool_(pool) {}

    static ares_socket_t open_socket(int domain, int type, int protocol, void* self);
    static int close_socket(ares_socket_t fd, void* self);
    static int connect_socket(ares_socket_t fd, const sockaddr* address, ares_socklen_t size, void* self);
    static ares_ssize_t receive(ares_socket_t fd, void* buffer, std::size_t size, int flags, sockaddr* from,
                                ares_socklen_t* from_size, void* self);
    static ares_ssize_t transmit(ares_socket_t fd, const iovec* parts, int count, void* self);
    static void socket_state(void* self, ares_socket_t fd, int readable, int writable);
    static void query_ended(void* attempt, int status, int timeouts, unsigned char* response, int size);

    Engine& engine_;
    ChannelPool& pool_;
    ares_channel ares_ = nullptr;
    std::vector<std::uint16_t> ids_;  ///< of the queries that are out
    std::size_t abandoned_ = 0;       ///< how many of these nobody waits for
    std::size_t sent_ = 0;            ///< since the socket was opened
    bool tcp_ = false;                ///< a TCP socket is or was open since the channel was last idle
    bool received_ = false;           ///< in this process(): one datagram was read already
    bool spoilt_ = false;             ///< c-ares has switched EDNS off in it; not to be used again
    bool shares_ = false;             ///< is in the pool's sharing_ list
};

/// The channels of one upstream.
class ChannelPool {
public:
    static constexpr std::size_t own_port_channels = 64;  ///< up to so many queries have a port each
    static constexpr std::size_t full_channels = 320;
    static constexpr std::size_t all_channels = 512;   ///< of all upstreams together,
    static constexpr std::size_t least_channels = 16;  ///< but an upstream always gets so many
    static constexpr std::size_t comfortable_sharing = 40;
    static constexpr std::size_t most_sharing = 64;  ///< as many full answers as a socket's buffer holds
    static constexpr std::size_t most_sent = 128;
    static constexpr std::size_t room = full_channels * most_sharing;  ///< queries that may be out and awaited

    /// `device`: where queries must leave (SO_BINDTODEVICE), empty: wherever the routes lead.
    ChannelPool(Engine& engine, Endpoint endpoint, std::string device);
    /// Queries that are out end as Cancelled; they are told by the engine's next settle().
    ~ChannelPool();

    /// False, and `attempt` untouched, when everything is full.
    bool send(std::unique_ptr<Attempt>& attempt, Bytes query);
    [[nodiscard]] std::size_t out() const { return out_; }
    /// More than half of what may be awaited is: what room there is belongs to questions that were never sent.
    [[nodiscard]] bool crowded() const { return out_ - abandoned_ > room / 2; }
    [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }

private:
    friend class Attempt;
    friend class Channel;
    Channel* pick();
    Channel* add();
    Channel* take_shared();
    Channel* take_abandoned();
    void share(Channel& channel);
    void after_abandon(Channel& channel);
    void after_end(Channel& channel, bool abandoned);
    void sweep();
    void discard(Channel& channel);

    Engine& engine_;
    Endpoint endpoint_;
    std::string device_;
    std::vector<std::unique_ptr<Channel>> all_;
    std::vector<Channel*> idle_;
    std::deque<Channel*> sharing_;  ///< busy, with room for more
    std::size_t out_ = 0;
    std::size_t abandoned_ = 0;  ///< of out_
    Timeout sweep_;
};

}  // namespace vmrouter::dns
