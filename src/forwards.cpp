#include "src/forwards.hpp"

#include <algorithm>

namespace vmrouter {
namespace {

constexpr Ipv4 loopback{127, 0, 0, 1};

firewall::Protocol to_policy(conf::Protocol protocol) {
    return protocol == conf::Protocol::Tcp ? firewall::Protocol::Tcp : firewall::Protocol::Udp;
}

/// Where the relay of a forward listens; nullopt when only the firewall serves it.
std::optional<Ipv4> relay_address(const conf::Forward::Listen& listen) {
    if (!listen.address || listen.address->is_unspecified()) return loopback;
    if (listen.address->is_loopback()) return listen.address;
    return std::nullopt;
}

bool same(const conf::Forward& a, const conf::Forward& b) {
    return a.listen == b.listen && a.guest == b.guest && a.port == b.port;
}

}  // namespace

Forwards::Forwards(asio::any_io_executor executor, Privileged& privileged, Resolve resolve)
    : executor_(std::move(executor)), privileged_(privileged), resolve_(std::move(resolve)) {}

Result<void> Forwards::set(const std::vector<conf::Forward>& forwards) {
    forwards_ = forwards;
    std::erase_if(relays_, [&](const Relay& relay) {
        return std::none_of(forwards.begin(), forwards.end(),
                            [&](const auto& one) { return same(one, relay.forward); });
    });
    for (const auto& forward : forwards) {
        const auto is_open = [&](const Relay& relay) { return same(relay.forward, forward); };
        if (!relay_address(forward.listen) || std::any_of(relays_.begin(), relays_.end(), is_open)) continue;
        auto relay = open(forward);
        if (!relay) return Failure{std::move(relay).error()};
        relays_.push_back(std::move(*relay));
    }
    return {};
}

Result<Forwards::Relay> Forwards::open(const conf::Forward& forward) {
    auto socket = privileged_.open_relay_socket(to_policy(forward.listen.protocol), *relay_address(forward.listen),
                                                forward.listen.port);
    if (!socket) return Failure{std::move(socket).error()};
    const RelayTarget target = [resolve = resolve_, guest = forward.guest] { return resolve(guest); };
    Relay relay{forward, nullptr, nullptr};
    if (forward.listen.protocol == conf::Protocol::Tcp)
        relay.tcp = std::make_unique<TcpRelay>(executor_, std::move(*socket), target, forward.port);
    else
        relay.udp = std::make_unique<UdpRelay>(executor_, std::move(*socket), target, forward.port);
    return relay;
}

std::vector<firewall::Forward> translations(const std::vector<conf::Forward>& forwards, const ResolveGuest& resolve) {
    std::vector<firewall::Forward> out;
    for (const auto& forward : forwards) {
        if (!forward.listen.address || forward.listen.address->is_loopback()) continue;
        const auto guest = resolve(forward.guest);
        if (!guest) continue;
        out.push_back(
            {{to_policy(forward.listen.protocol), forward.listen.port}, *forward.listen.address, *guest, forward.port});
    }
    return out;
}

}  // namespace vmrouter
