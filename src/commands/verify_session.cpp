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

constexpr milliseconds least_wait{1000};  ///< for what only the joining needs
constexpr milliseconds quiet{120};        ///< a leak is seen within microseconds
constexpr Ipv4 well_known{1, 1, 1, 1};

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

bool is_private(const Subject& subject, Ipv4 address) {
    std::vector<Cidr> networks = firewall::private_ranges();
    const auto reserved = firewall::reserved_ranges();
    networks.insert(networks.end(), reserved.begin(), reserved.end());
    networks.insert(networks.end(), subject.lan.begin(), subject.lan.end());
    return std::any_of(networks.begin(), networks.end(), [&](const Cidr& one) { return one.contains(address); });
}

/// A question from this machine itself, to its own resolver.
std::optional<DnsAnswer> ask_own_resolver(const std::string& name, milliseconds wait) {
    const auto text = read_file("/etc/resolv.conf");
    if (!text) return std::nullopt;
    const auto resolv = dns::parse_resolv_conf(*text);
    for (const auto& server : resolv.nameservers) {
        const auto* address = std::get_if<Ipv4>(&server.address);
        if (address == nullptr) continue;
        const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(53);
        to.sin_addr.s_addr = htonl(address->value);
        const auto query = dns_query(0x766d, name);
        if (!socket ||
            sendto(socket.get(), query.data(), query.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
            continue;
        pollfd waiting{socket.get(), POLLIN, 0};
        if (poll(&waiting, 1, static_cast<int>(wait.count())) <= 0) continue;
        std::array<std::uint8_t, 4096> buffer{};
        const auto size = recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (size > 0) return parse_dns(Bytes(buffer).first(static_cast<std::size_t>(size)));
    }
    return std::nullopt;
}

/// Whether this machine itself gets through to a TCP port.
bool connects(Ipv4 address, std::uint16_t port, milliseconds wait) {
    const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(address.value);
    if (!socket) return false;
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
    if (errno != EINPROGRESS) return false;
    pollfd waiting{socket.get(), POLLOUT, 0};
    if (poll(&waiting, 1, static_cast<int>(wait.count())) <= 0) return false;
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

std::vector<Place> neighbours_of(std::string_view table) {
    std::vector<Place> places;
    for (const auto line : split(table, '\n')) {
        auto words = split(line, ' ');
        std::erase_if(words, [](std::string_view word) { return word.empty(); });
        if (words.size() < 6) continue;
        const auto address = Ipv4::parse(words[0]);
        const bool complete = words[2] != "0x0" && words[3] != "00:00:00:00:00:00";
        if (address && complete) places.push_back({std::string(words[5]), *address});
    }
    return places;
}

std::vector<Service> services_of(std::string_view table, bool tcp) {
    std::vector<Service> services;
    for (const auto line : split(table, '\n')) {
        auto words = split(line, ' ');
        std::erase_if(words, [](std::string_view word) { return word.empty(); });
        if (words.size() < 4 || !words[0].ends_with(':')) continue;
        if (tcp ? words[3] != "0A" : words[3] != "07") continue;
        const auto local = split(words[1], ':');
        if (local.size() != 2) continue;
        const bool loopback = local[0] == "0100007F" || local[0] == "00000000000000000000000001000000";
        const auto port = parse_hex(local[1]);
        if (loopback || !port || port->size() != 2) continue;
        const auto number = Reader(*port).u16();
        if (number != 0) services.push_back({tcp, number});
    }
    std::sort(services.begin(), services.end());
    services.erase(std::unique(services.begin(), services.end()), services.end());
    return services;
}

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
    }
}

void Session::heard_dhcp(Guest& guest, Bytes frame) {
    const auto datagram = dhcp::parse_frame(frame, dhcp::ChecksumState::NotReady);
    if (!datagram || datagram->destination_port != dhcp::client_port) return;
    const auto message = dhcp::parse(datagram->payload);
    if (!message || message->op != dhcp::Message::reply || message->xid != guest.xid) return;
    const auto server = message->server_identifier();
    if (!server) return;
    if (*server != subject_.address.address) {
        guest.other_servers.insert(*server);
        return;
    }
    switch (message->type()) {
        case dhcp::MessageType::Offer:
            guest.offered = message->yiaddr;
            break;
        case dhcp::MessageType::Ack:
            guest.host.address = message->yiaddr;
            guest.server = *server;
            guest.leased = true;
            break;
        case dhcp::MessageType::Nak:
            guest.declined = true;
            break;
        default:
            break;
    }
}

void Session::crossed(const Arrived& packet) {
    const auto found = find_token(packet.bytes, packet.ethertype);
    if (auto* outcome = outcome_of(found)) {
        const auto number = static_cast<std::uint32_t>(outcome - outcomes_.data());
        const Probe& probe = probes_[number];
        const auto& cable = probe.from == From::Outside ? outside_ : guests_.front().cable;
        if (cable && packet.interface == cable->near_end() && !packet.outgoing) outcome->sent = true;
        if (packet.outgoing && !segment_links_.contains(packet.interface) && probe.from == From::Guest)
            note(number, {Sighting::Where::Left, facts_.name_of(packet.interface), found.source});
    }
    if (packet.ethertype != ethertype_arp || !packet.outgoing || segment_links_.contains(packet.interface)) return;
    const auto arp = parse_arp(packet.bytes);
    if (!arp || arp->operation != 1 || known_.contains(arp->target)) return;
    for (std::size_t i = 0; i < probes_.size(); ++i)
        if (probes_[i].from == From::Guest && probes_[i].target == arp->target && probes_[i].expect == Expect::Nothing)
            note(static_cast<std::uint32_t>(i), {Sighting::Where::Asked, facts_.name_of(packet.interface), {}});
}

void Session::reached(const Arrived& packet) {
    const auto found = find_token(packet.bytes, packet.ethertype);
    if (auto* outcome = outcome_of(found))
        note(static_cast<std::uint32_t>(outcome - outcomes_.data()), {Sighting::Where::Machine, {}, found.source});
}

Result<void> Session::attach(std::vector<Row>& rows) {
    auto watch = Watch::open();
    if (!watch) return Failure{std::move(watch).error()};
    watch_.emplace(std::move(*watch));
    const auto name = [this](char last) {
        const auto value = static_cast<std::uint16_t>(random_.u64());
        return "vmv" +
               to_hex(
                   std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)},
                   "") +
               last;
    };
    char last = 'a';
    for (auto& guest : guests_) {
        const auto value = random_.u64();
        guest.host.mac = MacAddress{{0x02, 0x76, 0x6d, static_cast<std::uint8_t>(value),
                                     static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value >> 16)}};
        auto cable = subject_.bridge ? Cable::to_bridge(netlink_, subject_.interface, name(last++), guest.host.mac)
                                     : Cable::onto(netlink_, subject_.interface, name(last++), guest.host.mac);
        if (!cable) {
            if (subject_.bridge) return Failure{std::move(cable).error()};
            rows.push_back({"segment", "frames that arrive on " + subject_.interface, "as from the wire",
                            "not tried: " + cable.error().what, Verdict::NotTried});
            return {};
        }
        guest.cable.emplace(std::move(*cable));
    }
    joined_ = true;
    if (!subject_.bridge)
        rows.push_back({"segment", "from guest to guest, and frames on the wire itself", "not ours to decide",
                        "not tried: frames are made to arrive on " + subject_.interface + ", no switch sees them",
                        Verdict::NotTried});
    if (subject_.uplinks.empty()) {
        outside_refused_ = "this machine has no uplink";
        return {};
    }
    auto outside = Cable::onto(netlink_, subject_.uplinks.front(), name('o'), MacAddress{{0x02, 0x76, 0x6d, 0, 0, 1}});
    if (outside)
        outside_.emplace(std::move(*outside));
    else
        outside_refused_ = outside.error().what;
    return {};
}

void Session::send_dhcp(Guest& guest, std::uint8_t type) {
    dhcp::Message message;
    message.xid = guest.xid;
    message.chaddr = dhcp::HardwareAddress(guest.host.mac);
    message.options.add_u8(dhcp::option::message_type, type);
    const bool release = type == static_cast<std::uint8_t>(dhcp::MessageType::Release);
    if (release) {
        message.ciaddr = guest.host.address;
        message.options.add_ip(dhcp::option::server_identifier, *guest.server);
    } else {
        message.options.add_u32(dhcp::option::lease_time, 120);  // should the release get lost
        message.options.add_text(dhcp::option::vendor_class, "vmrouter-verify");
        message.options.add(dhcp::option::parameter_list, std::array<std::uint8_t, 3>{1, 3, 6});
        if (type == static_cast<std::uint8_t>(dhcp::MessageType::Request)) {
            message.options.add_ip(dhcp::option::requested_address, *guest.offered);
            message.options.add_ip(dhcp::option::server_identifier, subject_.address.address);
        }
    }
    const auto payload = dhcp::serialize(message, {}).bytes;
    const bool unicast = release && router_;
    guest.cable->send(dhcp::build_frame(
        guest.host.mac, unicast ? *router_ : MacAddress::broadcast(), release ? guest.host.address : Ipv4{},
        dhcp::client_port, unicast ? subject_.address.address : Ipv4{255, 255, 255, 255}, dhcp::server_port, payload));
}

Row Session::get_lease(Guest& guest, const std::string& who) {
    Row row{"segment", "a lease for " + who, "from " + to_string(subject_.address.address), "no OFFER",
            Verdict::Surprise};
    guest.xid = static_cast<std::uint32_t>(random_.u64());
    for (int tries = 0; tries < 4 && !guest.offered && !interrupted(); ++tries) {
        send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Discover));
        pump(std::max(options_.wait, least_wait), [&] { return guest.offered.has_value(); });
    }
    if (!guest.offered) return row;
    row.happened = to_string(*guest.offered) + " was offered, no ACK came";
    for (int tries = 0; tries < 3 && !guest.leased && !guest.declined && !interrupted(); ++tries) {
        send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Request));
        pump(std::max(options_.wait, least_wait), [&] { return guest.leased || guest.declined; });
    }
    if (!guest.leased) return row;
    row.happened = to_string(guest.host.address);
    row.verdict = Verdict::Ok;
    if (!guest.other_servers.empty()) {
        row.happened += ", and another server answers: " + to_string(*guest.other_servers.begin());
        row.verdict = Verdict::Surprise;
    }
    return row;
}

/// Without DHCP: the first address from the end that nobody answers for.
void Session::take_free_address(Guest& guest) {
    const Ipv4 taken = &guest == &guests_[1] ? guests_[0].host.address : Ipv4{};
    for (std::uint32_t back = 1; back < 16; ++back) {
        const Ipv4 address{subject_.address.last().value - back};
        if (address == subject_.address.address || address == taken) continue;
        guests_[0].declined = false;
        guest.cable->send(arp_frame(guest.host.mac, MacAddress::broadcast(), {1, guest.host.mac, {}, {}, address}, 0));
        pump(milliseconds{100}, [] { return false; });
        if (guests_[0].declined) continue;
        guest.host.address = address;
        return;
    }
}

bool Session::ask_router() {
    auto& guest = guests_.front();
    for (int tries = 0; tries < 3 && !router_ && !interrupted(); ++tries) {
        guest.cable->send(arp_frame(guest.host.mac, MacAddress::broadcast(),
                                    {1, guest.host.mac, guest.host.address, {}, subject_.address.address}, 0));
        pump(std::max(options_.wait, least_wait) / 2, [this] { return router_.has_value(); });
    }
    return router_.has_value();
}

Result<std::vector<Row>> Session::join() {
    std::vector<Row> rows;
    progress_.show("joining " + subject_.interface, 1, 4);
    if (auto attached = attach(rows); !attached) return Failure{std::move(attached).error()};
    if (!joined_) return rows;
    progress_.show("asking for leases", 2, 4);
    const std::array<std::string, 2> who{"a guest", "another guest"};
    for (std::size_t i = 0; i < guests_.size(); ++i) {
        auto& guest = guests_.at(i);
        if (subject_.dhcp) {
            rows.push_back(get_lease(guest, who.at(i)));
        } else {
            take_free_address(guest);
            rows.push_back({"segment", "a lease for " + who.at(i), "none: dhcp.enabled is false",
                            "not tried: it took " + to_string(guest.host.address), Verdict::NotTried});
        }
    }
    // Without a lease the rest can still be tried, from an address that is free.
    for (auto& guest : guests_)
        if (guest.host.address.is_unspecified()) take_free_address(guest);
    const bool found = ask_router();
    rows.push_back({"segment", "ARP for " + to_string(subject_.address.address), "an answer",
                    found ? to_string(*router_) : "no answer", found ? Verdict::Ok : Verdict::Surprise});
    return rows;
}

/// A question to our DNS, as guests ask it.
std::optional<DnsAnswer> Session::ask_dns(const std::string& name) {
    auto& guest = guests_.front();
    const auto port = static_cast<std::uint16_t>(30000 + random_.below(9000));
    const auto query = dns_query(port, name);
    if (query.empty()) return std::nullopt;
    answer_.reset();
    query_ = port;
    for (int tries = 0; tries < 2 && !answer_ && !interrupted(); ++tries) {
        guest.cable->send(
            udp_frame({guest.host.mac, *router_, guest.host.address, subject_.address.address}, port, 53, query));
        pump(options_.wait, [this] { return answer_.has_value(); });
    }
    query_.reset();
    return answer_;
}

void Session::resolve_target(std::vector<Row>& rows) {
    situation_.target = Ipv4::parse(options_.target);
    const bool literal = situation_.target.has_value();
    situation_.target_allowed = !subject_.names_limited;
    const std::string name = subject_.names_limited ? subject_.allowed_name : options_.target;
    if (!subject_.dns || literal || name.empty()) {
        if (!situation_.target) situation_.target = well_known;
        rows.push_back({"DNS", "a name of the internet", "an address",
                        !subject_.dns ? "not tried: dns.enabled is false"
                        : literal     ? "not tried: --target is an address"
                                      : "not tried: firewall.allow_domains names no host by itself",
                        Verdict::NotTried});
        return;
    }
    const auto answer = ask_dns(name);
    Row row{"DNS", escape(name), "an address", "no answer", Verdict::Surprise};
    if (answer && !answer->addresses.empty()) {
        situation_.target = answer->addresses.front();
        situation_.target_allowed = true;
        row.happened = to_string(*situation_.target);
        row.verdict = Verdict::Ok;
        if (is_private(subject_, *situation_.target)) {
            row.happened += ", which is no address of the internet";
            row.verdict = Verdict::Surprise;
            situation_.target = well_known;
        }
    } else {
        const auto own = ask_own_resolver(name, options_.wait);
        if (answer) row.happened = "no address (code " + std::to_string(answer->rcode) + ")";
        if (!own || own->addresses.empty()) {
            row.happened += "; this machine's own resolver has none either";
            if (answer) row.verdict = Verdict::Unproven;
        }
        situation_.target = well_known;
    }
    rows.push_back(row);
}

void Session::try_rebinding(std::vector<Row>& rows) {
    Row row{
        "DNS", escape(options_.rebind) + " (points into a private network)", "no such address", {}, Verdict::NotTried};
    if (!subject_.dns || !subject_.rebind_protection || subject_.names_limited || options_.rebind.empty()) {
        row.happened = !subject_.dns             ? "not tried: dns.enabled is false"
                       : subject_.names_limited  ? "not tried: firewall.allow_domains lets no other name resolve"
                       : options_.rebind.empty() ? "not tried: no name was given"
                                                 : "not tried: dns.rebind_protection is false";
        rows.push_back(row);
        return;
    }
    const auto answer = ask_dns(options_.rebind);
    const auto has_private = [&](const std::optional<DnsAnswer>& one) {
        return one && std::any_of(one->addresses.begin(), one->addresses.end(),
                                  [&](Ipv4 address) { return is_private(subject_, address); });
    };
    if (!answer) {
        row.happened = "no answer";
        row.verdict = Verdict::Unproven;
    } else if (has_private(answer)) {
        row.happened = to_string(answer->addresses.front());
        row.verdict = Verdict::Surprise;
    } else if (has_private(ask_own_resolver(options_.rebind, options_.wait))) {
        row.happened = "taken out; this machine's resolver has it";
        row.verdict = Verdict::Ok;
    } else {
        row.happened = "none, but this machine's resolver gives no private address for it either";
        row.verdict = Verdict::Unproven;
    }
    rows.push_back(row);
}

/// What of this machine is to be tried.
Result<void> Session::look_around() {
    auto facts = link::read_host_facts(netlink_, subject_.interface);
    if (!facts) return Failure{std::move(facts).error()};
    facts_ = std::move(*facts);
    situation_.neighbours.clear();
    situation_.host_addresses.clear();
    situation_.host_addresses6.clear();
    segment_links_.clear();
    known_.clear();
    const auto* segment = facts_.find(subject_.interface);
    if (segment == nullptr) return Failure{Error{"there is no such interface", subject_.interface, {}}};
    for (const auto& one : facts_.links)
        if (one.index == segment->index || one.master == segment->index || one.loopback())
            segment_links_.insert(one.index);
    for (const auto* cable : {&guests_[0].cable, &guests_[1].cable, &outside_})
        if (*cable) segment_links_.insert((*cable)->near_end());
    for (const auto& one : facts_.addresses)
        if (!segment_links_.contains(one.link))
            situation_.host_addresses.push_back({facts_.name_of(one.link), one.local});
    for (const auto& one : facts_.addresses6) {
        const auto* link = facts_.find(one.link);
        if (link != nullptr && !link->loopback()) situation_.host_addresses6.push_back(one.local);
    }
    if (const auto table = read_file("/proc/net/arp"))
        for (auto& place : neighbours_of(*table)) {
            known_.insert(place.address);
            if (place.interface != subject_.interface) situation_.neighbours.push_back(std::move(place));
        }
    known_.insert(subject_.gateways.begin(), subject_.gateways.end());
    situation_.services.clear();
    for (const char* file : {"tcp", "tcp6", "udp", "udp6"}) {
        const auto table = read_file(std::string("/proc/net/") + file);
        if (!table) continue;
        for (const auto& service : services_of(*table, file[0] == 't')) situation_.services.push_back(service);
    }
    std::sort(situation_.services.begin(), situation_.services.end());
    situation_.services.erase(std::unique(situation_.services.begin(), situation_.services.end()),
                              situation_.services.end());
    situation_.subject = subject_;
    situation_.router = *router_;
    situation_.first = guests_[0].host;
    situation_.second = guests_[1].host;
    situation_.wire = !subject_.bridge;
    situation_.outside.reset();
    situation_.outside_address.reset();
    if (outside_) {
        situation_.outside = subject_.uplinks.front();
        const auto* uplink = facts_.find(*situation_.outside);
        if (uplink != nullptr && uplink->mac) situation_.outside_mac = *uplink->mac;
        for (const auto& place : situation_.host_addresses)
            if (place.interface == *situation_.outside && !situation_.outside_address)
                situation_.outside_address = place.address;
    }
    return {};
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

/// Whether everything that should be seen or answered was.
bool Session::all_answered() const {
    for (std::size_t i = 0; i < probes_.size(); ++i) {
        const auto& outcome = outcomes_[i];
        const auto saw = [&outcome](Sighting::Where where) {
            return std::any_of(outcome.seen.begin(), outcome.seen.end(),
                               [where](const auto& one) { return one.where == where; });
        };
        switch (probes_[i].expect) {
            case Expect::Answer:
            case Expect::Redirect:
                if (!outcome.reply) return false;
                break;
            case Expect::Leaves:
                if (!outcome.reply && (probes_[i].name.starts_with("tcp") || !saw(Sighting::Where::Left))) return false;
                break;
            case Expect::Reaches:
                if (!saw(probes_[i].from == From::Guest ? Sighting::Where::Second : Sighting::Where::First))
                    return false;
                break;
            case Expect::Machine:
                if (!saw(Sighting::Where::Machine)) return false;
                break;
            case Expect::Nothing:
                break;
        }
    }
    return true;
}

/// A server that does not answer us either says nothing about the guest's way.
void Session::ask_as_machine(std::vector<Row>& rows) {
    for (auto& row : rows) {
        if (row.group != "internet" || !row.tried.starts_with("TCP to") || row.verdict != Verdict::Ok ||
            row.happened.ends_with(", answered") || row.expected == "goes nowhere")
            continue;
        const bool ours =
            connects(*situation_.target, 443, options_.wait) || connects(*situation_.target, 80, options_.wait);
        row.verdict = ours ? Verdict::Surprise : Verdict::Unproven;
        row.happened += ours ? ", though this machine is answered" : "; this machine gets none either";
    }
}

Result<std::vector<Row>> Session::probe() {
    std::vector<Row> rows;
    if (!joined_ || !router_) return rows;
    probes_.clear();
    outcomes_.clear();
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
    pump(quiet, [] { return false; });
    pump(options_.wait / 2, [this] { return all_answered(); });
    if (!all_answered() && !interrupted()) {  // one more chance for those that must get through
        for (const auto& probe : probes_)
            if (probe.expect != Expect::Nothing) send(probe);
        pump(options_.wait / 2, [this] { return all_answered(); });
    }
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

bool Session::release(Guest& guest) {
    if (!guest.leased || !guest.cable) return false;
    send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Release));
    guest.leased = false;
    return true;
}

}  // namespace vmrouter::proof
