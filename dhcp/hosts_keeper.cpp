#include "dhcp/hosts_keeper.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "src/base/file.hpp"
#include "src/base/log.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr log::Logger logger{"dhcp"};
constexpr std::size_t problems_logged = 50;

}  // namespace

HostsKeeper::HostsKeeper(const asio::any_io_executor& executor) : executor_(executor), signal_(executor) {}

void HostsKeeper::configure(std::vector<HostEntry> configured, const Cidr& segment, std::string interface) {
    configured_ = std::move(configured);
    segment_ = segment;
    interface_ = std::move(interface);
}

void HostsKeeper::set_path(std::string path) {
    if (path == path_) return;
    path_ = std::move(path);
    from_file_.clear();
    if (watcher_) watcher_->close();
    watcher_ = path_.empty() || closed_ ? nullptr : std::make_shared<FileWatcher>(executor_, path_);
    signal_.notify();
}

void HostsKeeper::close() {
    closed_ = true;
    if (watcher_) watcher_->close();
    signal_.notify();
}

asio::awaitable<void> HostsKeeper::follow() {
    while (!closed_) {
        const auto watcher = watcher_;
        bool changed = false;
        if (watcher) changed = co_await watcher->changed();
        if (closed_) co_return;
        if (changed)
            reload();
        else if (watcher == watcher_)
            co_await signal_.wait();  // no file, or no inotify: until there is another
    }
}

void HostsKeeper::reload() {
    std::vector<Error> problems;
    struct stat status {};
    if (path_.empty() || (stat(path_.c_str(), &status) != 0 && errno == ENOENT)) {
        from_file_.clear();
    } else if (status.st_mode != 0 && !S_ISREG(status.st_mode)) {
        problems.push_back({"not a regular file", path_, "dhcp.hosts_file must name a file"});
    } else if (const auto text = read_file(path_)) {
        HostsFile parsed = parse_hosts_file(*text, path_);
        from_file_ = std::move(parsed.entries);
        problems = std::move(parsed.problems);
    } else {
        problems.push_back(text.error());
        problems.back().hint = "the reservations that were read before stay";
    }
    build(std::move(problems));
}

void HostsKeeper::build(std::vector<Error> problems) {
    const std::size_t before = reservations_.entries().size();
    reservations_ = Reservations::build(configured_, from_file_, segment_, interface_, problems);
    problems_ = problems.size();
    for (std::size_t i = 0; i < std::min(problems.size(), problems_logged); ++i)
        logger.error("{}", to_string(problems[i]));
    if (problems.size() > problems_logged)
        logger.error("{} more lines of {} were skipped", problems.size() - problems_logged, path_);
    const std::size_t after = reservations_.entries().size();
    if (before != after) logger.info("{} reservation{}", after, after == 1 ? "" : "s");
}

Result<void> HostsKeeper::append(const HostEntry& entry) const {
    if (path_.empty()) return Failure{Error{"there is no hosts file to write to", {}, "set dhcp.hosts_file"}};
    const auto content = read_own_file(path_);
    if (!content) return Failure{content.error()};
    std::string line = to_line(entry) + '\n';
    if (*content && !(*content)->empty() && (*content)->back() != '\n') line.insert(line.begin(), '\n');

    const FileDescriptor file(
        open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644));
    if (!file) return Failure{system_error("cannot open the hosts file", errno, path_)};
    int failed = write_all(file.get(), line);
    if (failed == 0 && fdatasync(file.get()) != 0) failed = errno;
    if (failed != 0) return Failure{system_error("cannot write the hosts file", failed, path_)};
    return {};
}

Result<void> HostsKeeper::take_back(const HostEntry& entry) const {
    const auto content = read_own_file(path_);
    if (!content) return Failure{content.error()};
    const std::string line = to_line(entry) + '\n';
    if (!*content || !(*content)->ends_with(line))
        return Failure{Error{"somebody else has written to the hosts file meanwhile", path_, {}}};
    const FileDescriptor file(open(path_.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    const auto size = static_cast<off_t>((*content)->size() - line.size());
    if (!file || ftruncate(file.get(), size) != 0)
        return Failure{system_error("cannot write the hosts file", errno, path_)};
    return {};
}

}  // namespace vmrouter::dhcp
