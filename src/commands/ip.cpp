#include "src/commands/ip.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <ostream>

#include "src/base/terminal.hpp"
#include "src/base/text.hpp"
#include "src/commands/answers.hpp"
#include "src/commands/follower.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/words.hpp"
#include "src/event_filter.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

/// The address of the guest among the leases; empty when it has none.
std::string address_of(const json& leases, const std::string& guest) {
    for (const auto& lease : leases)
        if (text_of(lease, "state") == "bound" && is_guest(lease, guest)) return text_of(lease, "address");
    return {};
}

Result<std::string> look_up(const std::string& socket, const std::string& guest) {
    auto client = ControlClient::connect(socket);
    if (!client) return Failure{std::move(client).error()};
    const auto leases = client->request({{"command", "leases"}});
    if (!leases) return Failure{leases.error()};
    return address_of(*leases, guest);
}

/// Looks at every change of leases until the guest is among them; empty when the time is over.
Result<std::string> wait_for(const std::string& socket, const cli::Ip& options, std::ostream& err) {
    Follower follower(socket, {{"command", "monitor"}, {"only", {"lease"}}});
    Progress progress(err);
    const auto until = steady_clock::now() + options.wait;
    auto followed = follower.connect();
    if (!followed) return Failure{std::move(followed).error()};
    bool changed = true;
    for (;;) {
        if (changed)
            if (auto found = look_up(socket, options.guest); !found || !found->empty()) return found;
        const auto left = std::chrono::ceil<Milliseconds>(until - steady_clock::now());
        if (left.count() <= 0) return std::string{};
        progress.show("waiting for " + escape(options.guest) + ", " + short_duration(std::chrono::ceil<Seconds>(left)) +
                      " left");
        const auto event = follower.next(std::min(left, Milliseconds{1000}));  // a second: what is shown counts down
        if (!event) return Failure{event.error()};
        changed = event->has_value();
    }
}

}  // namespace

int ip(const cli::Ip& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    const auto socket = control_socket(options.instance, folders);
    if (!socket) return fail(err, socket.error());
    const auto address = options.wait.count() > 0 ? wait_for(*socket, options, err) : look_up(*socket, options.guest);
    if (!address) return fail(err, address.error());
    if (address->empty())
        return fail(err, {"no guest '" + escape(options.guest) + "' has an address" +
                              (options.wait.count() > 0 ? " after " + short_duration(options.wait) : ""),
                          {},
                          "`vmrouter leases` shows who is there; --wait 60 waits for it"});
    out << *address << '\n';
    return 0;
}

}  // namespace vmrouter
