#pragma once

// The path of a query. One function reads from top to bottom: Service::serve is everything that needs no waiting, and
// runs for a whole batch of datagrams without a coroutine, an allocation or a system call of its own; Service::forward
// is the rest, a coroutine for each question that must be asked upstream, whoever and however many want to know.

#include <asio/any_io_executor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dns/blocklist.hpp"
#include "dns/cache.hpp"
#include "dns/flights.hpp"
#include "dns/local.hpp"
#include "dns/policy.hpp"
#include "dns/resolved_names.hpp"
#include "dns/task.hpp"
#include "dns/tcp.hpp"
#include "dns/transport.hpp"
#include "dns/upstream.hpp"
#include "src/base/random.hpp"

namespace vmrouter::dns {

/// Where an answer came from.
enum class Source : std::uint8_t { Local, Cache, Upstream, Stale, Error };
std::string_view to_string(Source source);

/// One query that was answered, for the log and for `monitor`.
struct QueryEvent {
    Ipv4 client;
    bool tcp = false;
    const Question& question;
    Rcode rcode = Rcode::NoError;
    Source source = Source::Local;
    Verdict verdict = Verdict::Forward;
    const Endpoint* upstream = nullptr;  ///< who answered; null: not asked
    std::chrono::microseconds took{0};   ///< since the query came; 0 when nothing was waited for
};

/// What the service tells; src/app implements it.
class Observer {
public:
    virtual ~Observer() = default;
    /// Is anybody interested in queries? Asked once a batch.
    [[nodiscard]] virtual bool wants_queries() const = 0;
    virtual void answered(const QueryEvent& event) = 0;
    virtual void upstream_changed(const Endpoint& upstream, Health before, Health now) = 0;
    /// Rebinding protection took records out of an answer; `client` is the one that asked first. At most ten a second.
    virtual void removed(Ipv4 client, const Question& question, const Answer& answer) = 0;
    /// Only with Config::hold_for_addresses: `name` was resolved to these addresses, and the guest is told once they
    /// may be reached. True: they may already. False: `then` is called when they may (or when that failed); never from
    /// inside this call, but perhaps after the service is gone.
    virtual bool resolved(const Name& name, std::span<const ResolvedAddress> addresses, std::function<void()> then) = 0;
};

/// Names under `domain` are asked at `upstreams` and nowhere else.
struct RouteConfig {
    Name domain;
    std::vector<Endpoint> upstreams;

    friend bool operator==(const RouteConfig&, const RouteConfig&) = default;
};

struct ServiceConfig {
    LocalConfig local;                ///< its segment is whom we answer; its routes are filled in from `routes`
    bool host_lookup = true;          ///< also answer the host itself (queries from our own address)
    std::vector<Endpoint> upstreams;  ///< in the order of preference
    bool strict_order = true;
    std::string uplink;               ///< queries leave by this interface or not at all; empty: by the routes
    std::vector<Ipv4> own_addresses;  ///< of all instances: never asked (a loop); the segment's is one anyway
    std::vector<RouteConfig> routes;
    bool rebind_protection = true;
    bool serve_stale = true;
    bool hold_for_addresses = false;  ///< allow_domains: answers wait for Observer::resolved
    CacheLimits cache;
    AdmissionLimits admission;
    TcpLimits tcp;
};

struct ServiceCounters {
    std::uint64_t queries = 0;  ///< received from guests, over UDP and TCP
    std::uint64_t tcp_queries = 0;
    std::uint64_t local = 0;  ///< answered here
    std::uint64_t cached = 0;
    std::uint64_t forwarded = 0;  ///< questions asked upstream
    std::uint64_t merged = 0;     ///< queries that joined a question that was out already
    std::uint64_t stale = 0;
    std::uint64_t failed = 0;         ///< answered SERVFAIL because no upstream answered
    std::uint64_t malformed = 0;      ///< answered FORMERR, NOTIMP or BADVERS, or ignored
    std::uint64_t foreign = 0;        ///< dropped: not from the segment
    std::uint64_t over_limit = 0;     ///< dropped or refused: more than a guest may ask
    std::uint64_t dropped = 0;        ///< replies that the kernel did not take
    std::uint64_t lost = 0;           ///< queries over UDP that the kernel threw away, its buffer being full
    std::uint64_t bad_responses = 0;  ///< from upstreams, not believed
    std::uint64_t rebound = 0;        ///< records taken out by rebinding protection
    std::uint64_t loops = 0;          ///< our own questions that came back
    std::uint64_t tcp_connections = 0;
    std::uint64_t tcp_refused = 0;
    std::size_t outstanding = 0;  ///< questions that are out now
    CacheStatistics cache;
    std::size_t cache_entries = 0;
    std::size_t cache_bytes = 0;
};

class Service {
public:
    /// The sockets are those of open_udp_socket and open_tcp_socket. All references must outlive the service.
    Service(asio::any_io_executor executor, FileDescriptor udp, FileDescriptor tcp, ServiceConfig config, Names& names,
            Observer& observer, Random& random, const Clock& clock = system_clock);
    ~Service();
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    void start();

    /// New sockets, after the segment's interface was made anew. Questions that are out go on: answers over UDP leave
    /// by the new socket, TCP connections end. Not from inside a callback of this service.
    void replace_sockets(FileDescriptor udp, FileDescriptor tcp);

    /// Takes a new configuration. The cache is kept, but for: everything when upstreams, device or cache limits
    /// changed; the names under a route that came, went or changed.
    void reconfigure(ServiceConfig config);
    /// New default upstreams (resolv.conf changed). When they differ everything cached is forgotten: the same name may
    /// have another answer in the new network. True when they differ.
    bool set_upstreams(std::vector<Endpoint> upstreams);
    /// The host's networks changed: negative answers are forgotten, the loop test is made again, and upstreams that
    /// were silent are probed at once.
    void network_changed();
    /// The machine slept, so the network may be another one: the same, and upstreams that were alive are probed as
    /// well.
    void woke();
    /// What rebinding protection and reverse look-ups go by. The cache is flushed when it differs.
    void set_blocked(PrefixSet blocked);
    /// The big block list; null: none.
    void set_blocklist(std::shared_ptr<const Blocklist> list);
    void flush_cache() { cache_->flush(); }

    [[nodiscard]] ServiceCounters counters() const;
    [[nodiscard]] std::vector<UpstreamStatus> upstreams() const { return default_->status(); }
    struct RouteStatus {
        Name domain;
        std::vector<UpstreamStatus> upstreams;
    };
    [[nodiscard]] std::vector<RouteStatus> routes() const;
    /// Everyone who asked lately, by address.
    [[nodiscard]] std::vector<GuestQueries> guests() const { return admission_.guests(); }
    /// The name that this guest was last told to be at this address, and how long ago; of the last few thousand.
    struct ResolvedName {
        Name name;
        std::chrono::milliseconds ago{0};
    };
    [[nodiscard]] std::optional<ResolvedName> name_for(Ipv4 guest, Ipv4 address) const;
    [[nodiscard]] const ServiceConfig& config() const { return config_; }

private:
    void receive(std::span<const UdpTransport::Datagram> datagrams);
    void serve_tcp(TcpConnection& connection, Bytes packet);
    template <class MakeClient>
    std::size_t serve(Bytes packet, Ipv4 guest, MakeClient make_client, std::span<std::uint8_t> out, bool tcp);

    [[nodiscard]] bool is_guest(Ipv4 peer) const;
    bool came_back(const Question& question);
    Upstream& group_for(const LocalDecision& decision);
    std::size_t join(const Query& query, std::uint64_t hash, Upstream& group, Client client,
                     std::span<std::uint8_t> out, std::size_t limit);
    static bool repeated(const Flight& flight, const Client& client, std::uint16_t id);
    void take_off(const Question& question, std::uint64_t hash, Upstream& group, std::optional<Waiter> waiter);
    Task forward(Flight& flight);
    void land(Flight& flight, const Outcome& outcome);
    void reply(const Flight& flight, const Waiter& waiter, bool good, const Outcome& outcome);
    bool hold(const Query& query, Bytes reply, const Client& client);
    void send_held(const Client& client, Bytes message);
    void report_removed(const Flight& flight);
    void note(Ipv4 guest, bool tcp, const Query& query, Bytes reply, Source source, Verdict verdict = Verdict::Forward,
              const Endpoint* upstream = nullptr, std::chrono::microseconds took = {});

    void build_local();
    bool configure(Upstream& group, const std::vector<Endpoint>& servers);
    void configure_upstreams();
    UpstreamConfig upstream_config(const std::vector<Endpoint>& servers) const;
    void probe_for_loops();
    void look_around(bool everywhere);
    /// Answers age while the machine sleeps.
    [[nodiscard]] Monotonic clock_now() const { return clock_.boottime(); }
    void refresh_statistics();
    void attach(FileDescriptor udp, FileDescriptor tcp);
    void flush();

    asio::any_io_executor executor_;
    const Clock& clock_;
    ServiceConfig config_;
    Names& names_;
    Observer& observer_;
    Engine engine_;
    PrefixSet blocked_;
    std::shared_ptr<const Blocklist> list_;
    std::unique_ptr<Cache> cache_;
    std::optional<Local> local_;
    Admission admission_;
    ResolvedNames resolved_;
    std::unique_ptr<Upstream> default_;
    std::vector<std::unique_ptr<Upstream>> routes_;  ///< in the order of config_.routes
    std::vector<Name> route_domains_;                ///< of routes_
    std::unique_ptr<UdpTransport> udp_;
    std::unique_ptr<TcpServer> tcp_;
    Flights flights_;
    std::vector<ServerStatistics> statistics_;
    ServiceCounters counters_;
    TokenBucket removed_rate_{10, 10};
    Answer answer_;                      ///< of the response that is being handled; its memory is used again
    std::vector<std::uint8_t> scratch_;  ///< the reply that is being written
    Monotonic now_{};                    ///< of this batch
    std::uint32_t lost_ = 0;             ///< of udp_, as of this batch
    bool watched_ = false;               ///< somebody wants to know of queries, as of this batch
    bool started_ = false;
    bool closing_ = false;
    std::shared_ptr<Service*> alive_;  ///< what held answers ask before they go on
};

}  // namespace vmrouter::dns
