#include "firewall/elements.hpp"

#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>

#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

namespace {

void append(std::vector<std::uint8_t>& batch, const NetfilterMessage& message) {
    const Bytes bytes = message.bytes();
    batch.insert(batch.end(), bytes.begin(), bytes.end());
    batch.resize(NLMSG_ALIGN(batch.size()));
}

NetfilterMessage element_message(const std::string& table, const ElementChange& change, bool last) {
    const bool add = change.action == ElementChange::Action::Add;
    NetfilterMessage message(NFNL_SUBSYS_NFTABLES, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM,
                             NLM_F_REQUEST | (add ? NLM_F_CREATE : 0) | (last ? NLM_F_ACK : 0), change.family);
    nl_msg* m = message.get();
    nla_put_string(m, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    nla_put_string(m, NFTA_SET_ELEM_LIST_SET, change.set.c_str());
    nlattr* list = nla_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
    nlattr* element = nla_nest_start(m, NFTA_LIST_ELEM);
    nlattr* key = nla_nest_start(m, NFTA_SET_ELEM_KEY);
    nla_put(m, NFTA_DATA_VALUE, static_cast<int>(change.key.size()), change.key.data());
    nla_nest_end(m, key);
    if (add && change.timeout.count() > 0)
        nla_put_u64(m, NFTA_SET_ELEM_TIMEOUT, htobe64(static_cast<std::uint64_t>(change.timeout.count())));
    nla_nest_end(m, element);
    nla_nest_end(m, list);
    return message;
}

void append_address(std::vector<std::uint8_t>& key, Ipv4 address) {
    for (int shift = 24; shift >= 0; shift -= 8) key.push_back(static_cast<std::uint8_t>(address.value >> shift));
}

}  // namespace

std::vector<std::uint8_t> element_key(Ipv4 address) {
    std::vector<std::uint8_t> key;
    append_address(key, address);
    return key;
}

std::vector<std::uint8_t> element_key(const MacAddress& mac) {
    return {mac.bytes.begin(), mac.bytes.end()};
}

std::vector<std::uint8_t> element_key(const MacAddress& mac, Ipv4 address) {
    auto key = element_key(mac);
    key.resize(8);
    append_address(key, address);
    return key;
}

std::vector<std::uint8_t> element_key(const MacAddress& mac, const std::string& interface) {
    auto key = element_key(mac);
    key.resize(8);
    key.insert(key.end(), interface.begin(), interface.end());
    key.resize(8 + IFNAMSIZ);
    return key;
}

Result<int> ElementWriter::write(const std::string& table, const std::vector<ElementChange>& changes) {
    if (changes.empty()) return 0;
    if (!socket_) {
        auto socket = open_netfilter_socket();
        if (!socket) return Failure{socket.error()};
        socket_ = std::move(*socket);
    }
    // Messages that fail are answered, others only when they ask for it: the last one does, so the first answer is the
    // first error or success. (Kernels before 6.9 do not acknowledge the end of a batch.)
    std::vector<std::uint8_t> batch;
    append(batch, NetfilterMessage(0, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    for (const auto& change : changes) append(batch, element_message(table, change, &change == &changes.back()));
    append(batch, NetfilterMessage(0, NFNL_MSG_BATCH_END, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));

    auto answer = netfilter_exchange(socket_.get(), batch);
    if (!answer) socket_.reset();
    return answer;
}

}  // namespace vmrouter::firewall
