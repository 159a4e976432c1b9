// What those who follow us are told; see EventFilter for the kinds.

#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/router.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr std::uint16_t dns_port = 53;
constexpr std::uint16_t dhcp_port = 67;

}  // namespace

GuestLabel Router::label_of(Ipv4 guest) const {
    GuestLabel label{guest, std::string(names_.name_of(guest)), {}};
    const auto* lease = dhcp_ ? dhcp_->table().find(guest) : nullptr;
    if (lease != nullptr && lease->state == dhcp::LeaseState::Bound) label.mac = to_string(lease->hardware);
    return label;
}

/// What the guest was told to be at that address, or another guest's name.
std::string Router::resolved_name(Ipv4 guest, Ipv4 address) const {
    if (const auto name = names_.name_of(address); !name.empty()) return std::string(name);
    const auto found = dns_ ? dns_->name_for(guest, address) : std::nullopt;
    return found ? to_string(found->name) : std::string{};
}

/// Connection tracking tells of new connections only while somebody wants to hear of them.
void Router::follow_flows() {
    const bool wanted = !stopping_ && is_followed("flow");
    if (!wanted) flows_.reset();
    if (!wanted || flows_) return;
    auto socket = privileged_.open_flow_events();
    if (socket)
        flows_ = std::make_unique<firewall::FlowEvents>(io_, std::move(*socket),
                                                        static_cast<firewall::FlowObserver&>(*this));
    else
        logger.warn("FLOWS {}", to_string(socket.error()));
}

void Router::began(const firewall::Flow& flow) {
    if (!plan_.segment || !control_) return;
    const auto& net = plan_.segment->address;
    const auto is_guest = [&net](Ipv4 address) { return net.contains(address) && address != net.address; };
    const bool outwards = is_guest(flow.original.source);
    if (!outwards && !is_guest(flow.reply.source)) return;
    // What is asked of our DNS and DHCP are events of their own.
    const auto service = flow.reply.source_port;
    if (flow.reply.source == net.address && (service == dns_port || service == dhcp_port)) return;
    if (!flow_events_.take(clock_.monotonic())) {
        ++skipped_flows_;
        return;
    }
    const auto now = clock_.now();
    if (skipped_flows_ > 0) control_->publish(skipped_event("flow", std::exchange(skipped_flows_, 0), now));
    const auto guest = outwards ? flow.original.source : flow.reply.source;
    const auto peer = outwards ? flow.original.destination : flow.original.source;
    control_->publish(flow_event(flow, outwards, label_of(guest), resolved_name(guest, peer), now));
}

void Router::flows_lost() {
    ++skipped_flows_;
}

}  // namespace vmrouter
