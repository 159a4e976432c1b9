// The xt target CHECKSUM is made for exactly this, and the kernel takes it only in a table `mangle` of family ip.
// libnftables cannot write xt targets, so the few messages are written here. Setting the checksum to zero instead would
// be worse than nothing: the packet stays marked "checksum to be completed", and whoever completes it computes a wrong
// one.

#include "firewall/checksum_fill.hpp"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter_ipv4.h>
#include <net/if.h>
#include <netinet/in.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

namespace {

constexpr const char* table = "mangle";
constexpr const char* chain = "POSTROUTING";
constexpr const char* target = "CHECKSUM";
constexpr std::uint16_t bootpc = 68;

NetfilterMessage message(std::uint16_t type, int flags) {
    return {NFNL_SUBSYS_NFTABLES, type, NLM_F_REQUEST | flags, NFPROTO_IPV4};
}

/// One transaction; 0 or the kernel's errno. Only the last message asks for an answer: the first answer is the result.
Result<int> transact(int socket, const std::vector<NetfilterMessage>& messages) {
    std::vector<std::uint8_t> batch;
    const auto append = [&](const NetfilterMessage& m) {
        batch.insert(batch.end(), m.bytes().begin(), m.bytes().end());
        batch.resize(NLMSG_ALIGN(batch.size()));
    };
    append({0, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES});
    for (const auto& m : messages) append(m);
    append({0, NFNL_MSG_BATCH_END, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES});
    return netfilter_exchange(socket, batch);
}

NetfilterMessage table_message(std::uint16_t type, int flags) {
    auto m = message(type, flags);
    nla_put_string(m.get(), NFTA_TABLE_NAME, table);
    return m;
}

NetfilterMessage new_chain() {
    auto m = message(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    nla_put_string(m.get(), NFTA_CHAIN_TABLE, table);
    nla_put_string(m.get(), NFTA_CHAIN_NAME, chain);
    nlattr* hook = nla_nest_start(m.get(), NFTA_CHAIN_HOOK);
    nla_put_u32(m.get(), NFTA_HOOK_HOOKNUM, htonl(NF_INET_POST_ROUTING));
    nla_put_u32(m.get(), NFTA_HOOK_PRIORITY, htonl(static_cast<std::uint32_t>(NF_IP_PRI_MANGLE)));
    nla_nest_end(m.get(), hook);
    nla_put_string(m.get(), NFTA_CHAIN_TYPE, "filter");
    return m;
}

NetfilterMessage chain_message(std::uint16_t type, int flags) {
    auto m = message(type, flags);
    nla_put_string(m.get(), NFTA_CHAIN_TABLE, table);
    nla_put_string(m.get(), NFTA_CHAIN_NAME, chain);
    return m;
}

/// Opens "expression { data" and closes both when it goes.
class Expression {
public:
    Expression(nl_msg* m, const char* name) : m_(m), element_(nla_nest_start(m, NFTA_LIST_ELEM)) {
        nla_put_string(m, NFTA_EXPR_NAME, name);
        data_ = nla_nest_start(m, NFTA_EXPR_DATA);
    }
    ~Expression() {
        nla_nest_end(m_, data_);
        nla_nest_end(m_, element_);
    }
    Expression(const Expression&) = delete;
    Expression& operator=(const Expression&) = delete;

    void u32(int attribute, std::uint32_t value) { nla_put_u32(m_, attribute, htonl(value)); }
    void bytes(int attribute, const void* data, std::size_t size) {
        nla_put(m_, attribute, static_cast<int>(size), data);
    }
    void value(int attribute, const void* data, std::size_t size) {
        nlattr* nest = nla_nest_start(m_, attribute);
        bytes(NFTA_DATA_VALUE, data, size);
        nla_nest_end(m_, nest);
    }
    void text(int attribute, const char* value) { nla_put_string(m_, attribute, value); }

private:
    nl_msg* m_;
    nlattr* element_;
    nlattr* data_ = nullptr;
};

void match(nl_msg* m, const void* data, std::size_t size) {
    Expression compare(m, "cmp");
    compare.u32(NFTA_CMP_SREG, NFT_REG_1);
    compare.u32(NFTA_CMP_OP, NFT_CMP_EQ);
    compare.value(NFTA_CMP_DATA, data, size);
}

void load_meta(nl_msg* m, std::uint32_t key) {
    Expression meta(m, "meta");
    meta.u32(NFTA_META_DREG, NFT_REG_1);
    meta.u32(NFTA_META_KEY, key);
}

void match_destination_port(nl_msg* m) {
    {
        Expression payload(m, "payload");
        payload.u32(NFTA_PAYLOAD_DREG, NFT_REG_1);
        payload.u32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
        payload.u32(NFTA_PAYLOAD_OFFSET, 2);
        payload.u32(NFTA_PAYLOAD_LEN, 2);
    }
    const std::uint16_t port = htons(bootpc);
    match(m, &port, sizeof port);
}

NetfilterMessage new_rule(const std::string& interface) {
    auto rule = message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK);
    nl_msg* m = rule.get();
    nla_put_string(m, NFTA_RULE_TABLE, table);
    nla_put_string(m, NFTA_RULE_CHAIN, chain);
    nlattr* list = nla_nest_start(m, NFTA_RULE_EXPRESSIONS);
    load_meta(m, NFT_META_OIFNAME);
    match(m, interface.c_str(), interface.size() + 1);
    load_meta(m, NFT_META_L4PROTO);
    const std::uint8_t udp = IPPROTO_UDP;
    match(m, &udp, sizeof udp);
    match_destination_port(m);
    { Expression counter(m, "counter"); }
    {
        Expression checksum(m, "target");
        const std::array<std::uint8_t, 8> fill{1};  // XT_CHECKSUM_OP_FILL, padded
        checksum.text(NFTA_TARGET_NAME, target);
        checksum.u32(NFTA_TARGET_REV, 0);
        checksum.bytes(NFTA_TARGET_INFO, fill.data(), fill.size());
    }
    nla_nest_end(m, list);
    nlattr* compat = nla_nest_start(m, NFTA_RULE_COMPAT);  // the target asks which protocol it is used with
    nla_put_u32(m, NFTA_RULE_COMPAT_PROTO, htonl(IPPROTO_UDP));
    nla_put_u32(m, NFTA_RULE_COMPAT_FLAGS, 0);
    nla_nest_end(m, compat);
    return rule;
}

bool holds(Bytes bytes, const std::string& text) {
    return bytes.size() > text.size() && std::memcmp(bytes.data(), text.c_str(), text.size() + 1) == 0;
}

/// A rule that sends what leaves by `interface` to the target: by its expressions, since handles change.
bool is_fill_rule(const nlattr* expressions, const std::string& interface) {
    bool right_interface = false;
    bool right_target = false;
    if (expressions == nullptr) return false;
    int left = nla_len(expressions);
    for (auto* element = static_cast<const nlattr*>(nla_data(expressions)); nla_ok(element, left);
         element = nla_next(element, &left)) {
        const auto parts = nested_attributes(element, NFTA_EXPR_MAX + 1);
        const Bytes name = attribute_bytes(parts[NFTA_EXPR_NAME]);
        if (holds(name, "cmp")) {
            const auto cmp = nested_attributes(parts[NFTA_EXPR_DATA], NFTA_CMP_MAX + 1);
            const auto data = nested_attributes(cmp[NFTA_CMP_DATA], NFTA_DATA_MAX + 1);
            right_interface |= holds(attribute_bytes(data[NFTA_DATA_VALUE]), interface);
        } else if (holds(name, "target")) {
            const auto data = nested_attributes(parts[NFTA_EXPR_DATA], NFTA_TARGET_MAX + 1);
            right_target |= holds(attribute_bytes(data[NFTA_TARGET_NAME]), target);
        }
    }
    return right_interface && right_target;
}

std::uint64_t attribute_u64(const nlattr* attribute) {
    Reader reader(attribute_bytes(attribute));
    const std::uint64_t high = reader.u32();
    return (high << 32) | reader.u32();
}

/// The handles of our rules.
Result<std::vector<std::uint64_t>> our_rules(int socket, const std::string& interface) {
    auto request = message(NFT_MSG_GETRULE, NLM_F_DUMP);
    nla_put_string(request.get(), NFTA_RULE_TABLE, table);
    nla_put_string(request.get(), NFTA_RULE_CHAIN, chain);
    std::vector<std::uint64_t> rules;
    const auto answer = netfilter_exchange(socket, request.bytes(), [&](const nlmsghdr& found) {
        const auto attributes = netfilter_attributes(found, NFTA_RULE_MAX + 1);
        if (!holds(attribute_bytes(attributes[NFTA_RULE_TABLE]), table)) return;
        if (!holds(attribute_bytes(attributes[NFTA_RULE_CHAIN]), chain)) return;
        if (is_fill_rule(attributes[NFTA_RULE_EXPRESSIONS], interface))
            rules.push_back(attribute_u64(attributes[NFTA_RULE_HANDLE]));
    });
    if (!answer) return Failure{answer.error()};
    if (*answer != 0 && *answer != ENOENT) return Failure{system_error("cannot read table ip mangle", *answer)};
    return rules;
}

/// Whether the kernel answers a question about one object.
Result<bool> exists(int socket, const NetfilterMessage& question) {
    const auto answer = netfilter_exchange(socket, question.bytes());
    if (!answer) return Failure{answer.error()};
    if (*answer != 0 && *answer != ENOENT) return Failure{system_error("cannot read table ip mangle", *answer)};
    return *answer == 0;
}

/// Whether there is nothing in the table but base chains without rules that accept, as `iptables-restore` makes them
/// when it gets the text of a table that had one of ours only.
Result<bool> is_void(int socket) {
    bool is_void = true;
    const auto look = [&](std::uint16_t type, std::size_t attribute_count, const auto& judge) -> Result<void> {
        const auto request = message(type, NLM_F_DUMP);
        const auto answer = netfilter_exchange(socket, request.bytes(), [&](const nlmsghdr& found) {
            const auto attributes = netfilter_attributes(found, attribute_count);
            // NFTA_RULE_TABLE and NFTA_CHAIN_TABLE are the same number
            if (holds(attribute_bytes(attributes[NFTA_RULE_TABLE]), table) && !judge(attributes)) is_void = false;
        });
        if (!answer) return Failure{answer.error()};
        return {};
    };
    if (auto rules = look(NFT_MSG_GETRULE, NFTA_RULE_MAX + 1, [](const auto&) { return false; }); !rules)
        return Failure{std::move(rules).error()};
    const auto accepts = [](const auto& attributes) {
        Reader policy(attribute_bytes(attributes[NFTA_CHAIN_POLICY]));
        return attributes[NFTA_CHAIN_HOOK] != nullptr && policy.u32() == NF_ACCEPT;
    };
    if (auto chains = look(NFT_MSG_GETCHAIN, NFTA_CHAIN_MAX + 1, accepts); !chains)
        return Failure{std::move(chains).error()};
    return is_void;
}

}  // namespace

Result<ChecksumFill> fill_checksums(const std::string& interface) {
    const auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    const auto have_table = exists(socket->get(), table_message(NFT_MSG_GETTABLE, NLM_F_ACK));
    if (!have_table) return Failure{have_table.error()};
    const auto have_chain = exists(socket->get(), chain_message(NFT_MSG_GETCHAIN, NLM_F_ACK));
    if (!have_chain) return Failure{have_chain.error()};
    const auto rules = our_rules(socket->get(), interface);
    if (!rules) return Failure{rules.error()};
    if (!rules->empty()) return ChecksumFill{};

    std::vector<NetfilterMessage> batch;
    if (!*have_table) batch.push_back(table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE));
    if (!*have_chain) batch.push_back(new_chain());
    batch.push_back(new_rule(interface));
    const auto done = transact(socket->get(), batch);
    if (!done) return Failure{done.error()};
    if (*done != 0)
        return Failure{system_error("cannot have the kernel fill in checksums", *done, interface,
                                    "it needs CONFIG_NETFILTER_XT_TARGET_CHECKSUM (try: modprobe xt_CHECKSUM), or set "
                                    "dhcp.checksum_fill = false; our own replies are right without it")};
    return ChecksumFill{!*have_table, !*have_chain};
}

Result<void> stop_filling_checksums(const std::string& interface, const ChecksumFill& made) {
    const auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    const auto rules = our_rules(socket->get(), interface);
    if (!rules) return Failure{rules.error()};
    for (const auto handle : *rules) {
        auto remove = message(NFT_MSG_DELRULE, NLM_F_ACK);
        nla_put_string(remove.get(), NFTA_RULE_TABLE, table);
        nla_put_string(remove.get(), NFTA_RULE_CHAIN, chain);
        nla_put_u64(remove.get(), NFTA_RULE_HANDLE, htobe64(handle));
        std::vector<NetfilterMessage> batch;
        batch.push_back(std::move(remove));
        const auto done = transact(socket->get(), batch);
        if (!done) return Failure{done.error()};
        if (*done != 0 && *done != ENOENT) return Failure{system_error("cannot remove our rule", *done, "ip mangle")};
    }
    // NONREC: the kernel refuses while somebody else has something in there, which is fine.
    const auto remove_empty = [&](NetfilterMessage request) {
        std::vector<NetfilterMessage> batch;
        batch.push_back(std::move(request));
        return transact(socket->get(), batch);
    };
    if (made.created_chain) {
        if (const auto done = remove_empty(chain_message(NFT_MSG_DELCHAIN, NLM_F_NONREC | NLM_F_ACK)); !done)
            return Failure{done.error()};
    }
    if (made.created_table) {
        const auto nobody_uses_it = is_void(socket->get());
        if (!nobody_uses_it) return Failure{nobody_uses_it.error()};
        const int how = *nobody_uses_it ? NLM_F_ACK : NLM_F_NONREC | NLM_F_ACK;
        if (const auto done = remove_empty(table_message(NFT_MSG_DELTABLE, how)); !done) return Failure{done.error()};
    }
    return {};
}

}  // namespace vmrouter::firewall
