#pragma once

// Where leases live on disk: the journal, which is the truth, and the leases file, which others read.
//
// The journal is replaced by a complete one at start, when it has grown to more than twice its leases, and to recover
// from a failed write: a file whose write or sync failed is never trusted again. One that works is kept until its
// successor is complete. Jobs of the writer thread keep their
// order, so a batch that is committed while the journal is being replaced follows in the new one.
//
// The leases file is replaced by rename, at once after a quiet second and otherwise once a second.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dhcp/journal_writer.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/lease_file.hpp"
#include "dhcp/signal.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

/// The files of an instance.
struct Paths {
    std::string leases;
    std::string journal;
    std::string bad;    ///< lines of either that could not be used
    std::string hosts;  ///< may be empty: none

    /// "leases" -> "leases.journal" and "leases.bad" beside it.
    static Paths beside(std::string leases_file, std::string hosts_file);
};

/// What the files say, from the one written last to what it lacks:
///
/// - a complete journal decides; the leases file only fills in what a damaged line of the journal cost;
/// - a leases file that is newer than the journal by more than two seconds was written by another program (dnsmasq, on
///   the way back to us) and decides about the addresses it names; it never takes a lease away, because after a power
///   cut a file may be new and empty;
/// - without a journal the leases file is taken over as it is.
///
/// Every line that cannot be used is logged with its number and kept in `paths.bad`. Never fails: a file that cannot be
/// read is logged, moved aside where that is possible, and the others decide. Oldest lease first.
std::vector<Lease> load_leases(const Paths& paths);

class Storage {
public:
    /// `table` outlives the storage; it is what a complete journal is made of.
    Storage(const asio::any_io_executor& executor, Paths paths, const LeaseTable& table);

    /// Writes what is durable among `changes`; on success it survives a power cut. After an error ok() is false and
    /// maintain() tries until the disk takes a complete journal again.
    asio::awaitable<Result<void>> commit(std::span<const AppliedChange> changes);

    /// The changes that stand, on disk or not: for the leases file.
    void show(std::span<const AppliedChange> changes);
    void show(const Lease& lease);  ///< at start

    /// Goes on elsewhere. Until the journal there is complete, records still go to the old one.
    void move(Paths paths);

    /// Replaces, compacts, recovers and snapshots until close(); then once more, and returns.
    asio::awaitable<void> maintain();
    void close();

    [[nodiscard]] bool ok() const { return ok_; }
    [[nodiscard]] const Error& error() const { return error_; }

private:
    asio::awaitable<void> rewrite();
    asio::awaitable<void> write_snapshot();
    [[nodiscard]] Signal::TimePoint next_duty() const;
    [[nodiscard]] bool too_long() const;
    void failed(const Error& error);
    void rewrite_failed(const Error& error);

    const LeaseTable& table_;
    Paths paths_;
    JournalWriter writer_;
    LeaseFileImage image_;
    Signal signal_;

    bool closed_ = false;
    bool ok_ = true;
    Error error_;
    std::size_t records_ = 0;  ///< lines in the journal
    Milliseconds retry_delay_{1000};
    Error rewrite_error_;  ///< why the journal could not be replaced, while the old one still takes records
    Signal::TimePoint retry_at_ = Signal::TimePoint::max();     ///< of the journal; max: nothing to retry
    bool dirty_ = false;                                        ///< the leases file is behind
    Signal::TimePoint snapshot_at_ = Signal::TimePoint::min();  ///< not before
    bool snapshot_failing_ = false;
};

}  // namespace vmrouter::dhcp
