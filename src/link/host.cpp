#include "src/link/host.hpp"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>

#include <algorithm>
#include <array>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/attributes.hpp"
#include "src/link/messages.hpp"
#include "src/link/sysctl.hpp"

namespace vmrouter::link {
namespace {

// One address in each of four parts of the address space that a VPN's list of short prefixes (0.0.0.0/1 + 128.0.0.0/1,
// or everything but the private ranges) covers with its shortest ones. Nothing is sent to them.
constexpr std::array kPublicAddresses{Ipv4{23, 0, 0, 1}, Ipv4{77, 0, 0, 1}, Ipv4{151, 0, 0, 1}, Ipv4{217, 0, 0, 1}};

constexpr std::array<std::string_view, 13> kSysctls{
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/proxy_arp",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/conf/all/src_valid_mark",
    "net/ipv4/conf/default/forwarding",
    "net/ipv6/conf/all/disable_ipv6",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
};

template <class Header>
MessagePointer dump_message(int type, Header header) {
    auto message = make_message(type, NLM_F_DUMP);
    put_header(*message, header);
    return message;
}

/// Everything that a dump tells, as `parse` reads it. Other families that slip in are skipped by `parse`.
template <class Value, class Header>
Result<std::vector<Value>> dump(Netlink& netlink, int type, Header header,
                                std::optional<Value> (*parse)(const nlmsghdr&), std::string_view what) {
    std::vector<Value> values;
    const int code = netlink.query([&] { return dump_message(type, header); },
                                   [&](const nlmsghdr& message) {
                                       if (auto value = parse(message)) values.push_back(std::move(*value));
                                   },
                                   [&] { values.clear(); });
    if (code < 0) return Failure{netlink_error(what, code, "netlink")};
    return values;
}

ifaddrmsg addresses_of(std::uint8_t family) {
    ifaddrmsg header{};
    header.ifa_family = family;
    return header;
}

rtmsg routes_of(std::uint8_t family) {
    rtmsg header{};
    header.rtm_family = family;
    return header;
}

fib_rule_hdr ipv4_rules() {
    fib_rule_hdr header{};
    header.family = AF_INET;
    return header;
}

/// A guest, as the look-up needs one: the kernel refuses look-ups for packets that come from its own address. `mark` is
/// what the firewall gives to packets that it lets pass; without it the dead man's switch would answer for the uplink.
struct Guest {
    int link = 0;
    Ipv4 address;
    std::uint32_t mark = 0;
};

std::optional<Guest> any_guest(const HostFacts& facts, std::string_view segment, std::uint32_t mark) {
    const Link* link = facts.find(segment);
    if (link == nullptr || !link->up()) return std::nullopt;
    for (const Address4& own : facts.addresses) {
        if (own.link != link->index || own.network.length > 30) continue;
        const Ipv4 next{own.local.value + 1};
        const bool inside = own.network.contains(next) && next != own.network.last();
        return Guest{link->index, inside ? next : Ipv4{own.local.value - 1}, mark};
    }
    return std::nullopt;
}

/// RTM_F_FIB_MATCH answers with the table's entry, all next hops included, instead of one chosen way.
int look_up(Netlink& netlink, Ipv4 destination, const std::optional<Guest>& guest, std::optional<Route>& route) {
    return netlink.query(
        [&] {
            auto message = make_message(RTM_GETROUTE, 0);
            rtmsg header{};
            header.rtm_family = AF_INET;
            header.rtm_dst_len = 32;
            header.rtm_src_len = guest ? 32 : 0;
            header.rtm_flags = RTM_F_FIB_MATCH;
            put_header(*message, header);
            put_ipv4(*message, RTA_DST, destination);
            if (guest) {
                put_ipv4(*message, RTA_SRC, guest->address);
                nla_put_u32(message.get(), RTA_IIF, static_cast<std::uint32_t>(guest->link));
                nla_put_u32(message.get(), RTA_MARK, guest->mark);
            }
            return message;
        },
        [&](const nlmsghdr& message) { route = parse_route(message); }, [&] { route.reset(); });
}

PathAnswer path_to(Netlink& netlink, Ipv4 destination, const std::optional<Guest>& guest) {
    PathAnswer answer{destination, std::nullopt};
    if (guest) {
        const int code = look_up(netlink, destination, guest, answer.route);
        // Forwarding is off, or rp_filter does not like the question: then the host's own way is the best answer. A
        // rule that refuses guests is an answer.
        if (code == 0 || code == -NLE_NOACCESS) return answer;
    }
    look_up(netlink, destination, std::nullopt, answer.route);
    return answer;
}

}  // namespace

Result<std::vector<Link>> read_links(Netlink& netlink) {
    std::vector<Link> links;
    const int code = netlink.query(
        [] {
            auto message = dump_message(RTM_GETLINK, ifinfomsg{});
            nla_put_u32(message.get(), IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
            return message;
        },
        [&](const nlmsghdr& message) {
            if (auto link = parse_link(message)) links.push_back(std::move(*link));
        },
        [&] { links.clear(); });
    if (code < 0) return Failure{netlink_error("cannot list the interfaces", code, "netlink")};
    return links;
}

Result<std::vector<Address4>> read_addresses(Netlink& netlink) {
    return dump<Address4>(netlink, RTM_GETADDR, addresses_of(AF_INET), parse_address4, "cannot list the addresses");
}

Result<std::vector<Address6>> read_addresses6(Netlink& netlink) {
    return dump<Address6>(netlink, RTM_GETADDR, addresses_of(AF_INET6), parse_address6,
                          "cannot list the IPv6 addresses");
}

Result<std::vector<Rule>> read_rules(Netlink& netlink) {
    return dump<Rule>(netlink, RTM_GETRULE, ipv4_rules(), parse_rule, "cannot list the routing rules");
}

Result<HostFacts> read_host_facts(Netlink& netlink, std::string_view segment, std::uint32_t mark) {
    HostFacts facts;
    auto links = read_links(netlink);
    if (!links) return Failure{std::move(links).error()};
    facts.links = std::move(*links);
    auto addresses = read_addresses(netlink);
    if (!addresses) return Failure{std::move(addresses).error()};
    facts.addresses = std::move(*addresses);
    if (auto addresses6 = read_addresses6(netlink)) facts.addresses6 = std::move(*addresses6);  // none without IPv6
    auto routes = dump<Route>(netlink, RTM_GETROUTE, routes_of(AF_INET), parse_route, "cannot list the routes");
    if (!routes) return Failure{std::move(routes).error()};
    facts.routes = std::move(*routes);
    if (auto routes6 = dump<Route6>(netlink, RTM_GETROUTE, routes_of(AF_INET6), parse_route6, "cannot list the routes"))
        facts.routes6 = std::move(*routes6);
    auto rules = read_rules(netlink);
    if (!rules) return Failure{std::move(rules).error()};
    facts.rules = std::move(*rules);

    const auto guest = any_guest(facts, segment, mark);
    for (const Ipv4 destination : kPublicAddresses) facts.internet.push_back(path_to(netlink, destination, guest));
    for (const auto path : kSysctls) {
        if (const auto value = read_sysctl(std::string(path))) facts.sysctls.emplace(path, *value);
    }
    return facts;
}

}  // namespace vmrouter::link
