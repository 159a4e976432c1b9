#include "dhcp/reporter.hpp"

#include <utility>

namespace vmrouter::dhcp {
namespace {

constexpr auto warning_kinds = static_cast<std::size_t>(Warning::Kind::OptionsLeftOut) + 1;
constexpr std::size_t most_servers = 64;  // a guest that makes up more of them is no news

}  // namespace

bool LineLimit::allows(Monotonic now) {
    if (!bucket_.take(now)) {
        ++suppressed_;
        return false;
    }
    if (suppressed_ > 0) logger.info("{} lines like the next were left out", std::exchange(suppressed_, 0));
    return true;
}

Reporter::Reporter(const Clock& clock, Observer& observer, std::uint64_t seed)
    : clock_(clock), observer_(observer), history_(1024, seed), warning_limits_(warning_kinds, LineLimit{0.2, 5}) {}

void Reporter::note(const Note& line) {
    if (line.verb.empty()) return;
    history_.add(line);
    observer_.noted(line);
    if (line.level == Level::Debug) {
        if (log::enabled(log::Level::Debug)) logger.debug("{}", line.line());
        return;
    }
    if (!log::enabled(log::Level::Info) || !allows_line()) return;
    if (line.level == Level::Info)
        logger.info("{}", line.line());
    else
        logger.warn("{}", line.line());
}

void Reporter::warn(const Warning& warning) {
    auto& limit = warning_limits_[static_cast<std::size_t>(warning.kind)];
    if (limit.allows(clock_.monotonic())) logger.warn("{}", warning.text);
}

void Reporter::server_seen(const OtherServer& server) {
    auto known = servers_.find(server.mac);
    if (known == servers_.end()) {
        if (servers_.size() >= most_servers) return;
        known = servers_.emplace(server.mac, TokenBucket{1.0 / 60, 1}).first;
    }
    const Monotonic now = clock_.monotonic();
    if (known->second.take(now) && server_limit_.allows(now)) observer_.server_seen(server);
}

}  // namespace vmrouter::dhcp
