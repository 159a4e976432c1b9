#include "dhcp/storage.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "dhcp/journal.hpp"
#include "src/base/file.hpp"
#include "src/base/log.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr log::Logger logger{"dhcp"};

constexpr Milliseconds first_retry{1000};
constexpr Milliseconds longest_retry{10000};
constexpr Milliseconds snapshot_interval{900};  // with the time it takes, never more than a second behind
constexpr std::size_t bad_lines_logged = 20;
constexpr off_t bad_file_limit = 1 << 20;
/// A journal this short is not worth replacing, whatever the number of leases.
constexpr std::size_t short_journal = 1024;

std::optional<std::chrono::nanoseconds> modified(const std::string& path) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) return std::nullopt;
    return Seconds{status.st_mtim.tv_sec} + std::chrono::nanoseconds{status.st_mtim.tv_nsec};
}

std::string one_line(const Error& error) {
    return error.where + ": " + error.what;
}

/// The file, or nothing. What cannot be read must not be overwritten either: it is moved out of the way.
std::optional<std::string> read_or_set_aside(const std::string& path) {
    auto content = read_own_file(path);
    if (content) return std::move(*content);
    const std::string aside = path + ".unreadable";
    const bool moved = rename(path.c_str(), aside.c_str()) == 0;
    logger.error("{}; {}", one_line(content.error()),
                 moved ? "it is kept as " + aside : "it stays where it is, and is replaced");
    return std::nullopt;
}

void keep_bad_lines(const Paths& paths, const std::string& from, const std::vector<BadLine>& lines) {
    if (lines.empty()) return;
    std::string kept;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const auto& line = lines[i];
        if (i < bad_lines_logged)
            logger.warn("{}:{}: {}: \"{}\"; the line is kept in {}", from, line.number, line.why,
                        escape(line.text, 120), paths.bad);
        kept += fmt::format("# {}:{}: {}\n{}\n", from, line.number, line.why, line.text);
    }
    if (lines.size() > bad_lines_logged)
        logger.warn("{}: {} more lines could not be used; they are kept in {}", from, lines.size() - bad_lines_logged,
                    paths.bad);
    const FileDescriptor file(
        open(paths.bad.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
        return logger.warn("cannot keep the lines in {}: {}", paths.bad,
                           file ? "not a regular file" : "cannot open it");
    if (status.st_size > bad_file_limit)
        return logger.warn("the lines are not kept: {} has grown to a megabyte; look at it and remove it", paths.bad);
    if (const int failed = write_all(file.get(), kept); failed != 0)
        logger.warn("{}", one_line(system_error("cannot keep the lines", failed, paths.bad)));
}

/// A line that was cut off at the end of the journal is what a crash leaves; it was never promised to anybody.
bool damaged(const JournalContent& journal) {
    return std::any_of(journal.bad.begin(), journal.bad.end(),
                       [](const BadLine& line) { return line.why != "the line ends before its end"; });
}

/// What each address is in the end.
struct Replay {
    struct State {
        std::size_t order = 0;  ///< of the client's first record
        std::optional<Lease> lease;
    };
    std::map<Ipv4, State> addresses;
    std::size_t next = 0;

    void set(Ipv4 address, const std::optional<Lease>& lease) {
        State& state = addresses[address];
        const bool renewed = lease && state.lease && lease->hardware == state.lease->hardware;
        if (!renewed) state.order = ++next;
        state.lease = lease;
    }
};

/// Does a line of the leases file say more than what the journal says about its address?
bool overrules(const Lease& line, const std::optional<Lease>& known, bool foreign) {
    // A removal that the journal knows of is younger than the line, unless somebody else wrote the line.
    if (!foreign) return false;
    if (!known) return true;
    if (known->hardware != line.hardware) return true;
    // What was promised is kept: the journal knows milliseconds, and "never" is the longest.
    return known->expires && (!line.expires || *known->expires + Seconds{1} < *line.expires);
}

}  // namespace

Paths Paths::beside(std::string leases_file, std::string hosts_file) {
    Paths paths;
    paths.journal = leases_file + ".journal";
    paths.bad = leases_file + ".bad";
    paths.leases = std::move(leases_file);
    paths.hosts = std::move(hosts_file);
    return paths;
}

std::vector<Lease> load_leases(const Paths& paths) {
    const auto journal_time = modified(paths.journal);
    const auto file_time = modified(paths.leases);
    const auto journal_text = read_or_set_aside(paths.journal);
    const auto file_text = read_or_set_aside(paths.leases);
    const JournalContent journal = parse_journal(journal_text.value_or(""));
    const LeaseFileContent file = parse_lease_file(file_text.value_or(""));
    keep_bad_lines(paths, paths.journal, journal.bad);
    keep_bad_lines(paths, paths.leases, file.bad);

    Replay replay;
    for (const auto& record : journal.records) replay.set(record.address, record.lease);

    const bool foreign = file_time && journal_time && *file_time > *journal_time + Seconds{2};
    std::size_t added = 0;
    if (!journal.complete || foreign || damaged(journal)) {
        for (auto line = file.leases.rbegin(); line != file.leases.rend(); ++line) {  // oldest first
            const auto known = replay.addresses.find(line->address);
            if (known != replay.addresses.end() && !overrules(*line, known->second.lease, foreign)) continue;
            replay.set(line->address, *line);
            ++added;
        }
    }
    if (added > 0) logger.info("took over {} leases from {}", added, paths.leases);
    if (file.skipped > 0) logger.info("{}: {} lines of DHCPv6 skipped", paths.leases, file.skipped);

    std::map<std::size_t, Lease> by_age;
    for (auto& [address, state] : replay.addresses)
        if (state.lease) by_age.emplace(state.order, std::move(*state.lease));
    std::vector<Lease> leases;
    for (auto& [order, lease] : by_age) leases.push_back(std::move(lease));
    return leases;
}

Storage::Storage(const asio::any_io_executor& executor, Paths paths, const LeaseTable& table)
    : table_(table), paths_(std::move(paths)), writer_(executor, paths_.journal), signal_(executor) {}

asio::awaitable<Result<void>> Storage::commit(std::span<const AppliedChange> changes) {
    std::string lines = journal_lines(changes);
    if (lines.empty()) co_return Result<void>{};
    records_ += static_cast<std::size_t>(std::count(lines.begin(), lines.end(), '\n'));
    auto written = co_await writer_.append(std::move(lines));
    if (!written)
        failed(written.error());
    else if (too_long())
        signal_.notify();
    co_return written;
}

void Storage::failed(const Error& error) {
    if (ok_) {
        logger.error("{}; known leases are renewed, new ones are refused until it works again{}", one_line(error),
                     error.hint.empty() ? "" : " (" + error.hint + ")");
        retry_delay_ = first_retry;
    } else if (error.what != error_.what) {
        logger.error("{}", one_line(error));
    }
    ok_ = false;
    error_ = error;
    retry_at_ = std::chrono::steady_clock::now() + retry_delay_;
    signal_.notify();
}

/// No reason to refuse anybody while there is a journal that takes records.
void Storage::rewrite_failed(const Error& error) {
    const bool again = !ok_ || !rewrite_error_.what.empty();
    retry_delay_ = again ? std::min(2 * retry_delay_, longest_retry) : first_retry;
    if (!writer_.appends()) return failed(error);
    if (error.what != rewrite_error_.what)
        logger.error("{}; leases are still written to the journal that there is", one_line(error));
    rewrite_error_ = error;
    retry_at_ = std::chrono::steady_clock::now() + retry_delay_;
}

bool Storage::too_long() const {
    return records_ > short_journal && records_ > 2 * table_.size();
}

void Storage::show(std::span<const AppliedChange> changes) {
    const bool told = dirty_;  // then maintain() has its time already
    for (const auto& change : changes) {
        if (!change.durable()) continue;
        image_.apply(change);
        dirty_ = true;
    }
    if (dirty_ && !told) signal_.notify();
}

void Storage::show(const Lease& lease) {
    image_.put(lease);
    dirty_ = true;
}

void Storage::move(Paths paths) {
    paths_ = std::move(paths);
    writer_.move_to(paths_.journal);
    table_.for_each([&](const Lease& lease) {
        if (lease.state == LeaseState::Bound) image_.put(lease);
    });
    dirty_ = true;
    snapshot_at_ = Signal::TimePoint::min();
    retry_at_ = Signal::TimePoint::min();  // a complete journal at the new place, at once
    signal_.notify();
}

void Storage::close() {
    closed_ = true;
    signal_.notify();
}

Signal::TimePoint Storage::next_duty() const {
    return std::min(retry_at_, dirty_ ? snapshot_at_ : Signal::TimePoint::max());
}

asio::awaitable<void> Storage::maintain() {
    co_await rewrite();
    while (!closed_) {
        const auto now = std::chrono::steady_clock::now();
        const bool waiting = retry_at_ != Signal::TimePoint::max();
        if (waiting ? now >= retry_at_ : ok_ && too_long()) co_await rewrite();
        if (dirty_ && now >= snapshot_at_) co_await write_snapshot();
        co_await signal_.wait_until(next_duty());
    }
    if (!ok_ || retry_at_ != Signal::TimePoint::max()) co_await rewrite();
    if (dirty_) co_await write_snapshot();
}

asio::awaitable<void> Storage::rewrite() {
    std::string content = journal_header();
    const std::size_t records_before = std::exchange(records_, 0);
    const auto add = [&](const Lease& lease) {
        content += journal_line(lease);
        ++records_;
    };
    // By age, which the leases file of the next start takes over; then quarantines and what is just being granted.
    for (const Ipv4 address : image_.oldest_first())
        if (const Lease* lease = table_.find(address); lease != nullptr && lease->state == LeaseState::Bound)
            add(*lease);
    table_.for_each([&](const Lease& lease) {
        const bool written = lease.state == LeaseState::Bound && image_.contains(lease.address);
        if (lease.state != LeaseState::Offered && !written) add(lease);
    });
    retry_at_ = Signal::TimePoint::max();
    const auto written = co_await writer_.rewrite(std::move(content));
    if (!written) {
        records_ += records_before;
        rewrite_failed(written.error());
        co_return;
    }
    rewrite_error_ = {};
    if (!ok_) logger.info("{} can be written again; new leases are given", paths_.journal);
    ok_ = true;
    error_ = {};
}

asio::awaitable<void> Storage::write_snapshot() {
    dirty_ = false;
    const auto written = co_await writer_.replace(paths_.leases, image_.text());
    snapshot_at_ = std::chrono::steady_clock::now() + (written ? snapshot_interval : longest_retry);
    if (!written) {
        dirty_ = true;
        if (!snapshot_failing_) logger.error("{}; it is behind until that works again", one_line(written.error()));
    } else if (snapshot_failing_) {
        logger.info("{} can be written again", paths_.leases);
    }
    snapshot_failing_ = !written;
}

}  // namespace vmrouter::dhcp
