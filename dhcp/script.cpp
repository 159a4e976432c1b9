#include "dhcp/script.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <asio/async_result.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "src/base/log.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr log::Logger logger{"dhcp"};

std::string_view to_string(ScriptAction action) {
    switch (action) {
        case ScriptAction::Add:
            return "add";
        case ScriptAction::Old:
            return "old";
        case ScriptAction::Del:
            return "del";
    }
    return "";
}

/// Collects "NAME=value"; what there is not, or what is empty, is not in the environment at all.
class Environment {
public:
    /// A NUL ends the value, as it does for any program that reads it.
    void set(std::string_view name, std::string_view value) {
        value = value.substr(0, value.find('\0'));
        if (!value.empty()) entries_.push_back(fmt::format("DNSMASQ_{}={}", name, value));
    }
    void set(std::string_view name, const std::vector<std::uint8_t>& value) {
        set(name, std::string(value.begin(), value.end()));
    }
    std::vector<std::string> take() { return std::move(entries_); }

private:
    std::vector<std::string> entries_;
};

std::string joined(const std::vector<std::string>& parts, std::string_view last) {
    std::string text;
    for (const auto& part : parts) text += part + ' ';
    text += last;
    return text;
}

std::string decimal_list(const std::vector<std::uint8_t>& values) {
    std::string text;
    for (const auto value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
    return text;
}

void set_supplied(Environment& environment, const Supplied& supplied, std::string_view interface) {
    environment.set("SUPPLIED_HOSTNAME", supplied.hostname);
    environment.set("VENDOR_CLASS", supplied.vendor_class);
    for (std::size_t i = 0; i < supplied.user_classes.size(); ++i)
        environment.set("USER_CLASS" + std::to_string(i), supplied.user_classes[i]);
    environment.set("REQUESTED_OPTIONS", decimal_list(supplied.requested_options));
    if (!supplied.relay.is_unspecified()) environment.set("RELAY_ADDRESS", vmrouter::to_string(supplied.relay));
    environment.set("CIRCUIT_ID", supplied.circuit_id);
    environment.set("SUBSCRIBER_ID", supplied.subscriber_id);
    environment.set("REMOTE_ID", supplied.remote_id);
    environment.set("TAGS", joined(supplied.tags, interface));
}

}  // namespace

ScriptCall script_call(const std::string& script, const ScriptEvent& event, std::string_view interface,
                       std::string_view domain, Time now) {
    const Lease& lease = event.lease;
    ScriptCall call;
    call.arguments = {script, std::string(to_string(event.action)), to_string(lease.hardware),
                      vmrouter::to_string(lease.address)};
    if (!lease.name.empty() && event.old_name.empty()) call.arguments.push_back(lease.name);

    Environment environment;
    environment.set("INTERFACE", interface);
    environment.set("CLIENT_ID", to_hex(lease.client_id));
    if (!lease.name.empty() || !event.old_name.empty()) environment.set("DOMAIN", domain);
    environment.set("OLD_HOSTNAME", event.old_name);
    Seconds expires{0};  // for ever
    if (lease.expires) {
        expires = std::chrono::floor<Seconds>(lease.expires->time_since_epoch());
        const Seconds remaining = std::chrono::round<Seconds>(*lease.expires - now);
        environment.set("TIME_REMAINING", std::to_string(std::max(remaining, Seconds{0}).count()));
    }
    environment.set("LEASE_EXPIRES", std::to_string(expires.count()));
    if (lease.supplied_missing)
        environment.set("DATA_MISSING", "1");
    else
        set_supplied(environment, lease.supplied, interface);
    call.environment = environment.take();
    return call;
}

std::vector<ScriptEvent> script_events(const AppliedChange& change) {
    const auto bound = [](const std::optional<Lease>& lease) { return lease && lease->state == LeaseState::Bound; };
    const bool was = bound(change.before);
    const bool is = bound(change.after);
    std::vector<ScriptEvent> events;
    // The same client with another hardware address (known by its client-id) keeps its lease, and the script its "add".
    const bool moved = was && is && change.before->hardware != change.after->hardware;
    const bool same_client = change.cause == Cause::Renew || change.cause == Cause::Reboot;
    if (was && (!is || (moved && !same_client))) events.push_back({ScriptAction::Del, *change.before, {}});
    if (!is) return events;
    if (!was || !events.empty()) {
        events.push_back({ScriptAction::Add, *change.after, {}});
        return events;
    }
    const bool renamed = change.before->name != change.after->name;
    if (renamed && !change.before->name.empty())
        events.push_back({ScriptAction::Old, *change.after, change.before->name});
    // What the client tells about itself may be new when it begins anew; dnsmasq says so as well.
    if (renamed || moved || change.cause == Cause::Reboot) events.push_back({ScriptAction::Old, *change.after, {}});
    return events;
}

ScriptRunner::ScriptRunner(const asio::any_io_executor& executor, RunProgram run, const Clock& clock)
    : run_(std::move(run)), clock_(clock), signal_(executor) {}

void ScriptRunner::configure(std::string script, std::string interface, std::string domain) {
    script_ = std::move(script);
    interface_ = std::move(interface);
    domain_ = std::move(domain);
    if (!script_.empty()) return;
    events_.clear();
    places_.clear();
}

void ScriptRunner::add(std::span<const AppliedChange> changes) {
    if (script_.empty()) return;
    for (const auto& change : changes)
        for (auto& event : script_events(change)) add(std::move(event));
}

void ScriptRunner::push(ScriptEvent event, Events::iterator before) {
    Places& places = places_[event.lease.address];
    const auto place = std::find(places.begin(), places.end(), before);
    places.insert(place, events_.insert(before, std::move(event)));
    signal_.notify();
}

void ScriptRunner::drop_last(Ipv4 address) {
    const auto places = places_.find(address);
    events_.erase(places->second.back());
    places->second.pop_back();
    if (places->second.empty()) places_.erase(places);
}

ScriptEvent ScriptRunner::take_first() {
    ScriptEvent event = std::move(events_.front());
    const auto places = places_.find(event.lease.address);
    places->second.erase(places->second.begin());
    if (places->second.empty()) places_.erase(places);
    events_.pop_front();
    return event;
}

ScriptEvent* ScriptRunner::last(Ipv4 address) {
    const auto places = places_.find(address);
    return places == places_.end() ? nullptr : &*places->second.back();
}

// What waits for the same address is brought up to date instead of repeated.
void ScriptRunner::add(ScriptEvent event) {
    if (script_.empty()) return;
    switch (event.action) {
        case ScriptAction::Add:
            return push(std::move(event), events_.end());
        case ScriptAction::Old:
            return add_old(std::move(event));
        case ScriptAction::Del:
            return add_del(std::move(event));
    }
}

/// A lease goes on, whatever its hardware address: the newest of its state is told once, after the first name it lost.
void ScriptRunner::add_old(ScriptEvent event) {
    ScriptEvent* newest = last(event.lease.address);
    if (newest != nullptr && newest->action == ScriptAction::Add) {
        newest->lease = std::move(event.lease);
        return;
    }
    auto before = events_.end();
    if (newest != nullptr && newest->action == ScriptAction::Old) {
        const Places& places = places_[event.lease.address];
        for (auto place = places.rbegin(); place != places.rend() && (*place)->action == ScriptAction::Old; ++place) {
            if ((*place)->old_name.empty() == event.old_name.empty()) {
                (*place)->lease = std::move(event.lease);  // of a loss, what the script knew: the first old name
                return;
            }
            if (!event.old_name.empty()) before = *place;
        }
    }
    push(std::move(event), before);
}

/// A lease that came and went before anybody was told never was.
void ScriptRunner::add_del(ScriptEvent event) {
    const Ipv4 address = event.lease.address;
    for (const ScriptEvent* newest = last(address); newest != nullptr; newest = last(address)) {
        if (newest->action == ScriptAction::Del) break;
        const bool never_was = newest->action == ScriptAction::Add;
        drop_last(address);
        if (never_was) return;
    }
    push(std::move(event), events_.end());
}

asio::awaitable<void> ScriptRunner::run() {
    while (!closed_) {
        if (events_.empty() || script_.empty()) {
            co_await signal_.wait();
            continue;
        }
        co_await run_one(take_first());
    }
}

void ScriptRunner::close() {
    closed_ = true;
    signal_.notify();
}

asio::awaitable<void> ScriptRunner::run_one(ScriptEvent event) {
    if (!run_) co_return;
    ScriptCall call = script_call(script_, event, interface_, domain_, clock_.now());
    // Shared: when close() comes first, the program ends after we are gone.
    const auto outcome = std::make_shared<std::optional<Result<int>>>();
    run_(std::move(call), [this, weak = std::weak_ptr(outcome)](Result<int> result) {
        const auto waiting = weak.lock();
        if (!waiting) return;
        waiting->emplace(std::move(result));
        signal_.notify();
    });
    while (!outcome->has_value() && !closed_) co_await signal_.wait();
    if (closed_) co_return;
    const Result<int>& status = **outcome;
    if (!status)
        logger.error("{}", vmrouter::to_string(status.error()));
    else if (*status != 0)
        logger.warn("{} {} {} ended with status {}", script_, to_string(event.action),
                    vmrouter::to_string(event.lease.address), *status);
}

namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (auto& text : texts) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
}

Result<pid_t> spawn(ScriptCall call) {
    const char* path = std::getenv("PATH");
    call.environment.push_back(
        std::string("PATH=") +
        (path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addchdir_np(&files, "/");
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    sigset_t defaults;
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    pid_t child = -1;
    auto arguments = pointers(call.arguments);
    auto environment = pointers(call.environment);
    const int failed =
        posix_spawn(&child, call.arguments[0].c_str(), &files, &attributes, arguments.data(), environment.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    if (failed != 0)
        return Failure{system_error("cannot run the DHCP script", failed, call.arguments[0],
                                    "dhcp.script must name an executable program")};
    return child;
}

/// Reaps a child that has ended.
Result<int> exit_status(pid_t child) {
    int status = 0;
    pid_t reaped = -1;
    do reaped = waitpid(child, &status, 0);
    while (reaped < 0 && errno == EINTR);
    if (reaped < 0) return Failure{system_error("cannot learn how the DHCP script ended", errno)};
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

void run_program(const asio::any_io_executor& executor, const ScriptCall& call, std::function<void(Result<int>)> done) {
    const auto fail = [&](Error error) {
        asio::post(executor, [done, error = std::move(error)] { done(Failure{error}); });
    };
    const auto child = spawn(call);
    if (!child) return fail(child.error());
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, *child, 0));
    if (pidfd < 0) return fail(system_error("cannot watch the DHCP script", errno, call.arguments[0]));
    const auto descriptor = std::make_shared<asio::posix::stream_descriptor>(executor, pidfd);
    descriptor->async_wait(asio::posix::stream_descriptor::wait_read,
                           [descriptor, done = std::move(done), pid = *child](const asio::error_code& waited) {
                               if (!waited) done(exit_status(pid));
                           });
}

}  // namespace vmrouter::dhcp
