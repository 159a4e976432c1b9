#pragma once

// `script`: a program that is run for every lease that comes, changes or goes, with the arguments and the environment
// that dnsmasq gives to its dhcp-script, so that what was written for one works with the other. One runs at a time, in
// the order of the events; what nobody has been told yet is merged, so that however slow the script is, two events wait
// for one address at most.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dhcp/lease.hpp"
#include "dhcp/signal.hpp"
#include "src/base/clock.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

enum class ScriptAction : std::uint8_t { Add, Old, Del };

/// A program to run, as it is.
struct ScriptCall {
    std::vector<std::string> arguments;    ///< the first is the program
    std::vector<std::string> environment;  ///< "NAME=value"; nothing else is passed on but PATH
};

/// Runs a program and reports its exit status (128 + signal when it was killed), on the same executor. Provided by
/// whoever has the privilege.
using RunProgram = std::function<void(ScriptCall call, std::function<void(Result<int>)> done)>;

/// RunProgram for a process that may start others: standard input is /dev/null, output goes where ours goes; waits for
/// the end through a pidfd.
void run_program(const asio::any_io_executor& executor, const ScriptCall& call, std::function<void(Result<int>)> done);

/// What the script is told about one lease.
struct ScriptEvent {
    ScriptAction action = ScriptAction::Add;
    Lease lease;
    std::string old_name;  ///< Old: the name that the lease had; the event is then about its loss
};

/// The call for an event. `domain` may be empty.
ScriptCall script_call(const std::string& script, const ScriptEvent& event, std::string_view interface,
                       std::string_view domain, Time now);

/// What the script must hear of a change, in order; nothing for a renewal.
std::vector<ScriptEvent> script_events(const AppliedChange& change);

class ScriptRunner {
public:
    /// `clock` outlives the runner.
    ScriptRunner(const asio::any_io_executor& executor, RunProgram run, const Clock& clock);

    /// An empty script stops everything that was not begun.
    void configure(std::string script, std::string interface, std::string domain);
    void add(ScriptEvent event);
    void add(std::span<const AppliedChange> changes);

    /// Runs what there is, one after the other, until close().
    asio::awaitable<void> run();
    /// The script that runs is not waited for.
    void close();

    [[nodiscard]] std::size_t waiting() const { return events_.size(); }

private:
    using Events = std::list<ScriptEvent>;
    using Places = std::vector<Events::iterator>;  ///< of one address, in order: a Del and an Add, or two Old, at most

    void add_old(ScriptEvent event);
    void add_del(ScriptEvent event);
    void push(ScriptEvent event, Events::iterator before);
    void drop_last(Ipv4 address);
    ScriptEvent take_first();
    ScriptEvent* last(Ipv4 address);
    asio::awaitable<void> run_one(ScriptEvent event);

    RunProgram run_;
    const Clock& clock_;
    Signal signal_;
    std::string script_;
    std::string interface_;
    std::string domain_;
    Events events_;
    std::unordered_map<Ipv4, Places> places_;
    bool closed_ = false;
};

}  // namespace vmrouter::dhcp
