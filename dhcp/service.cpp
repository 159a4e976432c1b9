#include "dhcp/service.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/co_spawn.hpp>
#include <chrono>
#include <exception>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "dhcp/file_watcher.hpp"
#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "dhcp/probe.hpp"
#include "dhcp/reply.hpp"
#include "dhcp/signal.hpp"
#include "dhcp/transport.hpp"
#include "src/base/log.hpp"
#include "src/base/rate.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr log::Logger logger{"dhcp"};

/// The wall clock may be slewed, and read a moment apart from the steady one; this far apart, it was set.
constexpr Seconds clock_jump{10};
constexpr std::size_t hosts_problems_logged = 50;

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
};

/// Lines that guests can provoke: so many a second, and then how many there were.
class LineLimit {
public:
    LineLimit(double per_second, double burst) : bucket_(per_second, burst) {}
    bool allows(Monotonic now) {
        if (!bucket_.take(now)) {
            ++suppressed_;
            return false;
        }
        if (suppressed_ > 0) logger.info("{} lines like the next were left out", std::exchange(suppressed_, 0));
        return true;
    }

private:
    TokenBucket bucket_;
    std::size_t suppressed_ = 0;
};

bool is_icmp(Bytes frame) {
    return frame.size() > 23 && frame[23] == 1;
}

bool grants(const Outgoing& reply) {
    return !reply.address.is_unspecified() && (reply.type == MessageType::Ack || reply.type == MessageType::Bootp);
}

std::optional<MacAddress> client_mac(const std::optional<Lease>& lease) {
    return lease ? lease->hardware.mac() : std::nullopt;
}

}  // namespace

struct Service::Parts {
    Parts(const asio::any_io_executor& io, ServiceSetup setup, const Clock& its_clock, Random& its_random,
          Observer& its_observer);

    // The walk of a packet.
    asio::awaitable<void> serve();
    void handle(const ReceivedFrame& frame);
    void carry_out(const Message& message, const Context& context, Decision decision);
    bool apply(const std::vector<LeaseChange>& changes);
    void probe(const Message& message, const Context& context, const ProbeRequest& request);
    Outgoing outgoing(const Message& message, const Context& context, const Decision& decision) const;
    void hand_over();
    asio::awaitable<void> commit_loop();
    void refuse(Batch& batch);
    void finish(Batch& batch);
    void send(std::span<Outgoing> replies);

    // What happens beside it.
    asio::awaitable<void> probe_loop();
    asio::awaitable<void> expiry_loop();
    asio::awaitable<void> hosts_loop();
    void follow_clock();
    void hear_other_server(const Datagram& datagram, unsigned port);

    void count(MessageType type);
    void note(const Note& line);
    void warn(const Warning& warning);
    void load();
    void restore(const std::vector<Lease>& found);
    void reload_hosts();
    void build_reservations(std::vector<Error> problems);
    Result<void> append_reservation(const HostEntry& entry);
    void tell_script_all();
    [[nodiscard]] Seconds longest_lease() const;
    void start(asio::awaitable<void> task);

    asio::any_io_executor executor;
    const Clock& clock;
    Random& random;
    Observer& observer;

    ServerConfig config;
    std::vector<HostEntry> configured_hosts;
    std::vector<HostEntry> file_hosts;
    Reservations reservations;
    std::size_t hosts_problems = 0;
    Paths paths;

    LeaseTable leases;
    Storage storage;
    Transport transport;
    Prober prober;
    ScriptRunner script;
    FileWatcher hosts_watcher;

    std::vector<Outgoing> offers;  ///< of the batch at hand: they need no disk
    Batch pending;                 ///< what the next commit takes
    std::unordered_map<Ipv4, WaitingMessage> waiting;
    Signal commit_signal;
    Signal expiry_signal;
    Signal ended;
    Signal stopped;
    Signal::TimePoint expiry_armed = Signal::TimePoint::max();
    Time anchor_wall{};
    Monotonic anchor_steady{};
    bool stopping = false;
    bool serving = false;
    bool commits_done = false;
    std::size_t tasks = 0;
    Counters counters;

    LineLimit note_limit{20, 200};
    std::array<LineLimit, 12> warning_limits{{{0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5},
                                              {0.2, 5}}};
    LineLimit server_limit{0.1, 5};
    LineLimit trouble_limit{0.1, 5};
};

Service::Parts::Parts(const asio::any_io_executor& io, ServiceSetup setup, const Clock& its_clock, Random& its_random,
                      Observer& its_observer)
    : executor(io),
      clock(its_clock),
      random(its_random),
      observer(its_observer),
      config(std::move(setup.config)),
      configured_hosts(std::move(setup.hosts)),
      paths(setup.paths),
      leases(config.range, static_cast<std::size_t>(config.range.size()) + 4096, its_random.u64()),
      storage(io, setup.paths, leases),
      transport(io, Sockets{setup.sockets.ifindex,
                            setup.sockets.interface,
                            setup.sockets.mac,
                            std::move(setup.sockets.packet),
                            {},
                            std::move(setup.sockets.udp)}),
      prober(io, std::move(setup.sockets.arp), setup.sockets.mac, its_random),
      script(io, std::move(setup.run_program), its_clock),
      hosts_watcher(io, setup.paths.hosts.empty() ? "/dev/null" : setup.paths.hosts),
      commit_signal(io),
      expiry_signal(io),
      ended(io),
      stopped(io),
      anchor_wall(its_clock.now()),
      anchor_steady(its_clock.monotonic()) {
    script.configure(std::move(setup.script), config.interface, config.domain);
}

// ---------------------------------------------------------------------------------------------------------------------
// The walk of a packet.

asio::awaitable<void> Service::Parts::serve() {
    while (!stopping) {
        const auto frames = co_await transport.receive();  // all that wait, one system call
        if (frames.empty()) {
            const Error error = transport.take_error();
            if (!stopping && !error.what.empty()) observer.interface_failed(error);
            continue;
        }
        follow_clock();
        for (const ReceivedFrame& frame : frames) handle(frame);
        hand_over();
    }
}

void Service::Parts::handle(const ReceivedFrame& frame) {
    if (is_icmp(frame.bytes)) return prober.on_echo_reply(frame.bytes);
    const auto datagram =
        parse_frame(frame.bytes, frame.checksum_done ? ChecksumState::Verify : ChecksumState::NotReady);
    if (!datagram) {
        ++counters.malformed;
        return logger.debug("dropped a frame: {}", to_string(datagram.error()));
    }
    if (datagram->destination_port == client_port) return hear_other_server(*datagram, frame.port);
    // What guests send to servers elsewhere passes through us as a router; it is not for us.
    const bool ours = datagram->destination == config.address.address;
    if (!ours && !datagram->destination.is_broadcast() && datagram->destination != config.address.last()) return;

    const auto message = parse(datagram->payload);
    if (!message) {
        ++counters.malformed;
        return logger.debug("dropped a message from {}: {}", to_string(datagram->ethernet_source),
                            to_string(message.error()));
    }
    ++counters.received;
    count(message->type());
    Context context;
    context.ethernet_source = datagram->ethernet_source;
    context.broadcast = !ours;
    context.source = datagram->source;
    context.destination = datagram->destination;
    context.source_port = datagram->source_port;
    context.port = static_cast<int>(frame.port);
    context.storage_ok = storage.ok();
    Decision decision = decide(leases, config, reservations, *message, context, clock.now());
    carry_out(*message, context, std::move(decision));
}

void Service::Parts::carry_out(const Message& message, const Context& context, Decision decision) {
    for (const auto& warning : decision.warnings) warn(warning);
    if (!apply(decision.changes)) {
        ++counters.silent;
        if (trouble_limit.allows(clock.monotonic())) logger.warn("the lease table is full; a client was not answered");
        return;
    }
    if (decision.probe) return probe(message, context, *decision.probe);
    if (!decision.reply) {
        ++counters.silent;
        return note(decision.note);
    }
    Outgoing reply = outgoing(message, context, decision);
    if (reply.type == MessageType::Offer) {
        note(reply.note);
        offers.push_back(std::move(reply));
    } else {
        pending.replies.push_back(std::move(reply));  // its line follows when it leaves
    }
}

/// False when the table refused: then nothing was promised that the reply could rest on.
bool Service::Parts::apply(const std::vector<LeaseChange>& changes) {
    for (const auto& change : changes) {
        if (!leases.apply(change)) return false;
        if (change.lease && change.lease->state == LeaseState::Offered)
            prober.watch(change.address, client_mac(change.lease));
        else
            prober.unwatch(change.address);
    }
    return true;
}

void Service::Parts::probe(const Message& message, const Context& context, const ProbeRequest& request) {
    ++counters.probes;
    bool running = false;
    if (!request.through_relay) {
        running = prober.start(request.address, message.chaddr.mac());
    } else if (context.ethernet_source) {
        const auto frame = prober.start_through(*context.ethernet_source, config.address.address, request.address);
        running = !frame.empty();
        const Bytes bytes(frame);
        int failed = 0;
        if (running) transport.send({&bytes, 1}, failed);
    }
    if (running)
        waiting.insert_or_assign(request.address, WaitingMessage{message, context});
    else if (trouble_limit.allows(clock.monotonic()))
        logger.warn("too many addresses are being probed; a client was not answered");
}

Outgoing Service::Parts::outgoing(const Message& message, const Context& context, const Decision& decision) const {
    const Reply& reply = *decision.reply;
    const Message answer = make_reply(config, message, reply);
    const Serialized payload = serialize(answer, room(config, message));
    const Destination to = destination(message, context, reply);
    // Whoever is not on the segment is reached the way the request came.
    const MacAddress mac = to.mac ? *to.mac : context.ethernet_source.value_or(MacAddress::broadcast());
    Outgoing result;
    result.frame = build_frame(transport.sockets().mac, mac, config.address.address, server_port, to.address, to.port,
                               payload.bytes);
    result.type = reply.type;
    result.address = reply.inform ? Ipv4{} : reply.address;
    result.note = decision.note;
    return result;
}

/// Ends a batch: offers leave at once, everything else when it is on disk.
void Service::Parts::hand_over() {
    for (auto& change : leases.take_changes()) pending.changes.push_back(std::move(change));
    if (!offers.empty()) send(offers);
    offers.clear();
    if (!pending.empty()) commit_signal.notify();

    const auto next = leases.next_expiry();
    if (!next) return;
    const auto due = std::chrono::steady_clock::now() + (*next - clock.now());
    if (due + Milliseconds{50} < expiry_armed) expiry_signal.notify();
}

/// While one batch is being written the next one gathers: the disk's speed decides how large they are.
asio::awaitable<void> Service::Parts::commit_loop() {
    for (;;) {
        if (pending.empty()) {
            if (stopping) break;
            co_await commit_signal.wait();
            continue;
        }
        Batch batch = std::exchange(pending, {});
        const auto saved = co_await storage.commit(batch.changes);  // RFC 2131 section 3.1: before any ACK
        if (saved)
            ++counters.commits;
        else
            refuse(batch);
        finish(batch);
    }
    commits_done = true;
    ended.notify();
}

/// Takes back what was granted anew and could not be written, in this batch and in what followed it, and drops those
/// replies: the clients ask again. Renewals of leases that are on disk stand, and so do releases, declines and the
/// like: should the machine crash before the disk works again, that costs nobody an address that was promised.
void Service::Parts::refuse(Batch& batch) {
    ++counters.failed_commits;
    for (auto& change : leases.take_changes()) pending.changes.push_back(std::move(change));
    std::unordered_set<Ipv4> granted;
    for (const auto* changes : {&batch.changes, &pending.changes})
        for (const auto& change : *changes)
            if (change.cause == Cause::Bind || change.cause == Cause::Move) granted.insert(change.address);

    std::vector<AppliedChange> undone;
    for (auto* changes : {&batch.changes, &pending.changes}) {
        for (const auto& change : *changes)
            if (granted.contains(change.address)) undone.push_back(change);
        std::erase_if(*changes, [&](const AppliedChange& change) { return granted.contains(change.address); });
    }
    leases.roll_back(undone);
    leases.take_changes();  // the way back is not news for a journal that never heard of the way there

    for (auto* replies : {&batch.replies, &pending.replies}) {
        std::erase_if(*replies, [&](const Outgoing& reply) {
            const bool refused = grants(reply) && granted.contains(reply.address);
            if (refused && trouble_limit.allows(clock.monotonic()))
                logger.error("REFUSED {} to {}: it cannot be written: {}", to_string(reply.address),
                             to_string(reply.note.client), storage.error().what);
            return refused;
        });
    }
}

void Service::Parts::finish(Batch& batch) {
    if (!batch.changes.empty()) {
        storage.show(batch.changes);
        observer.leases_changed(batch.changes);
        script.add(batch.changes);
    }
    for (const auto& reply : batch.replies) note(reply.note);
    send(batch.replies);
}

void Service::Parts::send(std::span<Outgoing> replies) {
    if (replies.empty()) return;
    std::vector<Bytes> frames;
    for (const auto& reply : replies) frames.emplace_back(reply.frame);
    int failed = 0;
    const std::size_t sent = transport.send(frames, failed);
    for (const auto& reply : replies.first(sent)) {
        if (reply.type == MessageType::Offer) ++counters.offers;
        if (reply.type == MessageType::Ack) ++counters.acks;
        if (reply.type == MessageType::Nak) ++counters.naks;
    }
    if (sent == replies.size()) return;
    counters.unsent += replies.size() - sent;
    if (trouble_limit.allows(clock.monotonic()))
        logger.warn("{}", to_string(system_error("cannot send a DHCP reply", failed, config.interface)));
}

// ---------------------------------------------------------------------------------------------------------------------
// Beside the walk.

asio::awaitable<void> Service::Parts::probe_loop() {
    while (!stopping) {
        const auto events = co_await prober.events();
        follow_clock();
        for (const ProbeEvent& event : events) {
            if (event.kind != ProbeEvent::Kind::Silent) ++counters.conflicts;
            if (event.kind == ProbeEvent::Kind::Late) {
                const Decision decision = late_answer(leases, config, event.address, *event.by, clock.now());
                for (const auto& warning : decision.warnings) warn(warning);
                apply(decision.changes);
                note(decision.note);
                continue;
            }
            auto asked = waiting.extract(event.address);
            if (asked.empty()) continue;
            WaitingMessage& who = asked.mapped();
            who.context.storage_ok = storage.ok();
            const ProbeResult result{event.address, event.kind == ProbeEvent::Kind::Answered, event.by};
            Decision decision =
                after_probe(leases, config, reservations, who.message, who.context, result, clock.now());
            carry_out(who.message, who.context, std::move(decision));
        }
        hand_over();
    }
}

asio::awaitable<void> Service::Parts::expiry_loop() {
    while (!stopping) {
        follow_clock();
        for (const Lease& lease : leases.expire(clock.now())) {
            prober.unwatch(lease.address);
            if (lease.state == LeaseState::Bound && note_limit.allows(clock.monotonic()))
                logger.info("EXPIRE {} of {}{}", to_string(lease.address), to_string(lease.hardware),
                            lease.name.empty() ? "" : " (" + lease.name + ")");
        }
        const auto next = leases.next_expiry();
        expiry_armed = Signal::TimePoint::max();
        if (next) expiry_armed = std::chrono::steady_clock::now() + (*next - clock.now()) + Milliseconds{1};
        hand_over();
        co_await expiry_signal.wait_until(expiry_armed);
    }
}

/// Leases end by the wall clock, because their file outlives us and the machine. When that clock is set while we run (a
/// board without a battery hears from NTP, a machine wakes up), what clients were promised was a duration: every lease
/// keeps the time it had left.
void Service::Parts::follow_clock() {
    const Time wall = clock.now();
    const Monotonic steady = clock.monotonic();
    const Time expected = anchor_wall + std::chrono::duration_cast<Milliseconds>(steady - anchor_steady);
    const auto jump = wall - expected;
    if (std::chrono::abs(jump) < clock_jump) return;
    anchor_wall = wall;
    anchor_steady = steady;
    logger.warn("the clock was set {} by {}; leases keep the time they had left",
                jump > Milliseconds{0} ? "forward" : "back",
                vmrouter::to_string(std::chrono::round<Seconds>(std::chrono::abs(jump))));
    leases.clock_changed(expected, wall, longest_lease());
    expiry_signal.notify();
}

Seconds Service::Parts::longest_lease() const {
    Seconds longest = config.lease_time;
    for (const auto& entry : reservations.entries()) longest = std::max(longest, entry.lease_time.value_or(longest));
    return longest;
}

void Service::Parts::hear_other_server(const Datagram& datagram, unsigned port) {
    const auto message = parse(datagram.payload);
    if (!message || message->op != Message::reply || datagram.ethernet_source == transport.sockets().mac) return;
    ++counters.other_servers;
    const MessageType type = message->type();
    if (type != MessageType::Offer && type != MessageType::Ack && type != MessageType::Nak) return;
    if (!server_limit.allows(clock.monotonic())) return;
    const OtherServer other{datagram.ethernet_source, message->server_identifier().value_or(datagram.source),
                            message->yiaddr, port};
    logger.warn("another DHCP server answers on {}: {} at {} sent {} {}", config.interface, to_string(other.server),
                to_string(other.mac), to_string(type), to_string(other.offers));
    observer.server_seen(other);
}

void Service::Parts::count(MessageType type) {
    switch (type) {
        case MessageType::Discover:
            ++counters.discovers;
            break;
        case MessageType::Request:
            ++counters.requests;
            break;
        case MessageType::Decline:
            ++counters.declines;
            break;
        case MessageType::Release:
            ++counters.releases;
            break;
        case MessageType::Inform:
            ++counters.informs;
            break;
        case MessageType::Bootp:
        case MessageType::Offer:
        case MessageType::Ack:
        case MessageType::Nak:
        case MessageType::Unknown:
            break;
    }
}

void Service::Parts::note(const Note& line) {
    if (line.verb.empty()) return;
    observer.noted(line);
    if (line.level == Level::Debug) {
        if (log::enabled(log::Level::Debug)) logger.debug("{}", line.line());
        return;
    }
    if (!log::enabled(log::Level::Info) || !note_limit.allows(clock.monotonic())) return;
    if (line.level == Level::Info)
        logger.info("{}", line.line());
    else
        logger.warn("{}", line.line());
}

void Service::Parts::warn(const Warning& warning) {
    const auto kind = std::min(static_cast<std::size_t>(warning.kind), warning_limits.size() - 1);
    if (warning_limits[kind].allows(clock.monotonic())) logger.warn("{}", warning.text);
}

// ---------------------------------------------------------------------------------------------------------------------
// Files.

void Service::Parts::load() {
    reload_hosts();
    restore(load_leases(paths));
    tell_script_all();
}

void Service::Parts::restore(const std::vector<Lease>& found) {
    std::size_t elsewhere = 0;
    std::size_t refused = 0;
    for (const Lease& lease : found) {
        if (!config.address.contains(lease.address))
            ++elsewhere;
        else if (!leases.restore(lease))
            ++refused;
    }
    const std::size_t ended_meanwhile = leases.expire(clock.now()).size();
    leases.take_changes();  // the first thing that is written is a complete journal
    for (const Lease& lease : found)
        if (const Lease* held = leases.find(lease.address)) storage.show(*held);
    if (!found.empty()) logger.info("LEASES {} valid, {} ended meanwhile", leases.bound(), ended_meanwhile);
    if (elsewhere > 0)
        logger.warn("{} leases are outside {} and were left out", elsewhere, to_string(config.address.network()));
    if (refused > 0) logger.warn("{} leases do not fit into the table and were left out", refused);
}

void Service::Parts::tell_script_all() {
    leases.for_each([&](const Lease& lease) {
        if (lease.state == LeaseState::Bound) script.add({ScriptAction::Old, lease, {}});
    });
}

asio::awaitable<void> Service::Parts::hosts_loop() {
    if (paths.hosts.empty()) co_return;
    while (!stopping) {
        const bool changed = co_await hosts_watcher.changed();
        if (!changed) co_return;
        reload_hosts();
    }
}

void Service::Parts::reload_hosts() {
    std::vector<Error> problems;
    struct stat status {};
    if (paths.hosts.empty() || (stat(paths.hosts.c_str(), &status) != 0 && errno == ENOENT)) {
        file_hosts.clear();
    } else if (status.st_mode != 0 && !S_ISREG(status.st_mode)) {
        problems.push_back({"not a regular file", paths.hosts, "dhcp.hosts_file must name a file"});
    } else if (const auto text = read_file(paths.hosts)) {
        HostsFile parsed = parse_hosts_file(*text, paths.hosts);
        file_hosts = std::move(parsed.entries);
        problems = std::move(parsed.problems);
    } else {
        problems.push_back(text.error());
        problems.back().hint = "the reservations that were read before stay";
    }
    build_reservations(std::move(problems));
}

void Service::Parts::build_reservations(std::vector<Error> problems) {
    const std::size_t before = reservations.entries().size();
    reservations = Reservations::build(configured_hosts, file_hosts, config.address, config.interface, problems);
    hosts_problems = problems.size();
    for (std::size_t i = 0; i < std::min(problems.size(), hosts_problems_logged); ++i)
        logger.error("{}", to_string(problems[i]));
    if (problems.size() > hosts_problems_logged)
        logger.error("{} more lines of {} were skipped", problems.size() - hosts_problems_logged, paths.hosts);
    const std::size_t after = reservations.entries().size();
    if (before != after) logger.info("{} reservation{}", after, after == 1 ? "" : "s");
}

Result<void> Service::Parts::append_reservation(const HostEntry& entry) {
    if (paths.hosts.empty()) return Failure{Error{"there is no hosts file to write to", {}, "set dhcp.hosts_file"}};
    const auto content = read_own_file(paths.hosts);
    if (!content) return Failure{content.error()};
    std::string line = to_line(entry) + '\n';
    if (*content && !(*content)->empty() && (*content)->back() != '\n') line.insert(line.begin(), '\n');

    const FileDescriptor file(
        open(paths.hosts.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644));
    if (!file) return Failure{system_error("cannot open the hosts file", errno, paths.hosts)};
    int failed = write_all(file.get(), line);
    if (failed == 0 && fdatasync(file.get()) != 0) failed = errno;
    if (failed != 0) return Failure{system_error("cannot write the hosts file", failed, paths.hosts)};
    return {};
}

// ---------------------------------------------------------------------------------------------------------------------
// What the roof calls.

Service::Service(const asio::any_io_executor& executor, ServiceSetup setup, const Clock& clock, Random& random,
                 Observer& observer)
    : parts_(std::make_unique<Parts>(executor, std::move(setup), clock, random, observer)) {}
Service::~Service() = default;

void Service::load() {
    parts_->load();
}

void Service::Parts::start(asio::awaitable<void> task) {
    ++tasks;
    // A coroutine that dies of a bug must not die in silence: the exception leaves the event loop.
    asio::co_spawn(executor, std::move(task), [this](std::exception_ptr error) {
        --tasks;
        ended.notify();
        if (error) std::rethrow_exception(error);
    });
}

asio::awaitable<void> Service::run() {
    Parts& parts = *parts_;
    parts.serving = true;
    parts.start(parts.storage.maintain());
    parts.start(parts.commit_loop());
    parts.start(parts.expiry_loop());
    parts.start(parts.probe_loop());
    parts.start(parts.hosts_loop());
    parts.start(parts.script.run());
    co_await parts.serve();
    while (!parts.commits_done) co_await parts.ended.wait();
    parts.storage.close();
    while (parts.tasks > 0) co_await parts.ended.wait();
    parts.serving = false;
    parts.stopped.notify();
}

asio::awaitable<void> Service::stop() {
    Parts& parts = *parts_;
    parts.stopping = true;
    parts.transport.close();
    parts.prober.close();
    parts.hosts_watcher.close();
    parts.script.close();
    parts.expiry_signal.notify();
    parts.commit_signal.notify();
    while (parts.serving) co_await parts.stopped.wait();
}

void Service::reconfigure(ServerConfig config, std::vector<HostEntry> hosts, std::string script) {
    Parts& parts = *parts_;
    parts.config = std::move(config);
    parts.configured_hosts = std::move(hosts);
    parts.leases.set_range(parts.config.range);
    parts.script.configure(std::move(script), parts.config.interface, parts.config.domain);
    parts.reload_hosts();
}

void Service::reload_hosts(bool tell_script) {
    parts_->reload_hosts();
    if (tell_script) parts_->tell_script_all();
}

void Service::rebind(Sockets sockets) {
    parts_->prober.rebind(std::move(sockets.arp), sockets.mac);
    parts_->transport.rebind(std::move(sockets));
}

void Service::add_port(unsigned ifindex, FileDescriptor socket) {
    parts_->transport.add_port(ifindex, std::move(socket));
}
void Service::remove_port(unsigned ifindex) {
    parts_->transport.remove_port(ifindex);
}

std::vector<Lease> Service::leases() const {
    std::vector<Lease> all;
    parts_->leases.for_each([&](const Lease& lease) {
        if (lease.state == LeaseState::Bound) all.push_back(lease);
    });
    std::sort(all.begin(), all.end(), [](const Lease& a, const Lease& b) { return a.address < b.address; });
    return all;
}

const LeaseTable& Service::table() const {
    return parts_->leases;
}
const Reservations& Service::reservations() const {
    return parts_->reservations;
}
const ServerConfig& Service::config() const {
    return parts_->config;
}
const Counters& Service::counters() const {
    return parts_->counters;
}

Health Service::health() const {
    Health health;
    health.storage_ok = parts_->storage.ok();
    if (!health.storage_ok) health.storage_error = to_string(parts_->storage.error());
    health.pool = usage(parts_->leases, parts_->config, parts_->reservations);
    health.hosts_problems = parts_->hosts_problems;
    return health;
}

Result<void> Service::drop(Ipv4 address) {
    const Lease* lease = parts_->leases.find(address);
    if (lease == nullptr)
        return Failure{Error{"nobody has the address", to_string(address), "`vmrouter leases` shows who has which"}};
    const Decision decision = drop_lease(parts_->leases, address);
    parts_->apply(decision.changes);
    parts_->note(decision.note);
    parts_->hand_over();
    return {};
}

Result<void> Service::pin(Ipv4 address) {
    const Lease* lease = parts_->leases.find(address);
    if (lease == nullptr || lease->state != LeaseState::Bound)
        return Failure{
            Error{"nobody has a lease for the address", to_string(address), "`vmrouter leases` shows who has which"}};
    if (const HostEntry* host = parts_->reservations.by_address(address))
        return Failure{Error{"the address is reserved already", host->where, {}}};
    HostEntry entry;
    entry.address = address;
    const bool by_client_id = parts_->config.identity == Identity::ClientId || lease->hardware.empty();
    if (by_client_id && !lease->client_id.empty())
        entry.client_id = lease->client_id;
    else
        entry.macs.push_back({lease->hardware, 0});
    if (parts_->reservations.by_name(lease->name) == nullptr) entry.name = lease->name;
    if (auto written = parts_->append_reservation(entry); !written) return written;
    parts_->reload_hosts();
    return {};
}

}  // namespace vmrouter::dhcp
