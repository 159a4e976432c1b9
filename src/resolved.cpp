#include "src/resolved.hpp"

#include <net/if.h>
#include <unistd.h>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

Result<void> resolvectl(managers::Runner& runner, std::vector<std::string> words) {
    words.insert(words.begin(), "resolvectl");
    const auto output = runner.run(words);
    if (!output) return Failure{output.error()};
    if (output->status == 0) return {};
    return Failure{Error{escape(trim(output->text)), "resolvectl", {}}};
}

}  // namespace

bool resolved_runs() {
    return access(resolved_stub_file, F_OK) == 0;
}

Result<void> tell_resolved(managers::Runner& runner, const std::string& interface, Ipv4 server,
                           const std::string& domain) {
    // The domain first: a server without one would be asked for everything.
    if (auto done = resolvectl(runner, {"domain", interface, "~" + domain}); !done) return done;
    if (auto done = resolvectl(runner, {"default-route", interface, "no"}); !done) return done;
    return resolvectl(runner, {"dns", interface, to_string(server)});
}

Result<void> forget_in_resolved(managers::Runner& runner, const std::string& interface) {
    if (if_nametoindex(interface.c_str()) == 0 || !resolved_runs()) return {};
    return resolvectl(runner, {"revert", interface});
}

}  // namespace vmrouter
