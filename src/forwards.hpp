#pragma once

// Published ports ([[firewall.forward]]): who they lead to right now, the relays that serve the host's own loopback,
// and the translations that the firewall makes for everybody else.

#include <asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "conf/config.hpp"
#include "firewall/policy.hpp"
#include "src/base/result.hpp"
#include "src/privileged.hpp"
#include "src/relay.hpp"

namespace vmrouter {

/// The address that a reserved name, a MAC or an address has now; nullopt while the guest has none.
using ResolveGuest = std::function<std::optional<Ipv4>(const decltype(conf::Forward::guest)&)>;

/// What the firewall translates: forwards on addresses of the host other than loopback, to guests that have an address.
std::vector<firewall::Forward> translations(const std::vector<conf::Forward>& forwards, const ResolveGuest& resolve);

class Forwards {
public:
    using Resolve = ResolveGuest;

    Forwards(asio::any_io_executor executor, Privileged& privileged, Resolve resolve);

    /// Opens a relay for every forward that the host's loopback reaches, and closes those that are gone. On an error
    /// the relays that could be opened stay; call again or destroy.
    Result<void> set(const std::vector<conf::Forward>& forwards);

    /// Those of the forwards that are set, as they are now.
    [[nodiscard]] std::vector<firewall::Forward> translations() const {
        return vmrouter::translations(forwards_, resolve_);
    }

private:
    struct Relay {
        conf::Forward forward;
        std::unique_ptr<TcpRelay> tcp;
        std::unique_ptr<UdpRelay> udp;
    };
    Result<Relay> open(const conf::Forward& forward);

    asio::any_io_executor executor_;
    Privileged& privileged_;
    Resolve resolve_;
    std::vector<conf::Forward> forwards_;
    std::vector<Relay> relays_;
};

}  // namespace vmrouter
