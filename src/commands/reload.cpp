#include "src/commands/reload.hpp"

#include <nlohmann/json.hpp>
#include <ostream>

#include "src/commands/answers.hpp"

namespace vmrouter {

int reload(const cli::Reload& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    const auto done = ask(options.instance, {{"command", "reload"}}, folders);
    if (!done) return fail(err, done.error());
    out << "the configuration was read again and is in force\n";
    return 0;
}

}  // namespace vmrouter
