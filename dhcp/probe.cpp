#include "dhcp/probe.hpp"

#include <cerrno>
#include <utility>

namespace vmrouter::dhcp {

Prober::Prober(const asio::any_io_executor& executor, FileDescriptor arp, const MacAddress& ours, Random& random,
               Milliseconds patience)
    : arp_(executor), ours_(ours), random_(random), patience_(patience), batch_(16), signal_(executor) {
    replace_socket(std::move(arp), ours);
}

void Prober::replace_socket(FileDescriptor arp, const MacAddress& ours) {
    asio::error_code ignored;
    arp_.close(ignored);
    ours_ = ours;
    deaf_ = false;
    if (!arp) return;
    arp_.assign(arp.release());
    adjust_hearing();
    listen();
}

void Prober::close() {
    closed_ = true;
    alive_.reset();
    asio::error_code ignored;
    arp_.close(ignored);
    signal_.notify();
}

bool Prober::start(Ipv4 address, std::optional<MacAddress> client) {
    if (!add(address, {Signal::TimePoint{}, client, 0})) return false;
    adjust_hearing();  // before the question, or a quick answer is missed
    if (arp_.is_open()) send_frame(arp_.native_handle(), arp_probe(ours_, address));
    return true;
}

std::vector<std::uint8_t> Prober::start_through(const MacAddress& relay, Ipv4 ours, Ipv4 address) {
    const std::uint64_t cookie = random_.u64() | 1;  // 0 stands for "not an ICMP probe"
    if (!add(address, {Signal::TimePoint{}, std::nullopt, cookie})) return {};
    return echo_request({ours_, relay, ours, address, echo_identifier, cookie});
}

bool Prober::add(Ipv4 address, Running running) {
    if (running_.contains(address)) return true;
    if (running_.size() >= most) return false;
    running.deadline = std::chrono::steady_clock::now() + patience_;
    due_.push_back({address, running.deadline});
    running_.emplace(address, running);
    signal_.notify();  // events() may be waiting for ever
    return true;
}

void Prober::on_echo_reply(Bytes frame) {
    const auto reply = parse_echo_reply(frame);
    if (!reply) return;
    const auto running = running_.find(reply->source);
    if (running == running_.end() || running->second.cookie == 0 || running->second.cookie != reply->cookie) return;
    running_.erase(running);
    report({ProbeEvent::Kind::Answered, reply->source, std::nullopt});
}

void Prober::watch(Ipv4 address, std::optional<MacAddress> client) {
    watched_.insert_or_assign(address, client);
    adjust_hearing();
}

void Prober::unwatch(Ipv4 address) {
    if (watched_.erase(address) != 0) adjust_hearing();
}

asio::awaitable<std::vector<ProbeEvent>> Prober::events() {
    while (!closed_) {
        collect_silent();
        if (!events_.empty()) break;
        auto deadline = Signal::TimePoint::max();  // a ?: inside the co_await is miscompiled by g++ 12
        if (!due_.empty()) deadline = due_.front().deadline;
        co_await signal_.wait_until(deadline);
    }
    co_return std::exchange(events_, {});
}

void Prober::report(ProbeEvent event) {
    events_.push_back(event);
    signal_.notify();
}

void Prober::collect_silent() {
    const auto now = std::chrono::steady_clock::now();
    // What came in time may not have been read yet, on a busy machine.
    if (arp_.is_open() && !due_.empty() && due_.front().deadline <= now) read_arp();
    while (!due_.empty() && due_.front().deadline <= now) {
        const Due due = due_.front();
        due_.pop_front();
        const auto running = running_.find(due.address);
        // Answered meanwhile, and perhaps asked again since: then a later entry is that probe's.
        if (running == running_.end() || running->second.deadline != due.deadline) continue;
        running_.erase(running);
        events_.push_back({ProbeEvent::Kind::Silent, due.address, std::nullopt});
    }
    adjust_hearing();
}

void Prober::listen() {
    arp_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this, alive = std::weak_ptr<bool>(alive_)](const asio::error_code& waited) {
                        if (waited || alive.expired()) return;
                        if (read_arp()) listen();
                    });
}

/// False when the socket is of no use any more, until replace_socket().
bool Prober::read_arp() {
    for (;;) {
        const int failed = batch_.receive(arp_.native_handle());
        // That the interface went down is read and forgotten: the packet socket reports it as well.
        if (failed != 0) return failed == EAGAIN || failed == EINTR || failed == ENETDOWN;
        for (const ReceivedFrame& frame : batch_.frames())
            if (const auto packet = parse_arp(frame.bytes)) on_arp(*packet);
        if (!batch_.full()) return true;
    }
}

void Prober::on_arp(const ArpPacket& packet) {
    // A probe of another host for the same address (sender 0) counts as its use: RFC 5227 section 2.1.1.
    const bool probing = packet.request && packet.sender.is_unspecified();
    const Ipv4 address = probing ? packet.target : packet.sender;
    if (address.is_unspecified() || packet.sender_mac == ours_) return;

    if (const auto running = running_.find(address); running != running_.end()) {
        if (running->second.client == packet.sender_mac) return;
        running_.erase(running);
        return report({ProbeEvent::Kind::Answered, address, packet.sender_mac});
    }
    if (const auto watched = watched_.find(address); watched != watched_.end()) {
        if (watched->second == packet.sender_mac) return;
        watched_.erase(watched);  // once is enough
        report({ProbeEvent::Kind::Late, address, packet.sender_mac});
    }
}

void Prober::adjust_hearing() {
    const bool deaf = running_.empty() && watched_.empty();
    if (deaf == deaf_ || !arp_.is_open()) return;
    deaf_ = deaf;
    set_deaf(arp_.native_handle(), deaf);
}

}  // namespace vmrouter::dhcp
