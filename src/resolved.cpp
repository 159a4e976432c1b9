#include "src/resolved.hpp"

#include <net/if.h>
#include <unistd.h>

#include "src/command.hpp"

namespace vmrouter {

bool resolved_runs() {
    return access("/run/systemd/resolve/stub-resolv.conf", F_OK) == 0 && !find_program("resolvectl").empty();
}

Result<void> tell_resolved(const std::string& interface, Ipv4 server, const std::string& domain) {
    // The domain first: a server without one would be asked for everything.
    if (auto done = run_command({"resolvectl", "domain", interface, "~" + domain}); !done)
        return Failure{std::move(done).error()};
    if (auto done = run_command({"resolvectl", "default-route", interface, "no"}); !done)
        return Failure{std::move(done).error()};
    if (auto done = run_command({"resolvectl", "dns", interface, to_string(server)}); !done)
        return Failure{std::move(done).error()};
    return {};
}

Result<void> forget_in_resolved(const std::string& interface) {
    if (if_nametoindex(interface.c_str()) == 0 || !resolved_runs()) return {};
    if (auto done = run_command({"resolvectl", "revert", interface}); !done) return Failure{std::move(done).error()};
    return {};
}

}  // namespace vmrouter
