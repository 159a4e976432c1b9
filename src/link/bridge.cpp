#include "src/link/bridge.hpp"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <unistd.h>

#include <algorithm>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/attributes.hpp"
#include "src/link/host.hpp"
#include "src/link/messages.hpp"

namespace vmrouter::link {
namespace {

constexpr std::uint8_t kForwarding = 3;           // BR_STATE_FORWARDING; its header and netinet/in.h exclude each other
constexpr std::uint32_t kShortestStpDelay = 200;  // in 10 ms; BR_MIN_FORWARD_DELAY: the kernel refuses less with STP on

/// A change to one link, as the kernel wants it: RTM_NEWLINK about its index.
MessagePointer change_message(int index, unsigned flags = 0, unsigned mask = 0) {
    auto message = make_message(RTM_NEWLINK, 0);
    ifinfomsg header{};
    header.ifi_index = index;
    header.ifi_flags = flags;
    header.ifi_change = mask;
    put_header(*message, header);
    return message;
}

Error no_such_link(std::string_view name) {
    return {"there is no such interface", std::string(name), {}};
}

/// FNV-1a: a name for a machine and a bridge, nothing that must resist anybody.
std::uint64_t hash(std::string_view text) {
    std::uint64_t value = 0xcbf29ce484222325;
    for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return value;
}

void put_bridge_options(nl_msg& message, const BridgeOptions& options) {
    nlattr* info = nla_nest_start(&message, IFLA_LINKINFO);
    nla_put_string(&message, IFLA_INFO_KIND, "bridge");
    nlattr* data = nla_nest_start(&message, IFLA_INFO_DATA);
    nla_put_u32(&message, IFLA_BR_FORWARD_DELAY, options.stp ? kShortestStpDelay : 0);
    nla_put_u32(&message, IFLA_BR_STP_STATE, options.stp ? 1 : 0);
    // Without a querier snooping only loses multicast, and we are none: it would send IGMP and MLD into the segment.
    nla_put_u8(&message, IFLA_BR_MCAST_SNOOPING, 0);
    nla_put_u8(&message, IFLA_BR_MCAST_QUERIER, 0);
    nla_put_u16(&message, IFLA_BR_GROUP_FWD_MASK, 0);
    nla_nest_end(&message, data);
    nla_nest_end(&message, info);
}

/// fe80::/64 is not even made when somebody writes disable_ipv6 = 0.
void put_no_ipv6_address(nl_msg& message) {
    nlattr* families = nla_nest_start(&message, IFLA_AF_SPEC);
    nlattr* inet6 = nla_nest_start(&message, AF_INET6);
    nla_put_u8(&message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    nla_nest_end(&message, inet6);
    nla_nest_end(&message, families);
}

}  // namespace

MacAddress stable_mac(std::string_view machine_id, std::string_view name) {
    const std::uint64_t value = hash(std::string(machine_id) + "/" + std::string(name));
    MacAddress mac;
    for (std::size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes.at(i) = static_cast<std::uint8_t>(value >> (8 * i));
    mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfcU) | 0x02U);  // locally administered, unicast
    return mac;
}

std::string machine_id() {
    for (const char* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
        if (const auto content = read_file(path, 4096); content && !trim(*content).empty())
            return std::string(trim(*content));
    }
    std::string name(256, '\0');
    if (gethostname(name.data(), name.size() - 1) != 0) return "vmrouter";
    return name.substr(0, name.find('\0'));
}

Result<Created> create_bridge(Netlink& netlink, std::string_view name, const BridgeOptions& options) {
    const std::string text(name);
    auto message = make_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    put_header(*message, ifinfomsg{});
    nla_put_string(message.get(), IFLA_IFNAME, text.c_str());
    nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(options.mac.bytes.size()), options.mac.bytes.data());
    nla_put_u32(message.get(), IFLA_MTU, options.mtu);
    put_bridge_options(*message, options);
    const int code = netlink.send(std::move(message));
    if (code == -NLE_EXIST) return Created::WasThere;
    if (code == -NLE_OPNOTSUPP) {
        return Failure{Error{"the kernel has no bridges", text, "load its module: modprobe bridge"}};
    }
    if (code < 0) return Failure{netlink_error("cannot create the bridge", code, name)};

    if (auto marked = mark_as_ours(netlink, name); !marked) return Failure{std::move(marked).error()};
    return Created::Yes;
}

Result<void> mark_as_ours(Netlink& netlink, std::string_view name) {
    // The kernel ignores both in the message that creates.
    const int index = netlink.index_of(name);
    auto mark = change_message(index);
    nla_put_string(mark.get(), IFLA_IFALIAS, std::string(our_alias).c_str());
    if (auto done = netlink.request(std::move(mark), "cannot mark the interface as ours", name); !done) return done;
    auto no_ipv6 = change_message(index);
    put_no_ipv6_address(*no_ipv6);
    netlink.send(std::move(no_ipv6));  // fails where IPv6 is disabled: then there is nothing to prevent
    return {};
}

Result<void> delete_link(Netlink& netlink, std::string_view name) {
    const int index = netlink.index_of(name);
    if (index == 0) return {};
    auto message = make_message(RTM_DELLINK, 0);
    ifinfomsg header{};
    header.ifi_index = index;
    put_header(*message, header);
    const int code = netlink.send(std::move(message));
    if (code == 0 || code == -NLE_NODEV || code == -NLE_OBJ_NOTFOUND) return {};
    return Failure{netlink_error("cannot delete the interface", code, name)};
}

bool is_ours(const Link& link, const MacAddress& mac) {
    return (link.kind == "bridge" || link.kind == "tun") && (link.alias == our_alias || link.mac == mac);
}

Result<void> set_up(Netlink& netlink, std::string_view name) {
    const int index = netlink.index_of(name);
    if (index == 0) return Failure{no_such_link(name)};
    return netlink.request(change_message(index, IFF_UP, IFF_UP), "cannot set the interface up", name);
}

Result<void> set_down(Netlink& netlink, std::string_view name) {
    const int index = netlink.index_of(name);
    if (index == 0) return {};
    return netlink.request(change_message(index, 0, IFF_UP), "cannot set the interface down", name);
}

Result<void> set_mtu(Netlink& netlink, std::string_view name, std::uint32_t mtu) {
    const int index = netlink.index_of(name);
    if (index == 0) return Failure{no_such_link(name)};
    auto message = change_message(index);
    nla_put_u32(message.get(), IFLA_MTU, mtu);
    return netlink.request(std::move(message), "cannot set the MTU to " + std::to_string(mtu), name);
}

Result<void> set_mac(Netlink& netlink, std::string_view name, const MacAddress& mac) {
    const int index = netlink.index_of(name);
    if (index == 0) return Failure{no_such_link(name)};
    auto message = change_message(index);
    nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(mac.bytes.size()), mac.bytes.data());
    return netlink.request(std::move(message), "cannot set the MAC address to " + to_string(mac), name);
}

Result<BridgeState> read_bridge_options(Netlink& netlink, std::string_view name) {
    const int index = netlink.index_of(name);
    if (index == 0) return Failure{no_such_link(name)};
    BridgeState state;
    const int code = netlink.query(
        [&] {
            auto message = make_message(RTM_GETLINK, 0);
            ifinfomsg header{};
            header.ifi_index = index;
            put_header(*message, header);
            return message;
        },
        [&](const nlmsghdr& message) {
            const auto link = Attributes<IFLA_MAX>::of_message(message, sizeof(ifinfomsg));
            const auto info = Attributes<IFLA_INFO_MAX>::nested(link.find(IFLA_LINKINFO));
            const auto bridge = Attributes<IFLA_BR_MAX>::nested(info.find(IFLA_INFO_DATA));
            state.stp = bridge.get<std::uint32_t>(IFLA_BR_STP_STATE).value_or(0) != 0;
            state.snooping = bridge.get<std::uint8_t>(IFLA_BR_MCAST_SNOOPING).value_or(0) != 0;
            state.querier = bridge.get<std::uint8_t>(IFLA_BR_MCAST_QUERIER).value_or(0) != 0;
        },
        [&] { state = {}; });
    if (code < 0) return Failure{netlink_error("cannot read the bridge's options", code, name)};
    return state;
}

namespace {

/// One option of a bridge's port.
MessagePointer port_message(int index, int type, std::uint8_t value) {
    auto message = change_message(index);
    nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
    nla_put_string(message.get(), IFLA_INFO_SLAVE_KIND, "bridge");
    nlattr* data = nla_nest_start(message.get(), IFLA_INFO_SLAVE_DATA);
    nla_put_u8(message.get(), type, value);
    nla_nest_end(message.get(), data);
    nla_nest_end(message.get(), info);
    return message;
}

/// One option of a bridge; `T` is the size that the kernel takes it in.
template <typename T>
Result<void> set_bridge_option(Netlink& netlink, std::string_view name, int type, T value, std::string_view trouble) {
    const int index = netlink.index_of(name);
    if (index == 0) return Failure{no_such_link(name)};
    auto message = change_message(index);
    nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
    nla_put_string(message.get(), IFLA_INFO_KIND, "bridge");
    nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
    nla_put(message.get(), type, sizeof value, &value);
    nla_nest_end(message.get(), data);
    nla_nest_end(message.get(), info);
    return netlink.request(std::move(message), trouble, name);
}

}  // namespace

Result<void> set_stp(Netlink& netlink, std::string_view name, bool stp) {
    const auto option = [&](int type, std::uint32_t value) {
        return set_bridge_option(netlink, name, type, value, "cannot set the bridge's spanning tree");
    };
    // With spanning tree the kernel refuses a shorter delay, so the delay comes first, or last.
    if (stp)
        if (auto done = option(IFLA_BR_FORWARD_DELAY, kShortestStpDelay); !done) return done;
    if (auto done = option(IFLA_BR_STP_STATE, stp ? 1 : 0); !done) return done;
    if (stp) return {};
    if (auto done = option(IFLA_BR_FORWARD_DELAY, 0); !done) return done;
    // A port that listens or learns would go on until the delay of before is over.
    const auto all = ports(netlink, name);
    if (!all) return Failure{all.error()};
    for (const auto& port : *all)
        netlink.send(port_message(port.index, IFLA_BRPORT_STATE, kForwarding));  // fails for one that is down
    return {};
}

Result<void> stop_snooping(Netlink& netlink, std::string_view name) {
    for (const int type : {IFLA_BR_MCAST_SNOOPING, IFLA_BR_MCAST_QUERIER}) {
        auto done = set_bridge_option(netlink, name, type, std::uint8_t{0}, "cannot switch off multicast snooping");
        if (!done) return done;
    }
    return {};
}

Result<std::vector<Port>> ports(Netlink& netlink, std::string_view bridge) {
    return ports(netlink, netlink.index_of(bridge));
}

Result<std::vector<Port>> ports(Netlink& netlink, int index) {
    std::vector<Port> result;
    if (index == 0) return result;
    const int code = netlink.query(
        [&] {
            auto message = make_message(RTM_GETLINK, NLM_F_DUMP);
            put_header(*message, ifinfomsg{});
            nla_put_u32(message.get(), IFLA_MASTER, static_cast<std::uint32_t>(index));
            return message;
        },
        [&](const nlmsghdr& message) {
            const auto link = parse_link(message);  // a kernel may ignore the filter
            if (!link || link->master != index) return;
            if (auto port = parse_port(message)) result.push_back(std::move(*port));
        },
        [&] { result.clear(); });
    if (code < 0) return Failure{netlink_error("cannot list the ports of the bridge", code, {})};
    return result;
}

int port_of(Netlink& netlink, int bridge, const MacAddress& mac) {
    int port = 0;
    const auto ask = [&] {
        auto message = make_message(RTM_GETNEIGH, 0);
        ndmsg header{};
        header.ndm_family = AF_BRIDGE;
        put_header(*message, header);
        nla_put(message.get(), NDA_LLADDR, static_cast<int>(mac.bytes.size()), mac.bytes.data());
        nla_put_u32(message.get(), NDA_MASTER, static_cast<std::uint32_t>(bridge));
        return message;
    };
    const auto read = [&](const nlmsghdr& message) {
        const int index = header_of<ndmsg>(message).ndm_ifindex;
        if (index != bridge) port = index;  // else an address of the bridge itself
    };
    const int code = netlink.query(ask, read, [&] { port = 0; });
    return code < 0 ? 0 : port;
}

Result<void> enslave(Netlink& netlink, std::string_view port, std::string_view bridge) {
    auto links = read_links(netlink);
    if (!links) return Failure{std::move(links).error()};
    const auto find = [&](std::string_view name) {
        return std::find_if(links->begin(), links->end(), [&](const Link& link) { return link.name == name; });
    };
    const auto slave = find(port);
    const auto master = find(bridge);
    if (slave == links->end()) return Failure{no_such_link(port)};
    if (master == links->end()) return Failure{no_such_link(bridge)};
    return enslave(netlink, *slave, *master);
}

Result<void> enslave(Netlink& netlink, const Link& port, const Link& bridge) {
    if (port.master == bridge.index) return {};
    if (port.master != 0) {
        return Failure{Error{"the interface belongs to another bridge or bond", port.name,
                             "take it out there first: ip link set " + port.name + " nomaster"}};
    }
    auto message = change_message(port.index);
    nla_put_u32(message.get(), IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
    return netlink.request(std::move(message), "cannot put the interface on " + bridge.name, port.name);
}

Result<void> release(Netlink& netlink, std::string_view port) {
    const int index = netlink.index_of(port);
    if (index == 0) return {};
    auto message = change_message(index);
    nla_put_u32(message.get(), IFLA_MASTER, 0);
    return netlink.request(std::move(message), "cannot take the interface off its bridge", port);
}

Result<void> set_isolated(Netlink& netlink, std::string_view port, bool isolated) {
    const int index = netlink.index_of(port);
    if (index == 0) return {};
    auto message = port_message(index, IFLA_BRPORT_ISOLATED, isolated ? 1 : 0);
    return netlink.request(std::move(message), isolated ? "cannot isolate the port" : "cannot end the port's isolation",
                           port);
}

}  // namespace vmrouter::link
