#pragma once

// A segment for tests of the service: a cable in a network namespace, the server at one end ("near"), made-up guests at
// the other ("far"). Guests speak and hear whole frames, and verify every checksum as a strict client does.

#include <net/if.h>

#include <sys/socket.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dhcp/arp.hpp"
#include "dhcp/frame.hpp"
#include "dhcp/journal.hpp"
#include "dhcp/lease_file.hpp"
#include "dhcp/message.hpp"
#include "dhcp/packet_socket.hpp"
#include "dhcp/service.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "tests/unit/dhcp/io_support.hpp"

namespace vmrouter::dhcp::test {

inline const Ipv4 server_address(192, 168, 100, 1);

inline MacAddress guest_mac(std::uint16_t number) {
    return MacAddress{{0x52, 0x54, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}};
}

inline ServerConfig server_config() {
    ServerConfig config;
    config.address = *Cidr::parse("192.168.100.1/24");
    config.range = {Ipv4(192, 168, 100, 2), Ipv4(192, 168, 100, 254)};
    config.interface = "near";
    config.dns_servers = {server_address};
    config.domain = "vm.internal";
    config.max_leases_per_port = 0;
    config.max_leases_per_sender = 0;
    return config;
}

/// A clock whose wall time can be set, as NTP does, and that can sleep.
class SettableClock final : public Clock {
public:
    [[nodiscard]] Time now() const override { return system_.now() + offset; }
    [[nodiscard]] Monotonic monotonic() const override { return system_.monotonic(); }
    [[nodiscard]] Monotonic boottime() const override { return system_.monotonic() + slept; }
    void sleep(Milliseconds time) {
        offset += time;
        slept += time;
    }
    Milliseconds offset{0};
    Milliseconds slept{0};

private:
    SystemClock system_;
};

class RecordingObserver final : public Observer {
public:
    void leases_changed(std::span<const AppliedChange> changes) override {
        for (const auto& change : changes) all.push_back(change);
        if (on_change) on_change();
    }
    void noted(const Note& note) override { notes.push_back(note.line()); }
    void server_seen(const OtherServer& server) override { servers.push_back(server); }
    void interface_failed(const Error& error) override { failures.push_back(error); }

    std::vector<AppliedChange> all;
    std::vector<std::string> notes;
    std::vector<OtherServer> servers;
    std::vector<Error> failures;
    std::function<void()> on_change;
};

/// A reply as a guest received it.
struct Heard {
    Datagram datagram;
    Message message;
    Milliseconds at{0};  ///< since the segment was made
};

/// The guests' end.
class Guests {
public:
    explicit Guests(const std::string& interface)
        : socket_(std::move(*open_packet_socket(if_nametoindex(interface.c_str())))),
          arp_(std::move(*open_probe_socket(if_nametoindex(interface.c_str())))) {}

    Message message(MessageType type, const MacAddress& mac) {
        Message result;
        result.xid = ++xid_;
        result.flags = Message::broadcast_flag;
        result.chaddr = HardwareAddress(mac);
        result.options.add_u8(option::message_type, static_cast<std::uint8_t>(type));
        return result;
    }
    void send(const Message& message, Ipv4 source = {}, Ipv4 destination = {255, 255, 255, 255}) {
        const auto payload = serialize(message, Room{}).bytes;
        const auto mac = message.chaddr.mac().value_or(MacAddress{});
        const auto frame =
            build_frame(mac, MacAddress::broadcast(), source, client_port, destination, server_port, payload);
        REQUIRE(send_frame(socket_.get(), frame) == 0);
    }
    void discover(const MacAddress& mac) { send(message(MessageType::Discover, mac)); }
    void request(const MacAddress& mac, Ipv4 address) {
        Message request = message(MessageType::Request, mac);
        request.options.add_ip(option::requested_address, address);
        request.options.add_ip(option::server_identifier, server_address);
        send(request);
    }
    void renew(const MacAddress& mac, Ipv4 address) {
        Message request = message(MessageType::Request, mac);
        request.ciaddr = address;
        send(request, address, server_address);
    }
    /// An ARP reply: "I have it".
    void claim(const MacAddress& mac, Ipv4 address) {
        std::vector<std::uint8_t> frame = arp_probe(mac, server_address);
        frame[21] = 2;
        for (std::size_t i = 0; i < 4; ++i) frame[28 + i] = static_cast<std::uint8_t>(address.value >> (24 - 8 * i));
        REQUIRE(send_frame(arp_.get(), frame) == 0);
    }
    /// The addresses that were asked for by ARP since the last call.
    std::vector<Ipv4> asked() {
        std::vector<Ipv4> addresses;
        while (batch_.receive(arp_.get()) == 0)
            for (const auto& frame : batch_.frames())
                if (const auto packet = parse_arp(frame.bytes)) addresses.push_back(packet->target);
        return addresses;
    }
    /// The replies since the last call, to whatever hardware address; one with a wrong checksum fails the test.
    std::vector<Heard> replies() {
        std::vector<Heard> heard;
        std::array<std::uint8_t, 2048> buffer{};
        for (;;) {
            const auto got = recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (got < 0) return heard;
            const auto datagram =
                parse_frame(Bytes(buffer).first(static_cast<std::size_t>(got)), ChecksumState::Verify);
            if (datagram && datagram->destination_port == server_port && datagram->source_port != server_port) continue;
            REQUIRE(datagram);
            const auto reply = parse(datagram->payload);
            REQUIRE(reply);
            heard.push_back({*datagram, *reply, Milliseconds{0}});
            heard.back().datagram.payload = {};
        }
    }

private:
    FileDescriptor socket_;
    FileDescriptor arp_;
    FrameBatch batch_{64};
    std::uint32_t xid_ = 1000;
};

inline void make_cable() {
    plug_cable();
    shell("ip link set lo up && ip link set far promisc on && ip addr add 192.168.100.1/24 dev near");
}

/// A server and its guests in one thread.
struct Segment {
    using FindPort = std::function<unsigned(const MacAddress&)>;

    explicit Segment(ServerConfig config = server_config(), std::vector<HostEntry> hosts = {}, FindPort ports = {})
        : find_port(std::move(ports)) {
        make_cable();
        guests.emplace("far");
        start(std::move(config), std::move(hosts));
    }
    ~Segment() {
        if (service) stop();
    }

    void start(ServerConfig config = server_config(), std::vector<HostEntry> hosts = {}) {
        ServiceSetup setup;
        setup.config = std::move(config);
        setup.hosts = std::move(hosts);
        setup.paths = Paths::beside(folder / "leases", folder / "hostsfile");
        setup.sockets = std::move(*open_sockets("near"));
        setup.find_port = find_port;
        setup.most_waiting = most_waiting;
        service = std::make_unique<Service>(io.get_executor(), std::move(setup), clock, random, observer);
        service->load();
        asio::co_spawn(io, service->run(), [](std::exception_ptr error) {
            if (error) std::rethrow_exception(error);
        });
    }
    void stop() {
        const auto stopping = [&]() -> asio::awaitable<void> { co_await service->stop(); };
        finish(io, stopping());
        service.reset();
    }

    /// Runs the server and collects replies until `enough` says so or the time is over.
    std::vector<Heard> run(Milliseconds limit, const std::function<bool(const std::vector<Heard>&)>& enough = {}) {
        std::vector<Heard> all;
        const auto begin = std::chrono::steady_clock::now();
        for (;;) {
            io.restart();
            io.run_for(Milliseconds{1});
            const auto passed = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - begin);
            for (auto& heard : guests->replies()) {
                heard.at = passed;
                all.push_back(std::move(heard));
            }
            if ((enough && enough(all)) || passed >= limit) return all;
        }
    }
    /// The next reply to a guest; fails when there is none in time.
    Heard next(const MacAddress& mac, Milliseconds limit = Milliseconds{5000}) {
        std::optional<Heard> found;
        run(limit, [&](const std::vector<Heard>& all) {
            for (const auto& heard : all)
                if (heard.message.chaddr.mac() == mac) found = heard;
            return found.has_value();
        });
        REQUIRE(found);
        return *found;
    }
    /// A whole exchange; the address.
    Ipv4 lease(const MacAddress& mac) {
        guests->discover(mac);
        const Heard offer = next(mac);
        REQUIRE(offer.message.type() == MessageType::Offer);
        guests->request(mac, offer.message.yiaddr);
        const Heard ack = next(mac);
        REQUIRE(ack.message.type() == MessageType::Ack);
        CHECK(ack.message.yiaddr == offer.message.yiaddr);
        return ack.message.yiaddr;
    }
    bool silent(Milliseconds time = Milliseconds{250}) { return run(time).empty(); }

    FindPort find_port;
    std::size_t most_waiting = ServiceSetup{}.most_waiting;
    TemporaryFolder folder;
    asio::io_context io;
    SettableClock clock;
    SystemRandom random;
    RecordingObserver observer;
    std::optional<Guests> guests;
    std::unique_ptr<Service> service;
};

inline const MacAddress guest = guest_mac(1);
inline const MacAddress squatter = guest_mac(0xeeee);

inline std::vector<Lease> leases_on_disk(Segment& segment) {
    return load_leases(Paths::beside(segment.folder / "leases", segment.folder / "hostsfile"));
}

inline bool journal_has(Segment& segment, Ipv4 address) {
    std::optional<Lease> last;
    for (const auto& record : parse_journal(*read_file(segment.folder / "leases.journal")).records)
        if (record.address == address) last = record.lease;
    return last.has_value();
}

}  // namespace vmrouter::dhcp::test
