// Measures the DNS service beside other forwarders: tests/bench/dns.sh runs the parts of it.
//
//   dns_bench serve PORT UPSTREAM_PORT     the service on 127.0.66.1
//   dns_bench host ADDRESS/LENGTH DEVICE RESOLV_CONF   the service alone on a segment, as the lab tests want it
//   dns_bench bare PORT                    a responder that only turns the header round: what the kernel alone costs
//   dns_bench stub PORT [DELAY_MS]         an upstream on 127.0.0.1 that answers everything
//   dns_bench load ADDRESS PORT COUNT NAMES WINDOW   COUNT queries over NAMES names (0: each its own), WINDOW at once
//   dns_bench tcp ADDRESS PORT COUNT PIPELINE        the same over TCP, so many queries on a connection

#include <arpa/inet.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "dns/resolv.hpp"
#include "dns/service.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using Steady = std::chrono::steady_clock;

namespace {

constexpr std::size_t batch = 64;

class NoNames final : public Names {
public:
    [[nodiscard]] std::optional<Guest> guest(std::string_view) const override { return std::nullopt; }
    [[nodiscard]] std::string_view name_of(Ipv4) const override { return {}; }
};

class NoObserver final : public Observer {
public:
    [[nodiscard]] bool wants_queries() const override { return false; }
    void answered(const QueryEvent&) override {}
    void upstream_changed(const Endpoint& upstream, Health, Health now) override {
        std::fprintf(stderr, "%s is %s\n", to_string(upstream).c_str(), std::string{to_string(now)}.c_str());
    }
    void removed(Ipv4, const dns::Question&, const Answer&) override {}
    bool resolved(const Name&, std::span<const ResolvedAddress>, std::function<void()>) override { return true; }
};

sockaddr_in address(const char* ip, int port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(static_cast<std::uint16_t>(port));
    in.sin_addr.s_addr = ::inet_addr(ip);
    return in;
}

int udp_socket(const char* ip, int port) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
    const int size = 32 << 20;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    const auto in = address(ip, port);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0) {
        std::perror("bind");
        std::exit(1);
    }
    return fd;
}

int serve(std::uint16_t port, const std::string& upstream_port) {
    asio::io_context io{1};
    SystemRandom random;
    NoNames names;
    NoObserver observer;
    auto udp = open_udp_socket(Ipv4{127, 0, 66, 1}, "lo", port);
    auto tcp = open_tcp_socket(Ipv4{127, 0, 66, 1}, "lo", port);
    if (!udp || !tcp) {
        std::fprintf(stderr, "%s\n", to_string((udp ? tcp : udp).error()).c_str());
        return 1;
    }
    ServiceConfig config;
    config.local.domain = *Name::parse("vm.internal");
    config.local.segment = *Cidr::parse("127.0.66.1/24");
    config.local.own_name = "router";
    config.upstreams = {*Endpoint::parse("127.0.0.1:" + upstream_port)};
    config.admission.queries_per_second = 1e9;
    config.admission.burst = 1e9;
    Service service{io.get_executor(), std::move(*udp), std::move(*tcp), config, names, observer, random};
    PrefixSet blocked = always_blocked();
    blocked.finish();
    service.set_blocked(std::move(blocked));
    service.start();
    asio::signal_set stop{io, SIGTERM, SIGINT};
    stop.async_wait([&](auto, int) { io.stop(); });
    io.run();
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto counters = service.counters();
    std::fprintf(stderr, "user %ld.%06ld sys %ld.%06ld peak %ld KiB queries %lu cached %lu forwarded %lu failed %lu\n",
                 usage.ru_utime.tv_sec, usage.ru_utime.tv_usec, usage.ru_stime.tv_sec, usage.ru_stime.tv_usec,
                 usage.ru_maxrss, counters.queries, counters.cached, counters.forwarded, counters.failed);
    return 0;
}

/// The service on port 53 of a segment that somebody else has set up, with the upstreams of a resolv.conf.
int host(const std::string& segment, const std::string& device, const std::string& resolv_conf) {
    asio::io_context io{1};
    SystemRandom random;
    NoNames names;
    NoObserver observer;
    ServiceConfig config;
    config.local.segment = *Cidr::parse(segment);
    config.local.domain = *Name::parse("vm.internal");
    config.local.own_name = "vmrouter";
    auto udp = open_udp_socket(config.local.segment.address, device);
    auto tcp = open_tcp_socket(config.local.segment.address, device);
    if (!udp || !tcp) {
        std::fprintf(stderr, "%s\n", to_string((udp ? tcp : udp).error()).c_str());
        return 1;
    }
    ResolvWatcher watcher{io.get_executor(), resolv_conf};
    config.upstreams = watcher.current().nameservers;
    Service service{io.get_executor(), std::move(*udp), std::move(*tcp), config, names, observer, random};
    PrefixSet blocked = always_blocked();
    blocked.finish();
    service.set_blocked(std::move(blocked));
    service.start();
    const auto follow = [](ResolvWatcher& news, Service& dns) -> asio::awaitable<void> {
        for (;;) {
            const auto conf = co_await news.changed();
            dns.set_upstreams(conf.nameservers);
        }
    };
    asio::co_spawn(io, follow(watcher, service), [](std::exception_ptr) {});
    asio::signal_set stop{io, SIGTERM, SIGINT};
    stop.async_wait([&](auto, int) { io.stop(); });
    std::fprintf(stderr, "READY\n");
    io.run();
    return 0;
}

/// Answers every query with one A record, at once or after `delay`.
struct Responder {
    explicit Responder(int socket) : fd(socket) {
        for (std::size_t i = 0; i < batch; ++i) {
            parts[i] = {buffers[i].data(), buffers[i].size()};
            headers[i].msg_hdr.msg_iov = &parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
            headers[i].msg_hdr.msg_name = &from[i];
        }
    }
    unsigned receive(int flags) {
        for (std::size_t i = 0; i < batch; ++i) {
            parts[i].iov_len = buffers[i].size();
            headers[i].msg_hdr.msg_namelen = sizeof(sockaddr_in);
        }
        const int count = ::recvmmsg(fd, headers.data(), batch, flags, nullptr);
        return count > 0 ? static_cast<unsigned>(count) : 0;
    }
    int fd;
    std::array<std::array<std::uint8_t, 600>, batch> buffers{};
    std::array<iovec, batch> parts{};
    std::array<mmsghdr, batch> headers{};
    std::array<sockaddr_in, batch> from{};
};

int bare(int port) {
    static Responder responder{udp_socket("127.0.66.1", port)};
    for (;;) {
        const auto count = responder.receive(MSG_WAITFORONE);
        for (unsigned i = 0; i < count; ++i) {
            responder.buffers[i][2] |= 0x80;
            responder.parts[i].iov_len = responder.headers[i].msg_len + 16;  // as long as an answer
        }
        ::sendmmsg(responder.fd, responder.headers.data(), count, 0);
    }
}

int stub(int port, std::chrono::milliseconds delay) {
    static Responder responder{udp_socket("127.0.0.1", port)};
    struct Late {
        Steady::time_point due;
        sockaddr_in to;
        std::vector<std::uint8_t> packet;
    };
    std::deque<Late> late;
    constexpr std::array<std::uint8_t, 16> record{0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 8, 8, 8, 8};
    for (;;) {
        pollfd wait{responder.fd, POLLIN, 0};
        ::poll(&wait, 1, late.empty() ? -1 : 1);
        while (!late.empty() && late.front().due <= Steady::now()) {
            const auto& one = late.front();
            ::sendto(responder.fd, one.packet.data(), one.packet.size(), 0, reinterpret_cast<const sockaddr*>(&one.to),
                     sizeof one.to);
            late.pop_front();
        }
        const auto count = responder.receive(MSG_DONTWAIT);
        for (unsigned i = 0; i < count; ++i) {
            auto& packet = responder.buffers[i];
            std::size_t end = 12;
            while (end < 300 && packet[end] != 0) end += packet[end] + std::size_t{1};
            end += 5;
            packet[2] = 0x81;
            packet[3] = 0x80;
            std::memset(packet.data() + 6, 0, 6);
            packet[7] = 1;
            std::memcpy(packet.data() + end, record.data(), record.size());
            responder.parts[i].iov_len = end + record.size();
            if (delay.count() > 0)
                late.push_back({Steady::now() + delay,
                                responder.from[i],
                                {packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(end + record.size())}});
        }
        if (delay.count() == 0 && count > 0) ::sendmmsg(responder.fd, responder.headers.data(), count, 0);
    }
}

std::size_t make_query(std::uint8_t* out, std::uint16_t id, std::size_t number) {
    Writer writer{{out, 300}};
    writer.u16(id);
    writer.u16(0x0100);
    writer.u16(1);
    writer.u32(0);
    writer.u16(0);
    const auto label = "host" + std::to_string(number);
    writer.u8(static_cast<std::uint8_t>(label.size()));
    writer.text(label);
    writer.text(std::string_view{"\7example\3com\0", 13});
    writer.u16(1);
    writer.u16(1);
    return writer.position();
}

/// Keeps `window` queries out; repeats none. Eight sockets, so that ids do not run out.
int load(const char* ip, int port, std::size_t count, std::size_t names, std::size_t window) {
    constexpr std::size_t sockets = 8;
    static std::array<Responder*, sockets> clients;
    for (auto& client : clients) {
        client = new Responder{udp_socket("127.0.66.2", 0)};
        const auto to = address(ip, port);
        ::connect(client->fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    }
    static std::array<std::array<std::uint8_t, 300>, batch> out;
    std::array<iovec, batch> parts{};
    std::array<mmsghdr, batch> headers{};
    std::size_t sent = 0;
    std::size_t received = 0;
    const auto begin = Steady::now();
    auto last = begin;
    while (received < count && Steady::now() - last < std::chrono::seconds{2}) {
        for (auto* client : clients) {
            std::size_t n = 0;
            while (n < batch && sent < count && sent - received < window) {
                const auto size = make_query(out[n].data(), static_cast<std::uint16_t>(sent / sockets),
                                             names == 0 ? sent : sent % names);
                parts[n] = {out[n].data(), size};
                headers[n] = {};
                headers[n].msg_hdr.msg_iov = &parts[n];
                headers[n].msg_hdr.msg_iovlen = 1;
                ++n;
                ++sent;
            }
            if (n > 0) ::sendmmsg(client->fd, headers.data(), static_cast<unsigned>(n), 0);
        }
        std::array<pollfd, sockets> wait;
        for (std::size_t i = 0; i < sockets; ++i) wait[i] = {clients[i]->fd, POLLIN, 0};
        ::poll(wait.data(), sockets, 100);
        for (auto* client : clients) {
            while (const auto got = client->receive(MSG_DONTWAIT)) {
                received += got;
                last = Steady::now();
            }
        }
    }
    const auto took = std::chrono::duration<double>(last - begin).count();
    std::printf("sent %zu answered %zu in %.3f s: %.0f/s\n", sent, received, took,
                static_cast<double>(received) / took);
    return received == sent ? 0 : 1;
}

int tcp(const char* ip, int port, std::size_t count, std::size_t pipeline) {
    const auto to = address(ip, port);
    const auto from = address("127.0.66.2", 0);
    const auto begin = Steady::now();
    std::size_t received = 0;
    std::vector<std::uint8_t> out;
    std::array<std::uint8_t, 65536> in;
    for (std::size_t number = 0; number < count;) {
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        ::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from);
        if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
            std::perror("connect");
            return 1;
        }
        out.clear();
        std::size_t queries = 0;
        for (; queries < pipeline && number < count; ++queries, ++number) {
            std::array<std::uint8_t, 300> query;
            const auto size = make_query(query.data(), static_cast<std::uint16_t>(number), number % 100);
            out.push_back(0);
            out.push_back(static_cast<std::uint8_t>(size));
            out.insert(out.end(), query.begin(), query.begin() + static_cast<std::ptrdiff_t>(size));
        }
        if (::send(fd, out.data(), out.size(), MSG_NOSIGNAL) < 0) return 1;
        std::size_t have = 0;
        std::size_t answered = 0;
        while (answered < queries) {
            const auto got = ::recv(fd, in.data() + have, in.size() - have, 0);
            if (got <= 0) break;
            have += static_cast<std::size_t>(got);
            std::size_t position = 0;
            while (have - position >= 2 && have - position >= 2U + in[position + 1] + 256U * in[position]) {
                position += 2U + in[position + 1] + 256U * in[position];
                ++answered;
            }
            std::memmove(in.data(), in.data() + position, have - position);
            have -= position;
        }
        received += answered;
        ::close(fd);
    }
    const auto took = std::chrono::duration<double>(Steady::now() - begin).count();
    std::printf("sent %zu answered %zu in %.3f s: %.0f/s\n", count, received, took,
                static_cast<double>(received) / took);
    return received == count ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const auto number = [&](std::size_t i, unsigned long fallback = 0) {
        return i < arguments.size() ? std::stoul(arguments[i]) : fallback;
    };
    if (arguments.size() >= 3 && arguments[0] == "serve")
        return serve(static_cast<std::uint16_t>(number(1)), arguments[2]);
    if (arguments.size() >= 4 && arguments[0] == "host") return host(arguments[1], arguments[2], arguments[3]);
    if (arguments.size() >= 2 && arguments[0] == "bare") return bare(static_cast<int>(number(1)));
    if (arguments.size() >= 2 && arguments[0] == "stub")
        return stub(static_cast<int>(number(1)), std::chrono::milliseconds{number(2)});
    if (arguments.size() >= 6 && arguments[0] == "load")
        return load(arguments[1].c_str(), static_cast<int>(number(2)), number(3), number(4), number(5));
    if (arguments.size() >= 5 && arguments[0] == "tcp")
        return tcp(arguments[1].c_str(), static_cast<int>(number(2)), number(3), number(4));
    std::fprintf(stderr, "usage: dns_bench serve|host|bare|stub|load|tcp ...\n");
    return 2;
}
