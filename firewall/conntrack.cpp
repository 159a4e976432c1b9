#include "firewall/conntrack.hpp"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>

#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

namespace {

/// A flow together with the kernel's own bytes of its tuple, which name it again when it is deleted.
struct Entry {
    Flow flow;
    std::vector<std::uint8_t> tuple;
};

Flow::Tuple parse_tuple(const nlattr* attribute, std::uint8_t& protocol) {
    Flow::Tuple tuple;
    const auto parts = nested_attributes(attribute, CTA_TUPLE_MAX + 1);
    const auto ip = nested_attributes(parts[CTA_TUPLE_IP], CTA_IP_MAX + 1);
    const auto proto = nested_attributes(parts[CTA_TUPLE_PROTO], CTA_PROTO_MAX + 1);
    tuple.source = Ipv4{attribute_u32(ip[CTA_IP_V4_SRC])};
    tuple.destination = Ipv4{attribute_u32(ip[CTA_IP_V4_DST])};
    tuple.source_port = attribute_u16(proto[CTA_PROTO_SRC_PORT]);
    tuple.destination_port = attribute_u16(proto[CTA_PROTO_DST_PORT]);
    protocol = attribute_u8(proto[CTA_PROTO_NUM]);
    return tuple;
}

Entry parse_entry(const nlmsghdr& message) {
    const auto attributes = netfilter_attributes(message, CTA_MAX + 1);
    const Bytes tuple = attribute_bytes(attributes[CTA_TUPLE_ORIG]);
    return {parse_flow(message), {tuple.begin(), tuple.end()}};
}
Result<std::vector<Entry>> entries(int socket) {
    const NetfilterMessage request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, AF_INET);
    std::vector<Entry> all;
    const auto answer = netfilter_exchange(socket, request.bytes(),
                                           [&](const nlmsghdr& message) { all.push_back(parse_entry(message)); });
    if (!answer) return Failure{answer.error()};
    if (*answer != 0)
        return Failure{system_error("cannot read the connections that the kernel tracks", *answer, {},
                                    "it needs CONFIG_NF_CT_NETLINK (try: modprobe nf_conntrack_netlink)")};
    return all;
}

Result<int> remove(int socket, const Entry& entry) {
    const NetfilterMessage request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, AF_INET);
    const auto size = static_cast<int>(entry.tuple.size());
    nla_put(request.get(), CTA_TUPLE_ORIG | NLA_F_NESTED, size, entry.tuple.data());
    nla_put_u32(request.get(), CTA_ID, htonl(entry.flow.id));
    if (entry.flow.zone != 0) nla_put_u16(request.get(), CTA_ZONE, htons(entry.flow.zone));
    return netfilter_exchange(socket, request.bytes());
}

}  // namespace

Flow parse_flow(const nlmsghdr& message) {
    const auto attributes = netfilter_attributes(message, CTA_MAX + 1);
    Flow flow;
    flow.original = parse_tuple(attributes[CTA_TUPLE_ORIG], flow.protocol);
    flow.reply = parse_tuple(attributes[CTA_TUPLE_REPLY], flow.protocol);
    flow.mark = attribute_u32(attributes[CTA_MARK]);
    flow.status = attribute_u32(attributes[CTA_STATUS]);
    flow.id = attribute_u32(attributes[CTA_ID]);
    flow.zone = attribute_u16(attributes[CTA_ZONE]);
    return flow;
}

Result<std::vector<Flow>> flows() {
    const auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    const auto all = entries(socket->get());
    if (!all) return Failure{all.error()};
    std::vector<Flow> result;
    for (const auto& entry : *all) result.push_back(entry.flow);
    return result;
}

Result<std::size_t> cut(const std::function<bool(const Flow&)>& doomed) {
    const auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    const auto all = entries(socket->get());
    if (!all) return Failure{all.error()};
    std::size_t count = 0;
    for (const auto& entry : *all) {
        if (!doomed(entry.flow)) continue;
        const auto answer = remove(socket->get(), entry);
        if (!answer) return Failure{answer.error()};
        if (*answer == 0) {
            ++count;
        } else if (*answer != ENOENT) {
            return Failure{system_error("cannot cut a connection", *answer)};
        }
    }
    return count;
}

Result<std::size_t> cut_forbidden(const Policy& policy) {
    return cut([&](const Flow& flow) { return !still_allowed(policy, flow); });
}

Result<std::size_t> cut_guests(const Policy& policy, std::span<const Ipv4> guests) {
    std::set<Ipv4> gone;
    if (policy.segment)
        std::copy_if(guests.begin(), guests.end(), std::inserter(gone, gone.end()),
                     [&](Ipv4 guest) { return policy.segment->address.contains(guest); });
    if (gone.empty()) return std::size_t{0};
    return cut(
        [&](const Flow& flow) { return gone.contains(flow.original.source) || gone.contains(flow.reply.source); });
}

}  // namespace vmrouter::firewall
