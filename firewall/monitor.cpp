#include "firewall/monitor.hpp"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "firewall/netfilter_message.hpp"
#include "firewall/netfilter_socket.hpp"

namespace vmrouter::firewall {

namespace {

// A reload of another firewall is some hundred messages at once.
constexpr std::size_t event_buffer = 4 << 20;

std::string text_of(const nlattr* attribute) {
    const Bytes bytes = attribute_bytes(attribute);
    const auto* begin = reinterpret_cast<const char*>(bytes.data());
    return {begin, ::strnlen(begin, bytes.size())};
}

}  // namespace

std::vector<Transaction> TransactionReader::read(Bytes datagram) {
    std::vector<std::uint64_t> aligned((datagram.size() + 7) / 8);
    if (!datagram.empty()) std::memcpy(aligned.data(), datagram.data(), datagram.size());
    std::vector<Transaction> complete;
    int left = static_cast<int>(datagram.size());
    for (auto* message = reinterpret_cast<nlmsghdr*>(aligned.data()); nlmsg_ok(message, left);
         message = nlmsg_next(message, &left)) {
        if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) continue;
        if ((message->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) {
            const auto attributes = netfilter_attributes(*message, NFTA_GEN_MAX + 1);
            open_.process = attribute_u32(attributes[NFTA_GEN_PROC_PID]);
            open_.process_name = text_of(attributes[NFTA_GEN_PROC_NAME]);
            complete.push_back(std::exchange(open_, {}));
            continue;
        }
        // The table's name is attribute 1 of every other kind of message.
        static_assert(NFTA_TABLE_NAME == 1 && NFTA_CHAIN_TABLE == 1 && NFTA_RULE_TABLE == 1 && NFTA_SET_TABLE == 1 &&
                      NFTA_SET_ELEM_LIST_TABLE == 1 && NFTA_OBJ_TABLE == 1 && NFTA_FLOWTABLE_TABLE == 1);
        const auto attributes = netfilter_attributes(*message, NFTA_TABLE_NAME + 1);
        (text_of(attributes[NFTA_TABLE_NAME]) == table_ ? open_.touches_ours : open_.touches_others) = true;
    }
    return complete;
}

Result<FileDescriptor> open_rules_monitor() {
    auto socket = open_netfilter_socket(event_buffer);
    if (!socket) return Failure{socket.error()};
    const int group = NFNLGRP_NFTABLES;
    if (::setsockopt(socket->get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
        return Failure{system_error("cannot listen to changes of nftables", errno)};
    return socket;
}

Result<std::uint32_t> own_process(Nft& nft) {
    const std::string probe = "vmrouter_probe_" + std::to_string(::getpid());  // others may ask at this moment as well
    auto socket = open_rules_monitor();
    if (!socket) return Failure{socket.error()};
    if (const auto done = nft.run("table inet " + probe + "\ndelete table inet " + probe + "\n"); !done)
        return Failure{done.error()};
    TransactionReader reader(probe);
    std::vector<std::uint8_t> buffer(65536);
    for (;;) {  // what the transaction told was queued before it returned
        const ssize_t size = ::recv(socket->get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size <= 0)
            return Failure{system_error("nftables does not tell who changes it", size < 0 ? errno : ENODATA)};
        for (const auto& transaction : reader.read(Bytes(buffer).first(static_cast<std::size_t>(size)))) {
            if (transaction.touches_ours) return transaction.process;
        }
    }
}

RulesMonitor::RulesMonitor(asio::io_context& io, FileDescriptor socket, std::string table, std::uint32_t ours,
                           RulesObserver& observer)
    : listener_(io, std::move(socket)), reader_(std::move(table)), ours_(ours), observer_(observer) {}

asio::awaitable<void> RulesMonitor::run() {
    return listener_.run(
        [this](Bytes datagram) {
            for (const auto& transaction : reader_.read(datagram)) report(transaction);
        },
        [this] {
            Transaction lost;
            lost.touches_ours = lost.touches_others = lost.overrun = true;
            report(lost);
        });
}

void RulesMonitor::close() {
    listener_.close();
}

void RulesMonitor::report(const Transaction& transaction) {
    if (transaction.process == ours_ && !transaction.overrun) return;
    if (transaction.touches_ours) observer_.our_rules_changed(transaction);
    if (transaction.touches_others) observer_.other_rules_changed(transaction);
}

}  // namespace vmrouter::firewall
