#include "src/link/route6.hpp"

#include <linux/rtnetlink.h>
#include <netlink/errno.h>

#include <cstring>
#include <optional>

#include "src/base/text.hpp"
#include "src/link/attributes.hpp"

namespace vmrouter::link {
namespace {

bool was_set(const rtmsg& header) {
    return header.rtm_family == AF_INET6 && header.rtm_type == RTN_UNICAST && (header.rtm_flags & RTM_F_CLONED) == 0 &&
           header.rtm_protocol != RTPROT_KERNEL && header.rtm_protocol != RTPROT_RA &&
           header.rtm_protocol != RTPROT_REDIRECT;
}

/// What belongs to the state of the route, not to the route; the interface is named when it is put back.
bool is_kept(int type) {
    return type != RTA_OIF && type != RTA_CACHEINFO && type != RTA_MULTIPATH && type != RTA_NH_ID;
}

std::string to_hex(const std::string& bytes) {
    std::string text;
    for (const char byte : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        text += digits[static_cast<unsigned char>(byte) >> 4];
        text += digits[static_cast<unsigned char>(byte) & 15];
    }
    return text;
}

std::optional<std::string> from_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    const auto digit = [](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    std::string bytes;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = digit(text[i]);
        const int low = digit(text[i + 1]);
        if (high < 0 || low < 0) return std::nullopt;
        bytes += static_cast<char>(high * 16 + low);
    }
    return bytes;
}

/// Appends the attributes in a run of bytes that are part of the route itself.
void keep_attributes(std::string& out, const char* bytes, std::size_t length) {
    while (length >= sizeof(nlattr)) {
        nlattr attribute{};
        std::memcpy(&attribute, bytes, sizeof attribute);
        if (attribute.nla_len < sizeof attribute || attribute.nla_len > length) return;
        if (is_kept(attribute.nla_type & NLA_TYPE_MASK)) {
            out.append(bytes, attribute.nla_len);
            out.resize((out.size() + NLA_ALIGNTO - 1) / NLA_ALIGNTO * NLA_ALIGNTO);
        }
        const std::size_t step = NLMSG_ALIGN(std::size_t{attribute.nla_len});
        if (step >= length) return;
        bytes += step;
        length -= step;
    }
}

/// The next hop through `index` in RTA_MULTIPATH; false when there is none.
bool keep_next_hop(std::string& out, nlattr* several, int index) {
    const auto* bytes = static_cast<const char*>(nla_data(several));
    auto left = static_cast<std::size_t>(nla_len(several));
    while (left >= sizeof(rtnexthop)) {
        rtnexthop hop{};
        std::memcpy(&hop, bytes, sizeof hop);
        if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) return false;
        if (hop.rtnh_ifindex == index) {
            keep_attributes(out, bytes + sizeof hop, hop.rtnh_len - sizeof hop);
            return true;
        }
        const std::size_t step = NLMSG_ALIGN(std::size_t{hop.rtnh_len});
        if (step >= left) return false;
        bytes += step;
        left -= step;
    }
    return false;
}

std::optional<KeptRoute6> route_through(const nlmsghdr& message, int index) {
    auto header = header_of<rtmsg>(message);
    if (!was_set(header)) return std::nullopt;
    const auto attributes = Attributes<RTA_MAX>::of_message(message, sizeof header);
    header.rtm_flags &= ~static_cast<unsigned>(RTNH_F_DEAD | RTNH_F_LINKDOWN | RTNH_F_OFFLOAD | RTNH_F_TRAP);
    std::string kept(sizeof header, '\0');
    std::memcpy(kept.data(), &header, sizeof header);
    kept.resize(NLMSG_ALIGN(kept.size()));
    const int size = static_cast<int>(sizeof header);
    keep_attributes(kept, static_cast<const char*>(static_cast<const void*>(nlmsg_attrdata(&message, size))),
                    static_cast<std::size_t>(nlmsg_attrlen(&message, size)));
    nlattr* several = attributes.find(RTA_MULTIPATH);
    const bool through = several != nullptr ? keep_next_hop(kept, several, index)
                                            : attributes.get<std::int32_t>(RTA_OIF).value_or(0) == index;
    if (!through) return std::nullopt;
    return KeptRoute6{attributes.ipv6(RTA_DST).value_or(Ipv6{}), header.rtm_dst_len, to_hex(kept)};
}

}  // namespace

Result<std::vector<KeptRoute6>> read_set_routes6(Netlink& netlink, std::string_view link) {
    std::vector<KeptRoute6> routes;
    const int index = netlink.index_of(link);
    if (index == 0) return routes;
    const int code = netlink.query(
        [] {
            auto message = make_message(RTM_GETROUTE, NLM_F_DUMP);
            rtmsg header{};
            header.rtm_family = AF_INET6;
            put_header(*message, header);
            return message;
        },
        [&](const nlmsghdr& message) {
            if (message.nlmsg_type != RTM_NEWROUTE) return;
            if (auto route = route_through(message, index)) routes.push_back(std::move(*route));
        },
        [&] { routes.clear(); });
    if (code < 0) return Failure{netlink_error("cannot list the IPv6 routes", code, link)};
    return routes;
}

Result<void> add_route6(Netlink& netlink, std::string_view link, const KeptRoute6& route) {
    const int index = netlink.index_of(link);
    if (index == 0) return {};
    const auto bytes = from_hex(route.message);
    if (!bytes || bytes->size() < sizeof(rtmsg))
        return Failure{Error{"the record of an IPv6 route cannot be read", std::string(link), {}}};
    auto message = make_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND);
    nlmsg_append(message.get(), const_cast<char*>(bytes->data()), bytes->size(), NLMSG_ALIGNTO);
    nla_put_u32(message.get(), RTA_OIF, static_cast<std::uint32_t>(index));
    const int code = netlink.send(std::move(message));
    if (code == 0 || code == -NLE_EXIST) return {};
    return Failure{netlink_error(
        "cannot add the IPv6 route to " + to_string(route.destination) + "/" + std::to_string(route.length), code,
        link)};
}

}  // namespace vmrouter::link
