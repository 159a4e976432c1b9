#include "src/router.hpp"

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/dns_setup.hpp"
#include "src/documents.hpp"
#include "src/link/bridge.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr log::Logger firewall_logger{"firewall"};
constexpr log::Logger dhcp_logger{"dhcp"};

}  // namespace

Result<void> Router::start_dhcp() {
    if (!loaded_.config.dhcp.enabled) return {};
    auto sockets = privileged_.open_dhcp_sockets();
    if (!sockets) return Failure{std::move(sockets).error()};
    dhcp::ServiceSetup setup;
    setup.config = dhcp_config(loaded_.config, *plan_.segment, names_of_host());
    setup.hosts = configured_hosts(loaded_.config, loaded_.places);
    setup.paths = dhcp::Paths::beside(plan_.leases_file, plan_.hosts_file);
    setup.sockets = std::move(*sockets);
    setup.script = loaded_.config.dhcp.script;
    setup.run_program = [this](dhcp::ScriptCall call, std::function<void(Result<int>)> done) {
        privileged_.run_script(std::move(call), std::move(done));
    };
    if (plan_.segment->is_bridge) {
        auto netlink = link::Netlink::open();
        if (!netlink) return Failure{std::move(netlink).error()};
        forwarding_ = std::make_unique<link::Netlink>(std::move(*netlink));
        setup.find_port = [this](const MacAddress& mac) {
            return static_cast<unsigned>(link::port_of(*forwarding_, bound_index_, mac));
        };
    }
    dhcp_ = std::make_unique<dhcp::Service>(io_.get_executor(), std::move(setup), clock_, random_,
                                            static_cast<dhcp::Observer&>(*this));
    dhcp_->load();
    spawn(dhcp_->run());
    return {};
}

void Router::add_dhcp_port(const link::Link& port) {
    if (!dhcp_) return;
    auto socket = privileged_.open_dhcp_port_socket(static_cast<unsigned>(port.index));
    if (socket)
        dhcp_->add_port(static_cast<unsigned>(port.index), std::move(*socket));
    else  // it has gone again by now, and the event that says so is on its way
        logger.debug("PORT {}", to_string(socket.error()));
}

const dhcp::LeaseTable* Router::leases() const {
    return dhcp_ ? &dhcp_->table() : nullptr;
}

const dhcp::Reservations* Router::reservations() const {
    return dhcp_ ? &dhcp_->reservations() : nullptr;
}

void Router::leases_changed(std::span<const dhcp::AppliedChange> changes) {
    if (is_followed("lease"))
        for (const auto& change : changes) control_->publish(lease_event(change, clock_.now()));
    bool forwards_moved = false;
    for (const auto& change : changes) {
        const auto before = change.before ? binding_of(*change.before, facts_) : std::nullopt;
        const auto after = change.after ? binding_of(*change.after, facts_) : std::nullopt;
        if (before == after) continue;
        forwards_moved = true;
        if (after) {
            bind(*after);
        } else if (before) {
            if (auto gone = privileged_.unbind_guest(before->mac, before->address); !gone) {
                firewall_logger.error("UNBIND {}", to_string(gone.error()));
                follow_host_later();
            }
            ended_.push_back(before->address);
        }
    }
    cut_ended();
    if (forwards_moved && forwards_ && !loaded_.config.firewall.forward.empty()) follow_guests();
    if (summary_changed) summary_changed();
}

/// The pair is known before the ACK leaves, also when somebody has just removed our table.
void Router::bind(const firewall::Binding& binding) {
    auto bound = privileged_.bind_guest(binding);
    if (!bound && mends_.take(clock_.monotonic())) {
        mend();
        bound = privileged_.bind_guest(binding);
    }
    if (bound) return;
    firewall_logger.error("BIND {}", to_string(bound.error()));
    follow_host_later();
}

/// Ends the connections of guests whose leases have ended. That reads every connection of the machine, so leases that
/// end one after the other wait ten times as long as the last look took: a guest that takes and gives back addresses
/// does not keep us busy.
void Router::cut_ended() {
    if (ended_.empty() || cutting_ || stopping_) return;
    const auto began = clock_.monotonic();
    if (auto cut = privileged_.cut_guests(std::exchange(ended_, {})); !cut)
        firewall_logger.error("CUT {}", to_string(cut.error()));
    cutting_ = true;
    spawn([](Router& self, Monotonic::duration pause) -> asio::awaitable<void> {
        asio::steady_timer timer(self.io_, pause);
        asio::error_code ignored;
        co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        self.cutting_ = false;
        self.cut_ended();
    }(*this, 10 * (clock_.monotonic() - began)));
}

void Router::noted(const dhcp::Note&) {}

void Router::server_seen(const dhcp::OtherServer& server) {
    dhcp_logger.warn(
        "SERVER another DHCP server on the segment, {} ({}) on port {}, offers {}; it is blocked where it is "
        "behind a port of the bridge",
        to_string(server.server), to_string(server.mac),
        server.port == 0 ? "?" : facts_.name_of(static_cast<int>(server.port)), to_string(server.offers));
}

void Router::interface_failed(const Error& error) {
    dhcp_logger.warn("INTERFACE {}", to_string(error));
}

}  // namespace vmrouter
