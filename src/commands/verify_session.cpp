#include "src/commands/verify_session.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "dns/resolv.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"

namespace vmrouter::proof {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds quiet{120};  ///< a leak is seen within microseconds

volatile std::sig_atomic_t stop_wanted = 0;

void want_stop(int) {
    stop_wanted = 1;
}

Ipv4 ip_of(const Bytes bytes, std::size_t at) {
    Reader in(bytes);
    in.skip(at);
    return Ipv4{in.u32()};
}

MacAddress mac_of(Bytes bytes, std::size_t at) {
    MacAddress mac;
    if (bytes.size() >= at + 6) std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 6, mac.bytes.begin());
    return mac;
}

}  // namespace

Session::Session(Subject subject, SessionOptions options, link::Netlink& netlink, Progress& progress)
    : subject_(std::move(subject)), options_(std::move(options)), netlink_(netlink), progress_(progress) {
    struct sigaction action {};
    action.sa_handler = want_stop;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

Session::~Session() {
    bool released = false;
    for (auto& guest : guests_) released |= release(guest);
    if (released) poll(nullptr, 0, 100);  // a server reads what came by a port as long as there is that port
}

bool Session::interrupted() {
    return stop_wanted != 0;
}

/// Reads every socket until `done`, or until time is up.
void Session::pump(milliseconds limit, const std::function<bool()>& done) {
    const Moment end = steady_clock::now() + limit;
    for (;;) {
        std::vector<pollfd> waiting;
        for (const auto& guest : guests_)
            if (guest.cable) waiting.push_back({guest.cable->fd(), POLLIN, 0});
        for (const int fd : watch_->fds()) waiting.push_back({fd, POLLIN, 0});
        const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
        const auto slice = std::clamp(left, milliseconds{0}, milliseconds{20});
        poll(waiting.data(), waiting.size(), static_cast<int>(slice.count()));
        for (std::size_t i = 0; i < guests_.size(); ++i)
            if (guests_.at(i).cable) guests_.at(i).cable->receive([&](const Arrived& frame) { heard(i, frame); });
        watch_->receive([&](const Arrived& packet) { crossed(packet); },
                        [&](const Arrived& packet) { reached(packet); });
        if (done() || interrupted() || steady_clock::now() >= end) return;
    }
}

Outcome* Session::outcome_of(const Found& found) {
    for (const auto& token : {found.text, found.sequence})
        if (token && *token - situation_.session < outcomes_.size()) return &outcomes_[*token - situation_.session];
    return nullptr;
}

void Session::note(std::uint32_t index, Sighting sighting) {
    auto& seen = outcomes_[index].seen;
    if (std::find(seen.begin(), seen.end(), sighting) == seen.end()) seen.push_back(std::move(sighting));
}

void Session::heard(std::size_t index, const Arrived& frame) {
    if (frame.bytes.size() < 14) return;
    const auto to = mac_of(frame.bytes, 0);
    const auto from = mac_of(frame.bytes, 6);
    Reader in(frame.bytes);
    in.skip(12);
    const auto type = in.u16();
    auto& guest = guests_.at(index);
    const bool wired = guest.cable->near_end() != 0 && !subject_.bridge;
    if (wired && to != guest.host.mac && !to.is_multicast()) return;
    if (const auto found = find_token(in.rest(), type); auto* outcome = outcome_of(found)) {
        const auto number = static_cast<std::uint32_t>(outcome - outcomes_.data());
        const Probe& probe = probes_[number];
        if (index == 1 && probe.from == From::Guest && !wired)
            note(number, {Sighting::Where::Second, {}, found.source});
        else if (index == 1 && probe.from != From::Guest && !wired)
            note(number, {Sighting::Where::Second, {}, found.source});
        else if (index == 0 && probe.from != From::Guest)
            note(number, {Sighting::Where::First, {}, found.source});
    }
    if (type == ethertype_arp) return heard_arp(index, in.rest());
    if (type == ethertype_ip4) return heard_ip4(index, from, to, frame.bytes);
    if (type == ethertype_ip6 && router_ && from == *router_) unasked_.emplace_back("IPv6");
}

void Session::heard_arp(std::size_t index, Bytes packet) {
    const auto arp = parse_arp(packet);
    if (!arp) return;
    auto& guest = guests_.at(index);
    if (arp->operation == 1 && arp->target == guest.host.address && !guest.host.address.is_unspecified()) {
        guest.cable->send(arp_frame(guest.host.mac, arp->sender_mac,
                                    {2, guest.host.mac, guest.host.address, arp->sender_mac, arp->sender}, 0));
        return;
    }
    if (arp->operation != 2 || index != 0 || arp->sender_mac == guest.host.mac) return;
    if (arp->sender == subject_.address.address) router_ = arp->sender_mac;
    if (guest.host.address.is_unspecified() || arp->sender == guest.host.address) guest.declined = true;
    for (std::size_t i = 0; i < probes_.size(); ++i)
        if (probes_[i].asks == arp->sender) outcomes_[i].reply = Reply::Kind::Data;
}

void Session::heard_ip4(std::size_t index, const MacAddress& from, const MacAddress& to, Bytes frame) {
    auto& guest = guests_.at(index);
    const auto packet = frame.subspan(14);
    heard_dhcp(guest, frame);
    if (index != 0) return;
    if (router_ && from == *router_ && to.is_multicast() && packet.size() >= 28) {
        const bool dhcp = packet[9] == 17 && ip_of(packet, 16).is_broadcast() && packet[21] == 67;
        if (!dhcp) unasked_.push_back("a packet to " + to_string(ip_of(packet, 16)));
    }
    const auto reply = parse_reply(packet, guest.host.address);
    if (!reply) return;
    if (query_ && reply->kind == Reply::Kind::Data && reply->port == *query_) {
        if (auto answer = parse_dns(reply->payload); answer && answer->id == *query_) answer_ = std::move(answer);
        return;
    }
    for (std::size_t i = 0; i < probes_.size(); ++i) {
        if (probes_[i].port != reply->port || probes_[i].from != From::Guest) continue;
        const bool better = !outcomes_[i].reply || *outcomes_[i].reply == Reply::Kind::Error;
        if (better) outcomes_[i].reply = reply->kind;
        if (reply->kind == Reply::Kind::SynAck) hang_up(guest, from, reply->from, reply->service, probes_[i]);
    }
}

/// No server is left waiting with a connection that only half began.
void Session::hang_up(const Guest& guest, const MacAddress& router, Ipv4 peer, std::uint16_t service,
                      const Probe& probe) {
    const Path path{guest.host.mac, router, guest.host.address, peer};
    guest.cable->send(tcp_frame(path, probe.port, service, probe.token + 1, 0, tcp_flag::reset));
}

void Session::crossed(const Arrived& packet) {
    const auto found = find_token(packet.bytes, packet.ethertype);
    if (auto* outcome = outcome_of(found)) {
        const auto number = static_cast<std::uint32_t>(outcome - outcomes_.data());
        const Probe& probe = probes_[number];
        const auto& cable = probe.from == From::Outside ? outside_ : guests_.front().cable;
        if (cable && packet.interface == cable->near_end() && !packet.outgoing) outcome->sent = true;
        // Of what came from outside, the answers go back there.
        const bool back = probe.from == From::Outside && facts_.name_of(packet.interface) == situation_.outside;
        if (packet.outgoing && !segment_links_.contains(packet.interface) && probe.from != From::Machine && !back)
            note(number, {Sighting::Where::Left, facts_.name_of(packet.interface), found.source});
    }
    if (packet.ethertype != ethertype_arp || !packet.outgoing || segment_links_.contains(packet.interface)) return;
    const auto arp = parse_arp(packet.bytes);
    if (!arp || arp->operation != 1 || known_.contains(arp->target)) return;
    for (std::size_t i = 0; i < probes_.size(); ++i)
        if (probes_[i].from != From::Machine && probes_[i].target == arp->target &&
            probes_[i].expect == Expect::Nothing)
            note(static_cast<std::uint32_t>(i), {Sighting::Where::Asked, facts_.name_of(packet.interface), {}});
}

void Session::reached(const Arrived& packet) {
    const auto found = find_token(packet.bytes, packet.ethertype);
    if (auto* outcome = outcome_of(found))
        note(static_cast<std::uint32_t>(outcome - outcomes_.data()), {Sighting::Where::Machine, {}, found.source});
}

/// What this machine says by its own sockets.
void Session::speak(const Probe& probe) {
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return;
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, subject_.interface.c_str(),
               static_cast<socklen_t>(subject_.interface.size()));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    to.sin_addr.s_addr = htonl(probe.destination.value);
    const auto text = token_text(probe.token);
    // EPERM is the firewall's word; the guest's side judges.
    [[maybe_unused]] const auto sent =
        sendto(socket.get(), text.data(), text.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
}

void Session::send(const Probe& probe) {
    switch (probe.from) {
        case From::Guest:
            return guests_.front().cable->send(probe.frame);
        case From::Outside:
            return outside_->send(probe.frame);
        case From::Machine:
            return speak(probe);
    }
}

/// Whether what should be seen or answered was.
bool Session::is_answered(std::size_t number) const {
    const auto& probe = probes_[number];
    const auto& outcome = outcomes_[number];
    const auto saw = [&outcome](Sighting::Where where) {
        return std::any_of(outcome.seen.begin(), outcome.seen.end(),
                           [where](const auto& one) { return one.where == where; });
    };
    switch (probe.expect) {
        case Expect::Answer:
        case Expect::Redirect:
            return outcome.reply.has_value();
        case Expect::Leaves:
            return outcome.reply || (!probe.name.starts_with("tcp") && saw(Sighting::Where::Left));
        case Expect::Reaches:
            return saw(probe.from == From::Guest ? Sighting::Where::Second : Sighting::Where::First);
        case Expect::Machine:
            return saw(Sighting::Where::Machine);
        case Expect::Nothing:
            return true;
    }
    return true;
}

bool Session::all_answered() const {
    for (std::size_t i = 0; i < probes_.size(); ++i)
        if (!is_answered(i) && !given_up_.contains(probes_[i].group + probes_[i].what)) return false;
    return true;
}

/// The bridge knows behind which port the second guest is, however long it was silent.
void Session::greet() const {
    const auto& guest = guests_[1];
    if (!guest.cable) return;
    guest.cable->send(arp_frame(guest.host.mac, MacAddress::broadcast(),
                                {1, guest.host.mac, guest.host.address, {}, subject_.address.address}, 0));
}

Result<std::vector<Row>> Session::probe() {
    std::vector<Row> rows;
    if (!joined_ || !router_) return rows;
    probes_.clear();
    outcomes_.clear();
    greet();
    progress_.show("asking for names", 3, 4);
    resolve_target(rows);
    try_rebinding(rows);
    if (auto looked = look_around(); !looked) return Failure{std::move(looked).error()};
    situation_.session = static_cast<std::uint32_t>(random_.u64());
    probes_ = make_probes(situation_);
    outcomes_.assign(probes_.size(), {});
    static_cast<void>(watch_->lost());
    progress_.show("sending " + std::to_string(probes_.size()) + " probes", 4, 4);
    for (std::size_t i = 0; i < probes_.size() && !interrupted(); ++i) {
        send(probes_[i]);
        if (i % 16 == 15) pump(milliseconds{0}, [] { return true; });
    }
    pump(std::min(quiet, options_.wait), [] { return false; });
    pump(options_.wait / 2, [this] { return all_answered(); });
    if (!all_answered() && !interrupted()) {  // one more chance for those that must get through
        for (const auto& probe : probes_)
            if (probe.expect != Expect::Nothing) send(probe);
        pump(options_.wait / 2, [this] { return all_answered(); });
    }
    given_up_.clear();
    for (std::size_t i = 0; i < probes_.size(); ++i)
        if (!is_answered(i)) given_up_.insert(probes_[i].group + probes_[i].what);
    auto judged = judge(situation_, probes_, outcomes_);
    ask_as_machine(judged);
    const auto lost = watch_->lost();
    for (auto& row : judged) {
        if (lost > 0 && row.verdict == Verdict::Ok && row.expected == "goes nowhere") {
            row.verdict = Verdict::Unproven;
            row.happened += "; but " + std::to_string(lost) + " packets of a busy machine were not seen";
        }
        rows.push_back(std::move(row));
    }
    if (subject_.uplinks.empty())
        rows.push_back({"internet", "the way out", "leaves by the uplink", "not tried: this machine has no uplink now",
                        Verdict::NotTried});
    if (!outside_)
        rows.push_back({"outside", "packets that arrive on an uplink for a guest", "goes nowhere",
                        "not tried: " + outside_refused_, Verdict::NotTried});
    rows.push_back({"this machine", "what it says unasked (IPv6, multicast)", "nothing",
                    unasked_.empty() ? "nothing" : unasked_.front(),
                    unasked_.empty() ? Verdict::Ok : Verdict::Surprise});
    unasked_.clear();
    return rows;
}

}  // namespace vmrouter::proof
