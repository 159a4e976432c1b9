#pragma once

// A resolver on the loopback device, with scripted upstreams behind it and guests before it, in one thread.

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/service.hpp"
#include "tests/support/loop.hpp"
#include "tests/support/scripted_upstream.hpp"
#include "tests/unit/dns/fake_names.hpp"

namespace vmrouter::dns::test {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

// Guests of these tests are 127.0.66.2 and following; we are 127.0.66.1 on the loopback device.
inline constexpr Ipv4 our_address{127, 0, 66, 1};

class FakeObserver final : public Observer {
public:
    [[nodiscard]] bool wants_queries() const override { return true; }
    void answered(const QueryEvent& event) override {
        events.push_back(to_string(event.client) + (event.tcp ? " tcp " : " ") + to_string(event.question.name) + " " +
                         to_string(event.question.type) + " " + to_string(event.rcode) + " " +
                         std::string{to_string(event.source)});
    }
    void upstream_changed(const Endpoint&, Health, Health now) override { health.push_back(now); }
    void removed(Ipv4 client, const dns::Question& question, const Answer&) override {
        rebound.push_back(to_string(client) + " " + to_string(question.name));
    }
    bool resolved(const Name&, std::span<const ResolvedAddress> addresses, std::function<void()> then) override {
        for (const auto& one : addresses) reached.push_back(one.address);
        if (!slow) return true;
        held.push_back(std::move(then));
        return false;
    }
    std::vector<std::string> events;
    std::vector<Health> health;
    std::vector<std::string> rebound;
    std::vector<Ipv4> reached;
    std::vector<std::function<void()>> held;
    bool slow = false;
};

inline sockaddr_in address(Ipv4 ip, std::uint16_t port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(ip.value);
    return in;
}

inline std::uint16_t port_of(int fd) {
    sockaddr_in in{};
    socklen_t size = sizeof in;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
    return ntohs(in.sin_port);
}

struct Ask {
    std::string name = "www.example.com";
    Type type = Type::A;
    std::uint16_t id = 7;
    bool edns = false;
    std::uint16_t udp_size = 1232;
    Class klass = Class::In;
};

inline Packet make_query(const Ask& ask) {
    Packet packet(600);
    Writer writer{packet};
    writer.u16(ask.id);
    writer.u16(0x0100);
    writer.u16(1);
    writer.u32(0);
    writer.u16(ask.edns ? 1 : 0);
    writer.bytes(Name::parse(ask.name)->wire());
    writer.u16(static_cast<std::uint16_t>(ask.type));
    writer.u16(static_cast<std::uint16_t>(ask.klass));
    if (ask.edns) {
        writer.u8(0);
        writer.u16(41);
        writer.u16(ask.udp_size);
        writer.u32(0);
        writer.u16(0);
    }
    packet.resize(writer.position());
    return packet;
}

inline Packet framed(Packet packet) {
    packet.insert(packet.begin(),
                  {static_cast<std::uint8_t>(packet.size() >> 8), static_cast<std::uint8_t>(packet.size())});
    return packet;
}

inline int rcode(const Packet& packet) {
    return packet.size() > 3 ? packet[3] & 15 : -1;
}
inline int id(const Packet& packet) {
    return packet.size() > 1 ? packet[0] << 8 | packet[1] : -1;
}
inline int answers(const Packet& packet) {
    return packet.size() > 7 ? packet[6] << 8 | packet[7] : -1;
}

/// A guest's UDP socket.
class Guest {
public:
    explicit Guest(std::uint16_t server_port, Ipv4 ip = Ipv4{127, 0, 66, 2})
        : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
        const auto own = address(ip, 0);
        REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
        const auto server = address(our_address, server_port);
        REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) == 0);
        const int size = 4 << 20;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    }
    void send(const Packet& packet) { ::send(fd_.get(), packet.data(), packet.size(), 0); }
    std::optional<Packet> receive() {
        Packet packet(65536);
        const auto size = ::recv(fd_.get(), packet.data(), packet.size(), 0);
        if (size < 0) return std::nullopt;
        packet.resize(static_cast<std::size_t>(size));
        return packet;
    }

private:
    FileDescriptor fd_;
};

/// A guest's TCP connection.
class Stream {
public:
    explicit Stream(std::uint16_t server_port, Ipv4 ip = Ipv4{127, 0, 66, 2}) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        const auto own = address(ip, 0);
        ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own);
        const auto server = address(our_address, server_port);
        connected = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) == 0;
    }
    ssize_t send(const Packet& packet) {
        return ::send(fd_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    void finish() { ::shutdown(fd_.get(), SHUT_WR); }
    /// The next whole message, if it has come.
    std::optional<Packet> receive() {
        std::array<std::uint8_t, 65536> buffer;
        while (true) {
            const auto size = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (size == 0 || (size < 0 && errno != EAGAIN)) closed = true;
            if (size <= 0) break;
            in_.insert(in_.end(), buffer.begin(), buffer.begin() + size);
        }
        if (in_.size() < 2) return std::nullopt;
        const auto size = static_cast<std::size_t>(in_[0] << 8 | in_[1]);
        if (in_.size() < size + 2) return std::nullopt;
        Packet packet(in_.begin() + 2, in_.begin() + 2 + static_cast<std::ptrdiff_t>(size));
        in_.erase(in_.begin(), in_.begin() + 2 + static_cast<std::ptrdiff_t>(size));
        return packet;
    }
    bool connected = false;
    bool closed = false;

private:
    FileDescriptor fd_;
    Packet in_;
};

/// A clock of a machine that sleeps.
class SleepyClock final : public Clock {
public:
    [[nodiscard]] Time now() const override { return system_clock.now() + slept; }
    [[nodiscard]] Monotonic monotonic() const override { return system_clock.monotonic(); }
    [[nodiscard]] Monotonic boottime() const override { return system_clock.monotonic() + slept; }
    Milliseconds slept{0};
};

struct Lab : vmrouter::test::Loop {
    SleepyClock clock;
    SystemRandom random;
    FakeNames names;
    FakeObserver observer;
    std::vector<std::unique_ptr<ScriptedUpstream>> servers;
    ServiceConfig config;
    std::optional<Service> service;
    std::uint16_t port = 0;

    explicit Lab(std::size_t upstreams = 1) {
        for (std::size_t i = 0; i < upstreams; ++i) {
            servers.push_back(std::make_unique<ScriptedUpstream>(io));
            config.upstreams.push_back(servers.back()->endpoint);
        }
        names.guests["vm1"] = {Ipv4{127, 0, 66, 2}, false};
        config.local.domain = *Name::parse("vm.internal");
        config.local.segment = Cidr{our_address, 24};
        config.local.own_name = "router";
    }
    void start() {
        auto [udp, tcp] = open_sockets();
        service.emplace(io.get_executor(), std::move(udp), std::move(tcp), config, names, observer, random, clock);
        PrefixSet blocked = always_blocked();
        blocked.finish();
        service->set_blocked(blocked);
        service->start();
        run(20ms);  // the loop probes
    }
    /// Both on one port, `port` from here on; a free one of UDP may be taken for TCP.
    std::pair<FileDescriptor, FileDescriptor> open_sockets() {
        for (int attempts = 0; attempts < 100; ++attempts) {
            auto udp = open_udp_socket(our_address, "lo", 0);
            REQUIRE(udp);
            port = port_of(udp->get());
            if (auto tcp = open_tcp_socket(our_address, "lo", port)) return {std::move(*udp), std::move(*tcp)};
        }
        FAIL("no port is free for UDP and TCP");
        return {};
    }
    ScriptedUpstream& server(std::size_t i = 0) { return *servers[i]; }
    template <class Socket>
    Packet answer(Socket& socket, std::chrono::milliseconds limit = 6000ms) {
        std::optional<Packet> packet;
        run_until([&] { return (packet = socket.receive()).has_value(); }, limit);
        return packet.value_or(Packet{});
    }
    Packet ask(const Ask& what = {}) {
        Guest guest{port};
        guest.send(make_query(what));
        return answer(guest);
    }
};

}  // namespace vmrouter::dns::test
