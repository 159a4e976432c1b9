// Sockets: who has our ports, who answers as a name server, who answers as a DHCP server.

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "dns/resolv.hpp"
#include "src/base/random.hpp"
#include "src/commands/doctor_look.hpp"
#include "src/commands/verify_frames.hpp"

namespace vmrouter::diagnosis {
namespace {

namespace fs = std::filesystem;
using proof::Subject;
using std::chrono::milliseconds;

constexpr Ipv4 usual_address{192, 168, 100, 1};

bool is_busy(int type, Ipv4 address, std::uint16_t port, const std::string& device) {
    const FileDescriptor socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    if (!socket) return false;
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    if (type == SOCK_STREAM) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size()));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(address.value);
    return bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 && errno == EADDRINUSE;
}

/// Asks all servers at once; those that say nothing within the time.
std::vector<std::string> silent_servers(const std::vector<dns::Endpoint>& servers) {
    const auto query = proof::dns_query(0x766d, "example.com");
    std::vector<FileDescriptor> sockets;
    std::vector<pollfd> waiting;
    for (const auto& server : servers) {
        sockaddr_storage to{};
        socklen_t size = 0;
        if (const auto* v4 = std::get_if<Ipv4>(&server.address)) {
            auto& name = reinterpret_cast<sockaddr_in&>(to);
            name.sin_family = AF_INET;
            name.sin_port = htons(server.port);
            name.sin_addr.s_addr = htonl(v4->value);
            size = sizeof name;
        } else {
            auto& name = reinterpret_cast<sockaddr_in6&>(to);
            name.sin6_family = AF_INET6;
            name.sin6_port = htons(server.port);
            std::memcpy(&name.sin6_addr, std::get<Ipv6>(server.address).bytes.data(), 16);
            size = sizeof name;
        }
        FileDescriptor socket(::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const bool sent = connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), size) == 0 &&
                          send(socket.get(), query.data(), query.size(), 0) > 0;
        waiting.push_back({sent ? socket.get() : -1, POLLIN, 0});
        sockets.push_back(std::move(socket));
    }
    std::vector<bool> answered(servers.size(), false);
    const auto end = std::chrono::steady_clock::now() + patience / 2;
    for (;;) {
        const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
        if (left.count() <= 0 || std::all_of(answered.begin(), answered.end(), [](bool one) { return one; })) break;
        if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0) break;
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].revents == 0) continue;
            std::array<std::uint8_t, 4096> buffer{};
            if (recv(waiting[i].fd, buffer.data(), buffer.size(), 0) > 0) answered[i] = true;
            waiting[i].fd = -1;
        }
        if (std::all_of(waiting.begin(), waiting.end(), [](const pollfd& one) { return one.fd < 0; })) break;
    }
    std::vector<std::string> silent;
    for (std::size_t i = 0; i < servers.size(); ++i)
        if (!answered[i]) silent.push_back(to_string(servers[i]));
    return silent;
}

}  // namespace

void look_at_ports(Facts& facts) {
    if (facts.running) return;  // it has them
    const std::string device = facts.host.find(facts.segment) != nullptr ? facts.segment : "lo";
    const Ipv4 address = facts.address ? facts.address->address : usual_address;
    for (const auto& [type, protocol] :
         {std::pair{int{SOCK_DGRAM}, link::Protocol::Udp}, std::pair{int{SOCK_STREAM}, link::Protocol::Tcp}}) {
        if (!facts.dns || !is_busy(type, address, 53, device)) continue;
        for (auto& owner : link::port_owners(protocol, address, 53))
            if (std::none_of(facts.port53.begin(), facts.port53.end(),
                             [&](const auto& one) { return one.pid == owner.pid && one.pid != 0; }))
                facts.port53.push_back(std::move(owner));
    }
    if (facts.dhcp && is_busy(SOCK_DGRAM, {}, 67, device))
        facts.port67 = link::port_owners(link::Protocol::Udp, {}, 67);
}

void look_at_resolver(Facts& facts, const Subject& subject) {
    auto& resolver = facts.resolver;
    std::vector<dns::Endpoint> servers;
    if (!subject.resolv_file.empty()) resolver.file = subject.resolv_file;
    if (!subject.upstreams.empty()) {
        resolver.file = "dns.upstreams";
        for (const auto& text : subject.upstreams)
            if (const auto server = dns::Endpoint::parse(text)) servers.push_back(*server);
    } else {
        std::error_code ignored;
        struct stat status {};
        resolver.there = stat(resolver.file.c_str(), &status) == 0;
        if (!resolver.there && fs::is_symlink(resolver.file, ignored))
            resolver.dangling = fs::read_symlink(resolver.file, ignored).string();
        servers = dns::read_resolv_conf(resolver.file).nameservers;
    }
    std::vector<dns::Endpoint> others;
    for (const auto& server : servers) {
        const auto* v4 = std::get_if<Ipv4>(&server.address);
        const bool ours = facts.address && v4 != nullptr && *v4 == facts.address->address;
        (ours ? resolver.loops : resolver.servers).push_back(to_string(server));
        if (!ours) others.push_back(server);
    }
    resolver.asked = !others.empty();
    resolver.silent = silent_servers(others);
}

FileDescriptor segment_socket(const Facts& facts) {
    const auto* segment = facts.host.find(facts.segment);
    if (segment == nullptr || !segment->up()) return {};
    FileDescriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_ll name{};
    name.sll_family = AF_PACKET;
    name.sll_protocol = htons(ETH_P_ALL);
    name.sll_ifindex = segment->index;
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return {};
    return socket;
}

void listen(int fd, milliseconds limit, const std::function<bool(Bytes)>& done) {
    const auto end = std::chrono::steady_clock::now() + limit;
    std::array<std::uint8_t, 65536> buffer{};
    for (;;) {
        const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
        pollfd waiting{fd, POLLIN, 0};
        if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return;
        const auto size = recv(fd, buffer.data(), buffer.size(), 0);
        if (size > 0 && done(Bytes(buffer).first(static_cast<std::size_t>(size)))) return;
    }
}

/// Who else answers a DISCOVER on the segment. Our own firewall drops such answers before the bridge's own socket sees
/// them, so each port is listened to, where a frame is still as it came.
void look_for_servers(Facts& facts) {
    const auto socket = segment_socket(facts);
    if (!socket || !facts.dhcp) return;
    SystemRandom random;
    const auto value = random.u64();
    const MacAddress mac{{0x02, 0x76, 0x6d, static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8),
                          static_cast<std::uint8_t>(value >> 16)}};
    dhcp::Message message;
    message.xid = static_cast<std::uint32_t>(random.u64());
    message.flags = dhcp::Message::broadcast_flag;
    message.chaddr = dhcp::HardwareAddress(mac);
    message.options.add_u8(dhcp::option::message_type, static_cast<std::uint8_t>(dhcp::MessageType::Discover));
    const auto payload = dhcp::serialize(message, {}).bytes;
    const auto frame = dhcp::build_frame(mac, MacAddress::broadcast(), {}, dhcp::client_port, Ipv4{255, 255, 255, 255},
                                         dhcp::server_port, payload);
    FileDescriptor ears(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    if (!ears || send(socket.get(), frame.data(), frame.size(), 0) < 0) return;
    listen(ears.get(), milliseconds{500}, [&](Bytes bytes) {
        const auto datagram = dhcp::parse_frame(bytes, dhcp::ChecksumState::NotReady);
        if (!datagram || datagram->destination_port != dhcp::client_port) return false;
        const auto offer = dhcp::parse(datagram->payload);
        if (!offer || offer->xid != message.xid || offer->op != dhcp::Message::reply) return false;
        const auto server = offer->server_identifier().value_or(datagram->source);
        if (facts.running && facts.address && server == facts.address->address) return false;
        const std::string text = to_string(server) + " (" + to_string(datagram->ethernet_source) + ")";
        if (std::find(facts.rogue_servers.begin(), facts.rogue_servers.end(), text) == facts.rogue_servers.end())
            facts.rogue_servers.push_back(text);
        return false;
    });
}

}  // namespace vmrouter::diagnosis
