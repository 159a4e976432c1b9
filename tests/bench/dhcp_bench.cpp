// What a four-way exchange costs in the protocol core, without disk and sockets: DISCOVER, OFFER, REQUEST and ACK, and
// a renewal, from bytes to frame, with 50 and with 50,000 leases in the table.
//
//   dhcp_bench [LEASES [EXCHANGES]]
//
// Prints nanoseconds; under `valgrind --tool=callgrind --toggle-collect='measured*'` it counts instructions.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "dhcp/frame.hpp"
#include "dhcp/reply.hpp"
#include "dhcp/server.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

const Time now{std::chrono::seconds{1'800'000'000}};
const MacAddress ours{{2, 0, 0, 0, 0, 1}};

struct Server {
    ServerConfig config;
    LeaseTable leases{Range{}};
    Reservations reservations;
    std::size_t sent = 0;
};

MacAddress guest(std::uint32_t number) {
    return {{2, 1, static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
             static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}};
}

/// A frame as udhcpc sends it.
std::vector<std::uint8_t> frame(const MacAddress& from, MessageType type, Ipv4 requested, Ipv4 ciaddr) {
    Message message;
    message.xid = 0x12345678;
    message.chaddr = HardwareAddress{from};
    message.ciaddr = ciaddr;
    auto& options = message.options;
    options.add_u8(option::message_type, static_cast<std::uint8_t>(type));
    if (!requested.is_unspecified()) {
        options.add_ip(option::requested_address, requested);
        options.add_ip(option::server_identifier, Ipv4(10, 0, 0, 1));
    }
    options.add_u16(option::max_message_size, 576);
    options.add(option::parameter_list, std::vector<std::uint8_t>{1, 3, 6, 12, 15, 28, 42});
    options.add_text(option::host_name, "vm" + std::to_string(from.bytes[4] * 256 + from.bytes[5]));
    options.add_text(option::vendor_class, "udhcp 1.35.0");
    std::vector<std::uint8_t> id{1};
    id.insert(id.end(), from.bytes.begin(), from.bytes.end());
    options.add(option::client_identifier, id);
    return build_frame(from, MacAddress::broadcast(), ciaddr, client_port, Ipv4(255, 255, 255, 255), server_port,
                       serialize(message, Room{}).bytes);
}

/// One packet, as the service does it but for the disk and the sockets. Its name is what callgrind collects.
__attribute__((noinline)) Ipv4 measured_packet(Server& server, Bytes bytes) {
    const auto datagram = parse_frame(bytes, ChecksumState::Verify);
    if (!datagram) std::abort();
    const auto message = parse(datagram->payload);
    if (!message) std::abort();
    Context context;
    context.ethernet_source = datagram->ethernet_source;
    context.broadcast = datagram->destination.is_broadcast();
    context.source = datagram->source;
    context.destination = datagram->destination;
    const Decision decision = decide(server.leases, server.config, server.reservations, *message, context, now);
    for (const auto& change : decision.changes)
        if (!server.leases.apply(change)) std::abort();
    (void)server.leases.take_changes();
    (void)decision.note.line();
    if (!decision.reply) std::abort();
    const Message reply = make_reply(server.config, *message, *decision.reply);
    const auto payload = serialize(reply, room(server.config, *message)).bytes;
    const Destination to = destination(*message, context, *decision.reply);
    server.sent += build_frame(ours, to.mac.value_or(ours), server.config.address.address, server_port, to.address,
                               to.port, payload)
                       .size();
    return decision.reply->address;
}

void report(const char* what, std::size_t leases, std::size_t count, std::chrono::steady_clock::duration time) {
    const auto each = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count() / static_cast<long>(count);
    std::printf("%-24s %6zu leases  %6ld ns\n", what, leases, each);
}

void run(std::size_t leases, std::size_t exchanges) {
    Server server;
    server.config.address = Cidr{Ipv4(10, 0, 0, 1), 15};
    server.config.range = {Ipv4(10, 0, 0, 2), Ipv4(10, 1, 255, 254)};
    server.config.dns_servers = {Ipv4(10, 0, 0, 1)};
    server.config.domain = "vm.internal";
    server.config.ping_check = false;
    server.leases = LeaseTable{server.config.range, 131072, 1234567};
    std::vector<Ipv4> addresses;
    for (std::uint32_t i = 0; i < leases; ++i) {
        const auto offered = measured_packet(server, frame(guest(i), MessageType::Discover, {}, {}));
        addresses.push_back(measured_packet(server, frame(guest(i), MessageType::Request, offered, {})));
    }
    using Clock = std::chrono::steady_clock;
    Clock::duration new_guests{};
    Clock::duration renewals{};
    for (std::uint32_t i = 0; i < exchanges; ++i) {
        const MacAddress from = guest(1'000'000 + i);
        const auto discover = frame(from, MessageType::Discover, {}, {});
        const auto start = Clock::now();
        const Ipv4 address = measured_packet(server, discover);
        const auto between = Clock::now();
        const auto request = frame(from, MessageType::Request, address, {});
        const auto again = Clock::now();
        measured_packet(server, request);
        new_guests += (between - start) + (Clock::now() - again);
        // The table keeps its size: the guest leaves again.
        server.leases.apply({Cause::Release, address, std::nullopt});
        (void)server.leases.take_changes();

        const std::uint32_t known = i * 7919U % static_cast<std::uint32_t>(leases);
        const auto renewal = frame(guest(known), MessageType::Request, {}, addresses[known]);
        const auto begin = Clock::now();
        measured_packet(server, renewal);
        renewals += Clock::now() - begin;
    }
    report("four-way exchange", leases, exchanges, new_guests);
    report("renewal", leases, exchanges, renewals);
}

}  // namespace

int main(int argc, char** argv) {
    const std::size_t exchanges = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 20000;
    if (argc > 1) {
        run(std::strtoul(argv[1], nullptr, 10), exchanges);
        return 0;
    }
    for (const std::size_t leases : {50UL, 50000UL}) run(leases, exchanges);
}
