// The two ends of a measurement of the DHCP service; tests/bench/dhcp_service.sh puts a cable between them.
//   dhcp_service_bench serve FOLDER [LEASES]         serves on "near"; FOLDER keeps the leases, LEASES of them are
//   there already dhcp_service_bench load COUNT GUESTS WINDOW      COUNT four-way exchanges of GUESTS guests on "far",
//   WINDOW at once
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <vector>

#include "dhcp/frame.hpp"
#include "dhcp/journal.hpp"
#include "dhcp/message.hpp"
#include "dhcp/service.hpp"
#include "src/base/log.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

struct Nobody final : Observer {
    void leases_changed(std::span<const AppliedChange>) override {}
    void noted(const Note&) override {}
    void server_seen(const OtherServer&) override {}
    void interface_failed(const Error&) override {}
};

MacAddress guest_mac(std::uint32_t number) {
    return MacAddress{{0x52, 0x54, 0, static_cast<std::uint8_t>(number >> 16), static_cast<std::uint8_t>(number >> 8),
                       static_cast<std::uint8_t>(number)}};
}

int serve(const std::string& folder, std::uint32_t leases) {
    log::set_level(log::Level::Warn);
    ServiceSetup setup;
    setup.config.address = *Cidr::parse("10.9.0.1/16");
    setup.config.range = {Ipv4(10, 9, 0, 2), Ipv4(10, 9, 255, 250)};
    setup.config.interface = "near";
    setup.config.ping_check = false;
    setup.config.max_leases_per_sender = 0;
    setup.paths = Paths::beside(folder + "/leases", "");
    if (leases > 0) {
        std::string journal = journal_header();
        for (std::uint32_t i = 0; i < leases; ++i) {
            Lease lease;
            lease.address = Ipv4{Ipv4(10, 9, 1, 0).value + i};
            lease.hardware = HardwareAddress(guest_mac(i));
            lease.expires = SystemClock{}.now() + Seconds{86400};
            journal += journal_line(lease);
        }
        if (!replace_file(setup.paths.journal, journal)) return 1;
    }
    auto sockets = open_sockets("near");
    if (!sockets) return std::fprintf(stderr, "%s\n", to_string(sockets.error()).c_str()), 1;
    setup.sockets = std::move(*sockets);

    asio::io_context io(1);
    SystemClock clock;
    SystemRandom random;
    Nobody observer;
    Service service(io.get_executor(), std::move(setup), clock, random, observer);
    service.load();
    asio::co_spawn(io, service.run(), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    io.run();
    return 0;
}

/// One end of the cable as many guests.
class Load {
public:
    explicit Load(std::uint32_t guests)
        : socket_(std::move(*open_packet_socket(if_nametoindex("far")))), guests_(guests) {}

    void discover() {
        const std::uint32_t guest = next_++ % guests_;
        send(guest, MessageType::Discover, {});
    }
    /// Takes what has come; the number of exchanges that ended.
    std::size_t step() {
        std::size_t ended = 0;
        std::array<std::uint8_t, 2048> buffer{};
        for (;;) {
            const auto got = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (got < 0) return ended;
            const auto datagram =
                parse_frame(Bytes(buffer).first(static_cast<std::size_t>(got)), ChecksumState::NotReady);
            if (!datagram || datagram->destination_port != client_port) continue;
            const auto reply = parse(datagram->payload);
            if (!reply) continue;
            if (reply->type() == MessageType::Offer) send(reply->xid, MessageType::Request, *reply);
            if (reply->type() == MessageType::Ack) ++ended;
        }
    }
    void wait() {
        pollfd waiting{socket_.get(), POLLIN, 0};
        if (poll(&waiting, 1, 1000) == 0) ++stalls;
    }
    int stalls = 0;

private:
    void send(std::uint32_t guest, MessageType type, const Message& offer) {
        Message message;
        message.xid = guest;
        message.flags = Message::broadcast_flag;
        message.chaddr = HardwareAddress(guest_mac(guest));
        message.options.add_u8(option::message_type, static_cast<std::uint8_t>(type));
        if (type == MessageType::Request) {
            message.options.add_ip(option::requested_address, offer.yiaddr);
            message.options.add_ip(option::server_identifier, *offer.server_identifier());
        }
        const auto payload = serialize(message, Room{}).bytes;
        const auto frame = build_frame(guest_mac(guest), MacAddress::broadcast(), {}, client_port,
                                       Ipv4(255, 255, 255, 255), server_port, payload);
        send_frame(socket_.get(), frame);
    }

    FileDescriptor socket_;
    std::uint32_t guests_;
    std::uint32_t next_ = 0;
};

int load(std::size_t count, std::uint32_t guests, std::size_t window) {
    Load load(guests);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < window; ++i) load.discover();
    for (std::size_t done = 0; done < count && load.stalls < 5;) {
        load.wait();
        const std::size_t ended = load.step();
        done += ended;
        for (std::size_t i = 0; i < ended; ++i) load.discover();
    }
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
    std::printf("%8.1f us an exchange%s", took.count() / static_cast<double>(count), load.stalls > 0 ? " STALLED" : "");
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const auto number = [&](std::size_t index) {
        return index < arguments.size() ? std::strtoul(arguments[index].c_str(), nullptr, 10) : 0;
    };
    if (arguments.size() >= 2 && arguments[0] == "serve")
        return serve(arguments[1], static_cast<std::uint32_t>(number(2)));
    if (arguments.size() == 4 && arguments[0] == "load")
        return load(number(1), static_cast<std::uint32_t>(number(2)), number(3));
    std::fprintf(stderr, "usage: dhcp_service_bench serve FOLDER [LEASES] | load COUNT GUESTS WINDOW\n");
    return 2;
}
