#include "src/link/rule.hpp"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>

#include <algorithm>
#include <iterator>

#include "src/link/attributes.hpp"
#include "src/link/host.hpp"
#include "src/link/lan.hpp"

namespace vmrouter::link {
namespace {

std::uint8_t kernel_action(RuleAction action) {
    switch (action) {
        case RuleAction::Lookup:
            return FR_ACT_TO_TBL;
        case RuleAction::Goto:
            return FR_ACT_GOTO;
        case RuleAction::Nop:
            return FR_ACT_NOP;
        case RuleAction::Blackhole:
            return FR_ACT_BLACKHOLE;
        case RuleAction::Unreachable:
            return FR_ACT_UNREACHABLE;
        case RuleAction::Prohibit:
            return FR_ACT_PROHIBIT;
        case RuleAction::Other:
            return FR_ACT_UNSPEC;
    }
    return FR_ACT_UNSPEC;
}

MessagePointer rule_message(int type, int flags, const Rule& rule) {
    auto message = make_message(type, flags);
    fib_rule_hdr header{};
    header.family = AF_INET;
    header.action = kernel_action(rule.action);
    header.src_len = rule.from ? rule.from->length : 0;
    header.dst_len = rule.to ? rule.to->length : 0;
    header.flags = rule.inverted ? FIB_RULE_INVERT : 0;
    put_header(*message, header);
    nla_put_u32(message.get(), FRA_PRIORITY, rule.priority);
    if (rule.table != 0) nla_put_u32(message.get(), FRA_TABLE, rule.table);
    if (!rule.iif.empty()) nla_put_string(message.get(), FRA_IIFNAME, rule.iif.c_str());
    if (!rule.oif.empty()) nla_put_string(message.get(), FRA_OIFNAME, rule.oif.c_str());
    if (rule.mark_mask != 0) {
        nla_put_u32(message.get(), FRA_FWMARK, rule.mark);
        nla_put_u32(message.get(), FRA_FWMASK, rule.mark_mask);
    }
    if (rule.from) put_ipv4(*message, FRA_SRC, rule.from->first());
    if (rule.to) put_ipv4(*message, FRA_DST, rule.to->first());
    return message;
}

}  // namespace

Rule guard_rule(std::string_view segment, std::uint32_t mark, const Cidr& prefix) {
    Rule rule;
    rule.priority = guard_priority;
    rule.action = RuleAction::Prohibit;
    rule.iif = segment;
    rule.mark_mask = mark;
    rule.to = prefix.network();
    return rule;
}

std::vector<Rule> guard_rules(std::span<const Rule> rules, std::string_view segment, std::uint32_t mark) {
    std::vector<Rule> result;
    std::copy_if(rules.begin(), rules.end(), std::back_inserter(result),
                 [&](const Rule& rule) { return rule.to && rule == guard_rule(segment, mark, *rule.to); });
    return result;
}

std::vector<Cidr> guard_prefixes(std::span<const Cidr> prefixes, std::size_t limit) {
    std::vector<Cidr> result(prefixes.begin(), prefixes.end());
    std::erase_if(result, [](const Cidr& prefix) { return prefix.length == 0; });
    for (std::uint8_t length = 32;; --length) {
        for (Cidr& prefix : result) prefix = Cidr{prefix.address, std::min(prefix.length, length)}.network();
        result = outermost(std::move(result));
        if (result.size() <= limit || length == 1) return result;
    }
}

RuleChanges guard_changes(std::span<const Rule> present, std::string_view segment, std::uint32_t mark,
                          std::span<const Cidr> prefixes) {
    std::vector<Rule> wanted;
    for (const Cidr& prefix : prefixes) {
        if (prefix.length > 0) wanted.push_back(guard_rule(segment, mark, prefix));
    }
    std::vector<Rule> there = guard_rules(present, segment, mark);
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::sort(there.begin(), there.end());
    RuleChanges changes;
    std::set_difference(wanted.begin(), wanted.end(), there.begin(), there.end(), std::back_inserter(changes.add));
    std::set_difference(there.begin(), there.end(), wanted.begin(), wanted.end(), std::back_inserter(changes.remove));
    return changes;
}

Result<RuleChanges> sync_guard_rules(Netlink& netlink, std::string_view segment, std::uint32_t mark,
                                     std::span<const Cidr> prefixes) {
    const auto present = read_rules(netlink);
    if (!present) return Failure{present.error()};
    auto changes = guard_changes(*present, segment, mark, prefixes);
    for (const Rule& rule : changes.add) {  // first: a network is never open in between
        if (auto added = add_rule(netlink, rule); !added) return Failure{std::move(added).error()};
    }
    for (const Rule& rule : changes.remove) {
        if (auto removed = remove_rule(netlink, rule); !removed) return Failure{std::move(removed).error()};
    }
    return changes;
}

Result<void> add_rule(Netlink& netlink, const Rule& rule) {
    const int code = netlink.send(rule_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule));
    if (code == 0 || code == -NLE_EXIST) return {};
    return Failure{netlink_error("cannot add the routing rule", code, to_string(rule))};
}

Result<void> remove_rule(Netlink& netlink, const Rule& rule) {
    const int code = netlink.send(rule_message(RTM_DELRULE, 0, rule));
    if (code == 0 || code == -NLE_OBJ_NOTFOUND) return {};
    return Failure{netlink_error("cannot remove the routing rule", code, to_string(rule))};
}

}  // namespace vmrouter::link
