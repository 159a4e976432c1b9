#include "src/link/address.hpp"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>

#include <vector>

#include "src/link/attributes.hpp"

namespace vmrouter::link {
namespace {

MessagePointer address_message(int type, int flags, int index, const Cidr& address) {
    auto message = make_message(type, flags);
    ifaddrmsg header{};
    header.ifa_family = AF_INET;
    header.ifa_prefixlen = address.length;
    header.ifa_index = static_cast<unsigned>(index);
    put_header(*message, header);
    put_ipv4(*message, IFA_LOCAL, address.address);
    put_ipv4(*message, IFA_ADDRESS, address.address);
    return message;
}

MessagePointer address6_message(int type, int flags, int index, const Ipv6& address, std::uint8_t length) {
    auto message = make_message(type, flags);
    ifaddrmsg header{};
    header.ifa_family = AF_INET6;
    header.ifa_prefixlen = length;
    header.ifa_index = static_cast<unsigned>(index);
    put_header(*message, header);
    nla_put(message.get(), IFA_LOCAL, static_cast<int>(address.bytes.size()), address.bytes.data());
    return message;
}

/// RFC 3021: a /31 has no broadcast address.
bool has_broadcast(const Cidr& address) {
    return address.length <= 30;
}

ndmsg neighbours_on(int index) {
    ndmsg header{};
    header.ndm_family = AF_INET;
    header.ndm_ifindex = index;
    return header;
}

}  // namespace

Result<void> add_address(Netlink& netlink, std::string_view link, const Cidr& address) {
    const int index = netlink.index_of(link);
    if (index == 0) return Failure{Error{"there is no such interface", std::string(link), {}}};
    auto message = address_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address);
    if (has_broadcast(address)) put_ipv4(*message, IFA_BROADCAST, address.last());
    const int code = netlink.send(std::move(message));
    if (code == 0 || code == -NLE_EXIST) return {};
    return Failure{netlink_error("cannot add the address " + to_string(address), code, link)};
}

Result<void> remove_address(Netlink& netlink, std::string_view link, const Cidr& address) {
    const int index = netlink.index_of(link);
    if (index == 0) return {};
    const int code = netlink.send(address_message(RTM_DELADDR, 0, index, address));
    if (code == 0 || code == -NLE_NOADDR || code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV) return {};
    return Failure{netlink_error("cannot remove the address " + to_string(address), code, link)};
}

Result<void> add_address6(Netlink& netlink, std::string_view link, const Ipv6& address, std::uint8_t length,
                          std::uint32_t flags) {
    const int index = netlink.index_of(link);
    if (index == 0) return {};
    auto message = address6_message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, length);
    nla_put_u32(message.get(), IFA_FLAGS, flags);
    const int code = netlink.send(std::move(message));
    if (code == 0 || code == -NLE_EXIST) return {};
    return Failure{netlink_error("cannot add the address " + to_string(address), code, link)};
}

Result<void> remove_address6(Netlink& netlink, std::string_view link, const Ipv6& address, std::uint8_t length) {
    const int index = netlink.index_of(link);
    if (index == 0) return {};
    const int code = netlink.send(address6_message(RTM_DELADDR, 0, index, address, length));
    if (code == 0 || code == -NLE_NOADDR || code == -NLE_OBJ_NOTFOUND || code == -NLE_NODEV) return {};
    return Failure{netlink_error("cannot remove the address " + to_string(address), code, link)};
}

bool is_link_local(const Ipv6& address) {
    return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

Ipv6 link_local_of(const MacAddress& mac) {
    const auto& m = mac.bytes;
    return Ipv6{
        {0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(m[0] ^ 2U), m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}};
}

Result<void> flush_neighbours(Netlink& netlink, std::string_view link, const Cidr& network) {
    const int index = netlink.index_of(link);
    if (index == 0) return {};
    std::vector<Ipv4> learnt;
    const auto note = [&](const nlmsghdr& message) {
        const auto header = header_of<ndmsg>(message);
        const auto address = Attributes<NDA_MAX>::of_message(message, sizeof header).ipv4(NDA_DST);
        const bool fixed = (header.ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
        if (header.ndm_ifindex == index && address && network.contains(*address) && !fixed) learnt.push_back(*address);
    };
    const auto dump = [&] {
        auto message = make_message(RTM_GETNEIGH, NLM_F_DUMP);
        put_header(*message, neighbours_on(index));
        return message;
    };
    if (const int code = netlink.query(dump, note, [&] { learnt.clear(); }); code < 0)
        return Failure{netlink_error("cannot list the neighbours", code, link)};
    for (const Ipv4 address : learnt) {
        auto message = make_message(RTM_DELNEIGH, 0);
        put_header(*message, neighbours_on(index));
        put_ipv4(*message, NDA_DST, address);
        netlink.send(std::move(message));  // it may have gone by itself
    }
    return {};
}

}  // namespace vmrouter::link
