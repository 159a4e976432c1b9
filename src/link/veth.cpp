#include "src/link/veth.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/veth.h>
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "src/link/attributes.hpp"
#include "src/link/bridge.hpp"

namespace vmrouter::link {
namespace {

constexpr const char* own_namespace = "/proc/thread-self/ns/net";

Result<FileDescriptor> current_namespace() {
    FileDescriptor current(open(own_namespace, O_RDONLY | O_CLOEXEC));
    if (!current) return Failure{system_error("cannot open the network namespace", errno, own_namespace)};
    return current;
}

/// In another namespace than ours every later change would be made to the wrong machine.
void go_back(const FileDescriptor& home) {
    if (setns(home.get(), CLONE_NEWNET) != 0) std::abort();
}

tcmsg traffic_header(int index, std::uint32_t parent, std::uint32_t info) {
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = index;
    header.tcm_parent = parent;
    header.tcm_info = info;
    return header;
}

/// u32 with one key that every frame matches, and mirred as its only action.
void put_redirection(nl_msg& message, int to) {
    nla_put_string(&message, TCA_KIND, "u32");
    nlattr* options = nla_nest_start(&message, TCA_OPTIONS);
    std::vector<std::uint8_t> selector(sizeof(tc_u32_sel) + sizeof(tc_u32_key));
    tc_u32_sel head{};
    head.flags = TC_U32_TERMINAL;
    head.nkeys = 1;
    std::memcpy(selector.data(), &head, sizeof head);
    nlattr* actions = nla_nest_start(&message, TCA_U32_ACT);
    nlattr* first = nla_nest_start(&message, 1);
    nla_put_string(&message, TCA_ACT_KIND, "mirred");
    nlattr* parameters = nla_nest_start(&message, TCA_ACT_OPTIONS);
    tc_mirred mirred{};
    mirred.action = TC_ACT_STOLEN;
    mirred.eaction = TCA_INGRESS_REDIR;
    mirred.ifindex = static_cast<std::uint32_t>(to);
    nla_put(&message, TCA_MIRRED_PARMS, sizeof mirred, &mirred);
    nla_nest_end(&message, parameters);
    nla_nest_end(&message, first);
    nla_nest_end(&message, actions);
    nla_put(&message, TCA_U32_SEL, static_cast<int>(selector.size()), selector.data());
    nla_nest_end(&message, options);
}

}  // namespace

Result<FileDescriptor> make_namespace() {
    auto home = current_namespace();
    if (!home) return home;
    if (unshare(CLONE_NEWNET) != 0) return Failure{system_error("cannot make a network namespace", errno)};
    auto made = current_namespace();
    go_back(*home);
    return made;
}

Result<void> in_namespace(const FileDescriptor& space, const std::function<Result<void>()>& work) {
    auto home = current_namespace();
    if (!home) return Failure{std::move(home).error()};
    if (setns(space.get(), CLONE_NEWNET) != 0)
        return Failure{system_error("cannot enter the network namespace", errno)};
    auto done = work();
    go_back(*home);
    return done;
}

Result<void> create_veth(Netlink& netlink, std::string_view name, std::optional<MacAddress> mac, std::string_view peer,
                         const MacAddress& peer_mac, const FileDescriptor& space) {
    auto message = make_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    put_header(*message, ifinfomsg{});
    nla_put_string(message.get(), IFLA_IFNAME, std::string(name).c_str());
    if (mac) nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(mac->bytes.size()), mac->bytes.data());
    nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
    nla_put_string(message.get(), IFLA_INFO_KIND, "veth");
    nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
    nlattr* other = nla_nest_start(message.get(), VETH_INFO_PEER);
    put_header(*message, ifinfomsg{});
    nla_put_string(message.get(), IFLA_IFNAME, std::string(peer).c_str());
    nla_put(message.get(), IFLA_ADDRESS, static_cast<int>(peer_mac.bytes.size()), peer_mac.bytes.data());
    nla_put_u32(message.get(), IFLA_NET_NS_FD, static_cast<std::uint32_t>(space.get()));
    nla_nest_end(message.get(), other);
    nla_nest_end(message.get(), data);
    nla_nest_end(message.get(), info);
    if (auto made = netlink.request(std::move(message), "cannot make a veth pair", name); !made) return made;
    if (auto marked = mark_as_ours(netlink, name); !marked) return marked;
    return in_namespace(space, [&]() -> Result<void> {
        auto there = Netlink::open();
        if (!there) return Failure{std::move(there).error()};
        return mark_as_ours(*there, peer);
    });
}

Result<void> redirect_arrivals(Netlink& netlink, std::string_view from, std::string_view to) {
    const int source = netlink.index_of(from);
    const int target = netlink.index_of(to);
    auto hook = make_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
    put_header(*hook, traffic_header(source, TC_H_CLSACT, 0));
    nla_put_string(hook.get(), TCA_KIND, "clsact");
    if (auto made = netlink.request(std::move(hook), "the kernel has no clsact (module sch_ingress)", from); !made)
        return made;
    auto filter = make_message(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
    const std::uint32_t every_protocol = htons(ETH_P_ALL);
    put_header(*filter,
               traffic_header(source, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(1U << 16U, every_protocol)));
    put_redirection(*filter, target);
    return netlink.request(std::move(filter), "the kernel cannot redirect frames (modules cls_u32, act_mirred)", from);
}

}  // namespace vmrouter::link
