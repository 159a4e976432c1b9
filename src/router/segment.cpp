// The segment's interface and its ports, which come and go. What is bound to an interface's number (packet sockets, DNS
// listeners, the UDP socket on port 67) is opened again when the number is another one; leases, cache and open
// connections know nothing of it.

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <nlohmann/json.hpp>
#include "src/base/log.hpp"
#include "src/router.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};

/// How long we hold still when something takes away again and again what we put back, or sockets cannot be opened.
constexpr Milliseconds patience{1000};

}  // namespace

void Router::follow_segment() {
    if (!plan_.segment || stopping_) return;
    if (segment_held_) return;  // the timer runs
    auto state = privileged_.restore_segment();
    if (!state) {
        const auto trouble = to_string(state.error());
        if (trouble != segment_trouble_) logger.error("SEGMENT {}", trouble);
        segment_trouble_ = trouble;
        segment_index_ = 0;
        return;
    }
    segment_trouble_.clear();
    for (const auto& what : state->mended) logger.warn("REPAIR {}, which somebody had removed or changed", what);
    if (!state->mended.empty() && !segment_mends_.take(clock_.monotonic())) {
        segment_held_ = true;
        follow_segment_later();
    }
    const auto& name = plan_.segment->name;
    if (state->index == 0) {
        if (segment_index_ != 0)
            logger.warn("SEGMENT {} is gone; leases are kept, and service goes on when it is back", name);
        segment_index_ = 0;
        return;
    }
    if (state->up != segment_up_)
        logger.warn("SEGMENT {} was set {}", name,
                    state->up ? "up again" : "down; service goes on when it is up again");
    segment_up_ = state->up;
    if (state->index == segment_index_) return;
    if (state->index != bound_index_) {  // else the same device, under its old name again: its sockets live
        if (auto opened = open_segment_sockets(); !opened) {
            logger.error("SEGMENT {}", to_string(opened.error()));
            return follow_segment_later();
        }
        bound_index_ = state->index;
    }
    segment_index_ = state->index;
    logger.info("SEGMENT {} is back: serving again", name);
    repair_soon();  // what went with the interface: its netdev chain
}

/// Somebody takes away again and again what we put back, or a socket cannot be opened: once more, but not at once.
void Router::follow_segment_later() {
    if (segment_retry_ || stopping_) return;
    segment_retry_ = true;
    spawn([](Router& self) -> asio::awaitable<void> {
        asio::steady_timer timer(self.io_, patience);
        asio::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        self.segment_retry_ = self.segment_held_ = false;
        if (self.stopping_) co_return;
        self.follow_segment();
        self.follow_host();
        self.follow_ports({});
    }(*this));
}

Result<void> Router::open_segment_sockets() {
    if (dhcp_) {
        auto sockets = privileged_.open_dhcp_sockets();
        if (!sockets) return Failure{std::move(sockets).error()};
        dhcp_->replace_sockets(std::move(*sockets));
    }
    if (dns_) {
        auto udp = privileged_.open_dns_udp_socket();
        if (!udp) return Failure{std::move(udp).error()};
        auto tcp = privileged_.open_dns_tcp_socket();
        if (!tcp) return Failure{std::move(tcp).error()};
        dns_->replace_sockets(std::move(*udp), std::move(*tcp));
    }
    return {};
}

/// The bridge's ports as the facts have them. While the bridge is gone its ports are still known: they come back with
/// it.
void Router::follow_ports(const std::vector<link::LinkEvent>& events) {
    if (!plan_.segment || !plan_.segment->is_bridge || stopping_) return;
    const auto& name = plan_.segment->name;
    const auto* segment = facts_.find(name);
    if (segment == nullptr) return;
    std::vector<RememberedPort> newcomers;
    std::map<int, std::string> now;
    for (const auto* port : facts_.ports_of(name)) {
        now.emplace(port->index, port->name);
        if (known_ports_.contains(port->index)) continue;
        add_dhcp_port(*port);
        newcomers.push_back({port->name, port->index});
        if (is_followed("port")) control_->publish(port_event(port->name, true, clock_.now()));
        logger.info("PORT {} joined {}", port->name, name);
    }
    // One that joined and is off again by now: another program may have taken it off. Not one that was known, whose
    // last events may come after it was seen to have left.
    for (const auto& event : events)
        if (!event.removed && event.link.master == segment->index && !now.contains(event.link.index) &&
            !known_ports_.contains(event.link.index) && !former_ports_.contains(event.link.index))
            newcomers.push_back({event.link.name, event.link.index});
    for (const auto& [index, port] : known_ports_) {
        if (now.contains(index)) continue;
        if (dhcp_) dhcp_->remove_port(static_cast<unsigned>(index));
        if (is_followed("port")) control_->publish(port_event(port, false, clock_.now()));
        logger.info("PORT {} left {}", port, name);
        former_ports_.insert(index);
    }
    std::erase_if(former_ports_, [&](int index) {
        return now.contains(index) || std::none_of(facts_.links.begin(), facts_.links.end(),
                                                   [index](const link::Link& one) { return one.index == index; });
    });
    known_ports_ = std::move(now);
    if (auto done = privileged_.welcome_ports(newcomers); !done) logger.error("ISOLATE {}", to_string(done.error()));
}

/// Settings that the kernel's own events do not tell of.
asio::awaitable<void> Router::watch_settings() {
    while (!stopping_) {
        co_await settings_->changed();
        if (!stopping_) repair_soon();
    }
}

}  // namespace vmrouter
