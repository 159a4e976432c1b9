#include "src/link/messages.hpp"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "src/link/attributes.hpp"

namespace vmrouter::link {
namespace {

constexpr std::size_t kMacSize = 6;
constexpr std::uint32_t kChosenFlags =
    IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

RouteType route_type(std::uint8_t type) {
    switch (type) {
        case RTN_UNICAST:
            return RouteType::Unicast;
        case RTN_LOCAL:
            return RouteType::Local;
        case RTN_BROADCAST:
            return RouteType::Broadcast;
        case RTN_BLACKHOLE:
        case RTN_UNREACHABLE:
        case RTN_PROHIBIT:
            return RouteType::Refusing;
        default:
            return RouteType::Other;
    }
}

RuleAction rule_action(std::uint8_t action) {
    switch (action) {
        case FR_ACT_TO_TBL:
            return RuleAction::Lookup;
        case FR_ACT_GOTO:
            return RuleAction::Goto;
        case FR_ACT_NOP:
            return RuleAction::Nop;
        case FR_ACT_BLACKHOLE:
            return RuleAction::Blackhole;
        case FR_ACT_UNREACHABLE:
            return RuleAction::Unreachable;
        case FR_ACT_PROHIBIT:
            return RuleAction::Prohibit;
        default:
            return RuleAction::Other;
    }
}

template <int Max>
Nexthop nexthop_of(const Attributes<Max>& attributes, int link) {
    Nexthop hop{link, attributes.ipv4(RTA_GATEWAY), std::nullopt};
    if (nlattr* via = attributes.find(RTA_VIA); via != nullptr && nla_len(via) == sizeof(rtvia) + 16) {
        Ipv6 gateway;  // behind a two-byte family
        std::memcpy(gateway.bytes.data(), static_cast<const char*>(nla_data(via)) + sizeof(rtvia), 16);
        hop.gateway6 = gateway;
    }
    return hop;
}

Route6::Hop hop6_of(const Attributes<RTA_MAX>& attributes, int link) {
    return {link, attributes.ipv6(RTA_GATEWAY)};
}

/// RTA_MULTIPATH: struct rtnexthop, each with its own attributes, one after the other.
template <class Hop>
std::vector<Hop> multipath(nlattr* attribute, Hop (*hop_of)(const Attributes<RTA_MAX>&, int)) {
    std::vector<Hop> hops;
    auto* bytes = static_cast<char*>(nla_data(attribute));
    auto left = static_cast<std::size_t>(nla_len(attribute));
    while (left >= sizeof(rtnexthop)) {
        rtnexthop hop{};
        std::memcpy(&hop, bytes, sizeof hop);
        if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) break;
        const auto own = Attributes<RTA_MAX>::of_bytes(bytes + sizeof hop, hop.rtnh_len - sizeof hop);
        hops.push_back(hop_of(own, hop.rtnh_ifindex));
        const auto step = NLMSG_ALIGN(std::size_t{hop.rtnh_len});
        if (step >= left) break;
        bytes += step;
        left -= step;
    }
    return hops;
}

Cidr prefix_or(std::optional<Ipv4> address, std::uint8_t length) {
    return Cidr{address.value_or(Ipv4{}), length}.network();
}

}  // namespace

std::optional<Link> parse_link(const nlmsghdr& message) {
    const auto header = header_of<ifinfomsg>(message);
    const auto attributes = Attributes<IFLA_MAX>::of_message(message, sizeof header);
    if (header.ifi_index <= 0 || attributes.find(IFLA_IFNAME) == nullptr) return std::nullopt;
    const auto info = Attributes<IFLA_INFO_MAX>::nested(attributes.find(IFLA_LINKINFO));

    Link link;
    link.index = header.ifi_index;
    link.name = attributes.text(IFLA_IFNAME);
    link.kind = info.text(IFLA_INFO_KIND);
    link.port_kind = info.text(IFLA_INFO_SLAVE_KIND);
    link.flags = header.ifi_flags;
    const nlattr* mac = attributes.find(IFLA_ADDRESS);
    if (header.ifi_type == ARPHRD_ETHER && mac != nullptr && nla_len(mac) == kMacSize) {
        link.mac = MacAddress{*attributes.get<std::array<std::uint8_t, kMacSize>>(IFLA_ADDRESS)};
    }
    link.mtu = attributes.get<std::uint32_t>(IFLA_MTU).value_or(0);
    link.master = attributes.get<std::int32_t>(IFLA_MASTER).value_or(0);
    // A veth names its peer there, and a device of another namespace is none of ours.
    if (link.kind != "veth" && attributes.find(IFLA_LINK_NETNSID) == nullptr) {
        link.parent = attributes.get<std::int32_t>(IFLA_LINK).value_or(0);
    }
    link.alias = attributes.text(IFLA_IFALIAS);
    link.carrier = attributes.get<std::uint8_t>(IFLA_CARRIER).value_or(0) != 0;
    return link;
}

std::optional<Port> parse_port(const nlmsghdr& message) {
    const auto link = parse_link(message);
    if (!link || link->port_kind != "bridge") return std::nullopt;
    const auto attributes = Attributes<IFLA_MAX>::of_message(message, sizeof(ifinfomsg));
    const auto info = Attributes<IFLA_INFO_MAX>::nested(attributes.find(IFLA_LINKINFO));
    const auto port = Attributes<IFLA_BRPORT_MAX>::nested(info.find(IFLA_INFO_SLAVE_DATA));
    const auto flag = [&](int type, bool absent) { return port.get<std::uint8_t>(type).value_or(absent ? 1 : 0) != 0; };
    return Port{link->index,
                link->name,
                link->mac.value_or(MacAddress{}),
                link->up(),
                flag(IFLA_BRPORT_ISOLATED, false),
                flag(IFLA_BRPORT_LEARNING, true),
                flag(IFLA_BRPORT_MODE, false)};
}

std::optional<Address4> parse_address4(const nlmsghdr& message) {
    const auto header = header_of<ifaddrmsg>(message);
    const auto attributes = Attributes<IFA_MAX>::of_message(message, sizeof header);
    const auto address = attributes.ipv4(IFA_ADDRESS);  // the peer's on a point-to-point link
    if (header.ifa_family != AF_INET || header.ifa_prefixlen > 32) return std::nullopt;
    const auto local = attributes.ipv4(IFA_LOCAL);
    if (!local && !address) return std::nullopt;
    return Address4{static_cast<int>(header.ifa_index), local ? *local : *address,
                    Cidr{address ? *address : *local, header.ifa_prefixlen}.network(), attributes.ipv4(IFA_BROADCAST)};
}

std::optional<Address6> parse_address6(const nlmsghdr& message) {
    const auto header = header_of<ifaddrmsg>(message);
    const auto attributes = Attributes<IFA_MAX>::of_message(message, sizeof header);
    if (header.ifa_family != AF_INET6) return std::nullopt;
    const auto local = attributes.ipv6(IFA_LOCAL);
    const auto address = local ? local : attributes.ipv6(IFA_ADDRESS);
    if (!address) return std::nullopt;
    const auto flags = attributes.get<std::uint32_t>(IFA_FLAGS).value_or(header.ifa_flags);
    return Address6{static_cast<int>(header.ifa_index),
                    *address,
                    header.ifa_prefixlen,
                    flags & kChosenFlags,
                    (flags & IFA_F_PERMANENT) != 0,
                    header.ifa_scope == RT_SCOPE_LINK};
}

std::optional<Route> parse_route(const nlmsghdr& message) {
    const auto header = header_of<rtmsg>(message);
    const auto attributes = Attributes<RTA_MAX>::of_message(message, sizeof header);
    if (header.rtm_family != AF_INET || header.rtm_dst_len > 32) return std::nullopt;
    Route route;
    route.destination = prefix_or(attributes.ipv4(RTA_DST), header.rtm_dst_len);
    route.table = attributes.get<std::uint32_t>(RTA_TABLE).value_or(header.rtm_table);
    route.type = route_type(header.rtm_type);
    route.scope = header.rtm_scope;
    route.priority = attributes.get<std::uint32_t>(RTA_PRIORITY).value_or(0);
    route.source = attributes.ipv4(RTA_PREFSRC);
    if (nlattr* several = attributes.find(RTA_MULTIPATH); several != nullptr) {
        route.nexthops = multipath<Nexthop>(several, nexthop_of<RTA_MAX>);
    } else if (const auto hop = nexthop_of(attributes, attributes.get<std::int32_t>(RTA_OIF).value_or(0));
               hop != Nexthop{}) {
        route.nexthops.push_back(hop);
    }
    return route;
}

std::optional<Route6> parse_route6(const nlmsghdr& message) {
    const auto header = header_of<rtmsg>(message);
    const auto attributes = Attributes<RTA_MAX>::of_message(message, sizeof header);
    if (header.rtm_family != AF_INET6 || header.rtm_dst_len > 128 || (header.rtm_flags & RTM_F_CLONED) != 0)
        return std::nullopt;
    Route6 route{{attributes.ipv6(RTA_DST).value_or(Ipv6{}), header.rtm_dst_len}, route_type(header.rtm_type), {}};
    if (nlattr* several = attributes.find(RTA_MULTIPATH); several != nullptr)
        route.nexthops = multipath<Route6::Hop>(several, hop6_of);
    else if (const auto link = attributes.get<std::int32_t>(RTA_OIF))
        route.nexthops.push_back(hop6_of(attributes, *link));
    return route;
}

std::optional<Rule> parse_rule(const nlmsghdr& message) {
    const auto header = header_of<fib_rule_hdr>(message);
    const auto attributes = Attributes<FRA_MAX>::of_message(message, sizeof header);
    if (header.family != AF_INET || header.src_len > 32 || header.dst_len > 32) return std::nullopt;
    Rule rule;
    rule.priority = attributes.get<std::uint32_t>(FRA_PRIORITY).value_or(0);
    rule.action = rule_action(header.action);
    rule.table = attributes.get<std::uint32_t>(FRA_TABLE).value_or(header.table);
    rule.iif = attributes.text(FRA_IIFNAME);
    rule.oif = attributes.text(FRA_OIFNAME);
    rule.mark = attributes.get<std::uint32_t>(FRA_FWMARK).value_or(0);
    rule.mark_mask = attributes.get<std::uint32_t>(FRA_FWMASK).value_or(0);
    if (header.src_len > 0) rule.from = prefix_or(attributes.ipv4(FRA_SRC), header.src_len);
    if (header.dst_len > 0) rule.to = prefix_or(attributes.ipv4(FRA_DST), header.dst_len);
    rule.inverted = (header.flags & FIB_RULE_INVERT) != 0;
    return rule;
}

}  // namespace vmrouter::link
