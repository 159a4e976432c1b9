// The rule set's decisions once more, for connections that exist: which of them would it not let begin today?

#include "firewall/judge.hpp"

#include <algorithm>

namespace vmrouter::firewall {

namespace {

bool any_contains(const std::vector<Cidr>& networks, Ipv4 address) {
    return std::any_of(networks.begin(), networks.end(), [&](const Cidr& c) { return c.contains(address); });
}

bool is(const Flow& flow, Service service) {
    return flow.protocol == static_cast<std::uint8_t>(service.protocol) &&
           flow.original.destination_port == service.port;
}

bool matches(const Exception& allowed, const Flow& flow) {
    if (allowed.protocol && flow.protocol != static_cast<std::uint8_t>(*allowed.protocol)) return false;
    return !allowed.ports || (allowed.ports->first <= flow.original.destination_port &&
                              flow.original.destination_port <= allowed.ports->last);
}

bool published(const Policy& policy, const Flow& flow) {
    if (!policy.segment->internet) return false;
    return std::any_of(policy.forwards.begin(), policy.forwards.end(), [&](const Forward& forward) {
        const bool here =
            forward.listen_address.is_unspecified() || forward.listen_address == flow.original.destination;
        return here && is(flow, forward.listen) && flow.reply.source == forward.guest &&
               flow.reply.source_port == forward.guest_port;
    });
}

bool host_service(const Segment& segment, const Flow& flow) {
    if (flow.protocol == static_cast<std::uint8_t>(Protocol::Icmp)) return true;
    const bool query = is(flow, {Protocol::Udp, 53}) || is(flow, {Protocol::Tcp, 53});
    if (query && segment.dns) return true;
    return std::any_of(segment.open_host_ports.begin(), segment.open_host_ports.end(),
                       [&](Service service) { return is(flow, service); });
}

bool may_leave(const Policy& policy, const Flow& flow, Ipv4 destination) {
    if (!policy.segment->internet) return false;
    for (const auto& allowed : policy.allow) {
        if (allowed.destination.contains(destination) && matches(allowed, flow)) return true;
    }
    if (any_contains(policy.block, destination) || any_contains(reserved_ranges(), destination)) return false;
    if (policy.segment->lan == Lan::Allow) return true;
    return !any_contains(private_ranges(), destination) && !any_contains(policy.lan, destination);
}

}  // namespace

bool still_allowed(const Policy& policy, const Flow& flow) {
    if (!policy.segment) return true;
    const Segment& segment = *policy.segment;
    const Ipv4 ours = segment.address.address;
    const auto is_guest = [&](Ipv4 address) { return segment.address.contains(address) && address != ours; };

    const bool from_guest = is_guest(flow.original.source);
    const bool to_guest = is_guest(flow.reply.source);  // who answers, once addresses were translated
    if (!from_guest && !to_guest) return true;

    const bool translated = flow.original.destination != flow.reply.source;
    if (from_guest && to_guest) return !segment.isolate_guests && (!translated || published(policy, flow));
    if ((flow.mark & policy.mark) == 0) return false;
    if (to_guest) return !translated || published(policy, flow);
    if (flow.reply.source == ours) return host_service(segment, flow);
    return may_leave(policy, flow, flow.reply.source);
}

}  // namespace vmrouter::firewall
