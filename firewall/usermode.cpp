// QEMU's user-mode networking (slirp, passt) is an ordinary process of the host: what its guest sends leaves as that
// user's sockets. The output hook knows the user of a socket, so it can be confined like a guest on a segment, for IPv4
// and IPv6. Answers in connections that others opened towards it (hostfwd, VNC) go on.

#include <string>

#include "firewall/script.hpp"

namespace vmrouter::firewall {

namespace {

constexpr Reason usermode{"usermode", Reason::Answer::RefuseProcess, Reason::Log::Plain,
                          "a user-mode guest that wanted the host or a LAN"};

std::string users(const Policy& policy) {
    std::vector<std::string> uids;
    for (const auto uid : policy.usermode.uids) uids.push_back(std::to_string(uid));
    return "{ " + join(uids) + " }";
}

}  // namespace

void add_usermode_objects(Script& script, const Policy& policy) {
    add_reason_objects(script, policy, {usermode});
}

void add_usermode_chains(Script& script, const Policy& policy) {
    const std::string refuse = " goto " + chain_of(usermode);

    std::vector<std::string> rules{"ct direction reply accept"};
    for (const auto& resolver : policy.usermode.resolvers)
        rules.push_back("ip daddr " + to_string(resolver) + " meta l4proto { tcp, udp } th dport 53 accept");
    for (const auto& resolver : policy.usermode.resolvers6)
        rules.push_back("ip6 daddr " + to_string(resolver) + " meta l4proto { tcp, udp } th dport 53 accept");
    rules.push_back("fib daddr type != unicast" + refuse);  // the host's addresses, broadcast, multicast
    for (const auto& allowed : policy.allow) rules.push_back(match(allowed) + " accept");
    rules.push_back("meta nfproto ipv6 goto vm_usermode6");
    rules.push_back("ip daddr @vm_block" + refuse);
    rules.push_back("ip daddr @vm_reserved" + refuse);
    rules.push_back("ip daddr @vm_private" + refuse);
    rules.push_back("ip daddr @vm_lan" + refuse);
    rules.emplace_back("oifname != @vm_uplinks goto vm_usermode_elsewhere");
    rules.emplace_back("oifname @vm_gatewayed oifname . rt ip nexthop != @vm_gateways goto vm_usermode_elsewhere");
    rules.emplace_back("accept");

    script.base_chain("vm_usermode_output", "filter hook output priority filter - 10",
                      "sockets of users whose guests are confined",
                      {"meta skuid " + users(policy) + " goto vm_usermode"});
    script.chain("vm_usermode", "the host's resolver and the internet, nothing else", rules);
    script.chain(
        "vm_usermode6", "the same for IPv6",
        {"ip6 daddr @vm_lan6" + refuse, "oifname != @vm_uplinks6 goto vm_usermode_elsewhere",
         "oifname @vm_gatewayed6 oifname . rt ip6 nexthop != @vm_gateways6 goto vm_usermode_elsewhere", "accept"});
    script.chain("vm_usermode_elsewhere", "as in vm_elsewhere",
                 {"ct state established drop", "goto " + chain_of(usermode)});
    add_reason_chains(script, policy, {usermode});
}

}  // namespace vmrouter::firewall
