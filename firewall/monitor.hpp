#pragma once

// nftables tells who changed what: the messages of a transaction end with its generation, which names the process. That
// is enough to notice at once when somebody flushes the rules, deletes a table of ours or reloads another firewall.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "firewall/netfilter_listener.hpp"
#include "firewall/nft.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::firewall {

/// One transaction of nftables, as its messages tell it.
struct Transaction {
    bool touches_ours = false;    ///< a table of our name, or something in it
    bool touches_others = false;  ///< anything else
    bool overrun = false;         ///< messages were lost: both may have happened
    std::uint32_t process = 0;    ///< who did it
    std::string process_name;
};

/// Collects messages into transactions. Pure.
class TransactionReader {
public:
    explicit TransactionReader(std::string table) : table_(std::move(table)) {}
    /// The transactions that end within this datagram.
    std::vector<Transaction> read(Bytes datagram);

private:
    std::string table_;
    Transaction open_;
};

/// Told of the transactions of other processes; implemented by the roof.
class RulesObserver {
public:
    virtual ~RulesObserver() = default;
    /// Somebody changed our tables: repair them (Live::repair) and cut what slipped through meanwhile.
    virtual void our_rules_changed(const Transaction& transaction) = 0;
    /// Somebody changed other tables: look for chains that need our rule again (foreign.hpp).
    virtual void other_rules_changed(const Transaction& transaction) = 0;
};

/// A netlink socket that hears of every change of nftables in this network namespace; privileged.
Result<FileDescriptor> open_rules_monitor();

/// This process as nftables names it in its events. That is getpid() outside of containers, and is learnt by a
/// transaction that changes nothing.
Result<std::uint32_t> own_process(Nft& nft);

class RulesMonitor {
public:
    /// `table`: see table_name(). `ours`: the process whose transactions are not reported (the one that runs Live), see
    /// own_process().
    RulesMonitor(asio::io_context& io, FileDescriptor socket, std::string table, std::uint32_t ours,
                 RulesObserver& observer);
    asio::awaitable<void> run();
    void close();

private:
    void report(const Transaction& transaction);

    NetfilterListener listener_;
    TransactionReader reader_;
    std::uint32_t ours_;
    RulesObserver& observer_;
};

}  // namespace vmrouter::firewall
