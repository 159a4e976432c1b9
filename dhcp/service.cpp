#include "dhcp/service.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <unordered_set>
#include <utility>

#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "dhcp/reply.hpp"
#include "dhcp/service_parts.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::uint16_t ethernet_mtu = 1500;

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
    if (!datagram) return drop(frame, to_string(datagram.error()));
    if (datagram->destination_port == client_port) return hear_other_server(*datagram, frame.port);
    // What guests send to servers elsewhere passes through us as a router; it is not for us.
    const bool ours = datagram->destination == config.address.address;
    if (!ours && !datagram->destination.is_broadcast() && datagram->destination != config.address.last()) return;

    const auto message = parse(datagram->payload);
    if (!message) return drop(frame, to_string(message.error()));
    ++counters.received;
    count(message->type());
    Context context;
    context.ethernet_source = datagram->ethernet_source;
    context.broadcast = !ours;
    context.source = datagram->source;
    context.destination = datagram->destination;
    context.source_port = datagram->source_port;
    context.port = static_cast<int>(frame.port);
    if (frame.port == 0 && find_port) context.port = static_cast<int>(find_port(datagram->ethernet_source));
    context.storage_ok = storage.ok();
    Decision decision = decide(leases, config, hosts.reservations(), *message, context, clock.now());
    carry_out(*message, context, std::move(decision));
}

/// What cannot be read has no client but the one whose Ethernet address it came from.
void Service::Parts::drop(const ReceivedFrame& frame, std::string_view why) {
    constexpr std::size_t at_source = 6;
    ++counters.malformed;
    Note line;
    line.level = Level::Debug;
    line.verb = "DROP";
    line.silence = Silence::Unreadable;
    line.detail = why;
    line.port = static_cast<int>(frame.port);
    line.time = clock.now();
    if (frame.bytes.size() >= at_source + MacAddress{}.bytes.size())
        line.client =
            HardwareAddress(HardwareAddress::ethernet, frame.bytes.subspan(at_source, MacAddress{}.bytes.size()));
    reporter.note(line);
}

void Service::Parts::carry_out(const Message& message, const Context& context, Decision decision, unsigned conflicts) {
    for (Warning& warning : decision.warnings) {
        // The protocol knows that the disk refuses, and we know why.
        if (warning.kind == Warning::Kind::StorageBroken) warning.text += ": " + storage.error().what;
        reporter.warn(warning);
    }
    if (too_much_for_disk(decision)) {
        ++counters.silent;
        decision.note.level = Level::Debug;
        decision.note.verb = to_string(message.type());
        decision.note.silence = Silence::StorageBusy;
        decision.note.detail = to_string(Silence::StorageBusy);
        if (reporter.allows_trouble())
            logger.warn("the disk is slow: {} replies wait for it; {} was not answered", pending.replies.size(),
                        to_string(message.chaddr));
        return reporter.note(decision.note);
    }
    if (!apply(decision.changes)) {
        ++counters.silent;
        if (reporter.allows_trouble()) logger.warn("the lease table is full; a client was not answered");
        return;
    }
    if (decision.probe) return probe({message, context, conflicts}, *decision.probe);
    if (!decision.reply) {
        ++counters.silent;
        return reporter.note(decision.note);
    }
    Outgoing reply = outgoing(message, context, decision);
    if (reply.type == MessageType::Offer) {
        reporter.note(reply.note);
        offers.push_back(std::move(reply));
    } else {
        pending.replies.push_back(std::move(reply));  // its line follows when it leaves
    }
}

/// Only what has to be written, or to wait for what is being written, is a burden; offers are none.
bool Service::Parts::too_much_for_disk(const Decision& decision) const {
    if (std::max(pending.replies.size(), pending.changes.size()) < most_waiting) return false;
    const auto written = [](const LeaseChange& change) {
        return change.cause != Cause::Offer && change.cause != Cause::Withdraw;
    };
    const bool waits = decision.reply && decision.reply->type != MessageType::Offer;
    return waits || std::any_of(decision.changes.begin(), decision.changes.end(), written);
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

void Service::Parts::probe(WaitingMessage who, const ProbeRequest& request) {
    ++counters.probes;
    bool running = false;
    if (!request.through_relay) {
        running = prober.start(request.address, who.message.chaddr.mac());
    } else if (who.context.ethernet_source) {
        const auto frame = prober.start_through(*who.context.ethernet_source, config.address.address, request.address);
        running = !frame.empty();
        const Bytes bytes(frame);
        int failed = 0;
        if (running) transport.send({&bytes, 1}, failed);
    }
    if (!running) {
        if (reporter.allows_trouble()) logger.warn("too many addresses are being probed; a client was not answered");
        return;
    }
    // A later copy of a message goes on where the earlier one was.
    const auto earlier = waiting.find(request.address);
    if (earlier != waiting.end() && earlier->second.message.chaddr == who.message.chaddr)
        who.conflicts = std::max(who.conflicts, earlier->second.conflicts);
    waiting.insert_or_assign(request.address, std::move(who));
}

Outgoing Service::Parts::outgoing(const Message& message, const Context& context, const Decision& decision) {
    const Reply& reply = *decision.reply;
    const Message answer = make_reply(config, message, reply);
    const Room there = room(config, message, config.mtu == 0 ? ethernet_mtu : config.mtu);
    const Serialized payload = serialize(answer, there);
    if (!payload.left_out.empty()) reporter.warn(left_out(config, message.chaddr, payload.left_out, there.max_size));
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
    const auto due = wake_up_for(*next);
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
            if (!grants(reply) || !granted.contains(reply.address)) return false;
            if (reporter.allows_trouble())
                logger.error("REFUSED {} to {}: it cannot be written: {}", to_string(reply.address),
                             to_string(reply.note.client), storage.error().what);
            Note line = reply.note;
            line.level = Level::Debug;
            line.verb = "REFUSED";
            line.silence = Silence::StorageBroken;
            line.detail = to_string(Silence::StorageBroken);
            reporter.note(line);
            return true;
        });
    }
}

void Service::Parts::finish(Batch& batch) {
    if (!batch.changes.empty()) {
        storage.show(batch.changes);
        observer.leases_changed(batch.changes);
        script.add(batch.changes);
    }
    for (const auto& reply : batch.replies) reporter.note(reply.note);
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
    if (reporter.allows_trouble())
        logger.warn("{}", to_string(system_error("cannot send a DHCP reply", failed, config.interface)));
}

}  // namespace vmrouter::dhcp
