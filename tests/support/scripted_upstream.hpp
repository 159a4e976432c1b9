#pragma once

// A resolver that does what a test says: answers, is slow, dead or silent, lies, truncates. Its sockets are real ones
// on 127.0.0.1, in the test's own io_context.

#include <array>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/udp.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dns/endpoint.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

using Packet = std::vector<std::uint8_t>;

/// The response to `query` with this rcode, and an A record 192.0.2.1 (TTL 300) when it is NOERROR and `records` says
/// so. The OPT of the query is not returned.
inline Packet make_response(Bytes query, std::uint8_t rcode = 0, bool records = true) {
    std::size_t end = 12;
    while (end < query.size() && query[end] != 0) end += query[end] + std::size_t{1};
    end += 5;
    Packet packet(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(std::min(end, query.size())));
    packet[2] = static_cast<std::uint8_t>(0x80 | (query[2] & 1));
    packet[3] = static_cast<std::uint8_t>(0x80 | rcode);
    for (std::size_t i = 6; i < 12; ++i) packet[i] = 0;
    if (rcode == 0 && records) {
        packet[7] = 1;
        for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 192, 0, 2, 1})
            packet.push_back(static_cast<std::uint8_t>(byte));
    }
    return packet;
}

inline bool is_health_probe(Bytes query) {
    return query.size() > 14 && query[12] == 0 && query[14] == 2;
}

inline bool is_loop_probe(Bytes query) {
    const std::string text{query.begin(), query.end()};
    return text.find("vmrouter-loop") != std::string::npos;
}

class ScriptedUpstream {
public:
    struct Asked {
        Packet query;
        bool tcp = false;
        std::uint16_t port = 0;
    };
    struct Answer {
        Packet packet;
        std::chrono::milliseconds delay{0};
    };
    using Script = std::function<std::optional<Answer>(const Asked&)>;

    explicit ScriptedUpstream(asio::io_context& io, std::uint16_t port = 0) : io_(io), udp_(io), tcp_(io) {
        const auto local = open(port);
        udp_.set_option(asio::socket_base::receive_buffer_size(8 << 20));
        endpoint = *Endpoint::parse("127.0.0.1:" + std::to_string(local));
        script = [](const Asked& asked) { return Answer{make_response(asked.query)}; };
        receive();
        accept();
    }

    Endpoint endpoint;
    Script script;              ///< nullopt: no answer
    std::size_t questions = 0;  ///< without probes
    std::size_t probes = 0;
    std::vector<Packet> loop_probes;
    std::size_t over_tcp = 0;
    std::set<std::uint16_t> ports;
    std::set<std::uint16_t> ids;
    std::vector<Packet> log;  ///< the first thousand questions

    void answer_with(std::uint8_t rcode) {
        script = [rcode](const Asked& asked) { return Answer{make_response(asked.query, rcode)}; };
    }
    void be_silent() {
        script = [](const Asked&) { return std::nullopt; };
    }
    void be_slow(std::chrono::milliseconds delay) {
        script = [delay](const Asked& asked) { return Answer{make_response(asked.query), delay}; };
    }
    /// Closes the sockets: the kernel answers with ICMP and RST.
    void die() {
        udp_.close();
        tcp_.close();
    }
    void refuse_tcp() { tcp_.close(); }
    void send_raw(Bytes packet, std::uint16_t port) {
        udp_.send_to(asio::buffer(packet.data(), packet.size()), {asio::ip::address_v4::loopback(), port});
    }

private:
    /// Both sockets on one port; a free one of UDP may be taken for TCP, by a connection of this very test.
    std::uint16_t open(std::uint16_t port) {
        for (int attempts = 0;; ++attempts) {
            udp_ = {io_, {asio::ip::address_v4::loopback(), port}};
            const auto local = udp_.local_endpoint().port();
            tcp_ = asio::ip::tcp::acceptor(io_, asio::ip::tcp::v4());
            tcp_.set_option(asio::ip::tcp::acceptor::reuse_address(true));
            asio::error_code error;
            tcp_.bind({asio::ip::address_v4::loopback(), local}, error);
            if (error && port == 0 && attempts < 100) continue;
            asio::detail::throw_error(error, "bind");
            tcp_.listen();
            return local;
        }
    }

    std::optional<Answer> ask(Asked asked) {
        if (is_health_probe(asked.query)) {
            ++probes;
        } else if (is_loop_probe(asked.query)) {
            loop_probes.push_back(asked.query);
        } else {
            ++questions;
            over_tcp += asked.tcp ? 1 : 0;
            if (!asked.tcp) ports.insert(asked.port);
            ids.insert(static_cast<std::uint16_t>(asked.query[0] << 8 | asked.query[1]));
            if (log.size() < 1000) log.push_back(asked.query);
        }
        return script(asked);
    }

    void receive() {
        udp_.async_wait(asio::ip::udp::socket::wait_read, [this](const asio::error_code& error) {
            if (error) return;
            udp_.non_blocking(true);
            asio::error_code none;
            for (int i = 0; i < 64; ++i) {
                asio::ip::udp::endpoint from;
                const auto size = udp_.receive_from(asio::buffer(buffer_), from, 0, none);
                if (none) break;
                const auto answer = ask(
                    {Packet(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(size)), false, from.port()});
                if (!answer) continue;
                if (answer->delay.count() == 0) {
                    udp_.send_to(asio::buffer(answer->packet), from, 0, none);
                    continue;
                }
                auto timer = std::make_shared<asio::steady_timer>(io_, answer->delay);
                timer->async_wait([this, timer, from, packet = answer->packet](const asio::error_code& stopped) {
                    asio::error_code ignored;
                    if (!stopped && udp_.is_open()) udp_.send_to(asio::buffer(packet), from, 0, ignored);
                });
            }
            receive();
        });
    }

    void accept() {
        tcp_.async_accept([this](const asio::error_code& error, asio::ip::tcp::socket socket) {
            if (error) return;
            asio::co_spawn(io_, serve(std::move(socket)), [](std::exception_ptr) {});
            accept();
        });
    }

    asio::awaitable<void> serve(asio::ip::tcp::socket socket) {
        for (;;) {
            std::array<std::uint8_t, 2> length{};
            co_await asio::async_read(socket, asio::buffer(length), asio::use_awaitable);
            Packet query(static_cast<std::size_t>(length[0] << 8 | length[1]));
            co_await asio::async_read(socket, asio::buffer(query), asio::use_awaitable);
            auto answer = ask({query, true, socket.remote_endpoint().port()});
            if (!answer) continue;
            if (answer->delay.count() > 0) {
                asio::steady_timer timer{io_, answer->delay};
                co_await timer.async_wait(asio::use_awaitable);
            }
            Packet framed{static_cast<std::uint8_t>(answer->packet.size() >> 8),
                          static_cast<std::uint8_t>(answer->packet.size())};
            framed.insert(framed.end(), answer->packet.begin(), answer->packet.end());
            co_await asio::async_write(socket, asio::buffer(framed), asio::use_awaitable);
        }
    }

    asio::io_context& io_;
    asio::ip::udp::socket udp_;
    asio::ip::tcp::acceptor tcp_;
    std::array<std::uint8_t, 4096> buffer_{};
};

}  // namespace vmrouter::dns
