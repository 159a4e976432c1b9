#include "src/link/facts.hpp"

#include <linux/if.h>

#include <algorithm>

namespace vmrouter::link {
namespace {

constexpr std::uint32_t kMainTable = 254;

std::string in_hex(std::uint32_t value) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (int shift = 28; shift >= 0; shift -= 4) {
        const auto digit = (value >> shift) & 0xf;
        if (digit != 0 || !text.empty() || shift == 0) text += digits[digit];
    }
    return "0x" + text;
}

std::string destination_of(const Cidr& destination) {
    return destination.length == 0 ? "default" : to_string(destination);
}

std::string_view word(RouteType type) {
    switch (type) {
        case RouteType::Unicast:
            return "";
        case RouteType::Local:
            return "local ";
        case RouteType::Broadcast:
            return "broadcast ";
        case RouteType::Refusing:
            return "refused ";
        case RouteType::Other:
            return "other ";
    }
    return "";
}

std::string action_of(const Rule& rule) {
    switch (rule.action) {
        case RuleAction::Lookup:
            return "lookup " + std::to_string(rule.table);
        case RuleAction::Goto:
            return "goto";
        case RuleAction::Nop:
            return "nop";
        case RuleAction::Blackhole:
            return "blackhole";
        case RuleAction::Unreachable:
            return "unreachable";
        case RuleAction::Prohibit:
            return "prohibit";
        case RuleAction::Other:
            return "?";
    }
    return "?";
}

std::string to_string(const Link& link, const HostFacts& facts) {
    std::string text = "link " + std::to_string(link.index) + " " + link.name;
    if (!link.kind.empty()) text += " " + link.kind;
    if (link.mac) text += " " + vmrouter::to_string(*link.mac);
    text += " mtu " + std::to_string(link.mtu) + (link.up() ? " up" : " down");
    if (!link.carrier) text += " no-carrier";
    if (link.master != 0) text += " master " + facts.name_of(link.master);
    if (link.parent != 0) text += " on " + facts.name_of(link.parent);
    if (!link.alias.empty()) text += " alias " + link.alias;
    return text;
}

}  // namespace

bool Link::up() const {
    return (flags & IFF_UP) != 0;
}

bool Link::loopback() const {
    return (flags & IFF_LOOPBACK) != 0;
}

const Link* HostFacts::find(std::string_view name) const {
    const auto found = std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.name == name; });
    return found == links.end() ? nullptr : &*found;
}

const Link* HostFacts::find(int index) const {
    const auto found = std::find_if(links.begin(), links.end(), [&](const Link& link) { return link.index == index; });
    return found == links.end() ? nullptr : &*found;
}

std::string HostFacts::name_of(int index) const {
    const Link* link = find(index);
    return link != nullptr ? link->name : "if" + std::to_string(index);
}

std::vector<const Link*> HostFacts::ports_of(std::string_view name) const {
    std::vector<const Link*> result;
    const Link* master = find(name);
    if (master == nullptr) return result;
    for (const Link& link : links) {
        if (link.master == master->index) result.push_back(&link);
    }
    return result;
}

std::string to_string(const Rule& rule) {
    std::string text = std::to_string(rule.priority) + ":";
    if (rule.inverted) text += " not";
    text += " from " + (rule.from ? to_string(*rule.from) : "all");
    if (rule.to) text += " to " + to_string(*rule.to);
    if (rule.mark_mask != 0 || rule.mark != 0) text += " fwmark " + in_hex(rule.mark) + "/" + in_hex(rule.mark_mask);
    if (!rule.iif.empty()) text += " iif " + rule.iif;
    if (!rule.oif.empty()) text += " oif " + rule.oif;
    return text + " " + action_of(rule);
}

std::string to_string(const Route& route, const HostFacts& facts) {
    std::string text = std::string(word(route.type)) + destination_of(route.destination);
    for (const Nexthop& hop : route.nexthops) {
        if (route.nexthops.size() > 1) text += " nexthop";
        if (hop.gateway) text += " via " + to_string(*hop.gateway);
        if (hop.gateway6) text += " via " + to_string(*hop.gateway6);
        if (hop.link != 0) text += " dev " + facts.name_of(hop.link);
    }
    if (route.table != kMainTable) text += " table " + std::to_string(route.table);
    if (route.source) text += " src " + to_string(*route.source);
    if (route.priority != 0) text += " metric " + std::to_string(route.priority);
    return text;
}

std::string to_string(const HostFacts& facts) {
    std::string text;
    const auto line = [&](const std::string& content) { text += content + "\n"; };
    for (const Link& link : facts.links) line(to_string(link, facts));
    for (const Address4& address : facts.addresses) {
        line("address " + to_string(address.local) + " in " + to_string(address.network) + " dev " +
             facts.name_of(address.link));
    }
    for (const Address6& address : facts.addresses6) {
        line("address " + to_string(address.local) + "/" + std::to_string(address.length) + " dev " +
             facts.name_of(address.link));
    }
    for (const Route& route : facts.routes) line("route " + to_string(route, facts));
    for (const Rule& rule : facts.rules) line("rule " + to_string(rule));
    for (const PathAnswer& answer : facts.internet) {
        line("to " + to_string(answer.destination) + ": " +
             (answer.route ? to_string(*answer.route, facts) : "no way"));
    }
    for (const auto& [path, value] : facts.sysctls) line("sysctl " + path + " = " + value);
    return text;
}

}  // namespace vmrouter::link
