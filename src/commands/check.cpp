#include "src/commands/check.hpp"

#include <ostream>

namespace vmrouter {
namespace {

std::string count(std::size_t number, const std::string& what) {
    return std::to_string(number) + ' ' + what + (number == 1 ? "" : "s");
}

}  // namespace

int check(const cli::Check& options, std::ostream& out, std::ostream& err) {
    const conf::Loaded loaded = cli::load(options.source);
    for (const auto& error : loaded.errors) err << "vmrouter: " << to_string(error) << '\n';
    for (const auto& warning : loaded.warnings) err << "vmrouter: warning: " << to_string(warning) << '\n';

    const std::string subject = options.source.file.empty() ? "the command line" : options.source.file;
    if (!loaded.errors.empty()) {
        err << "vmrouter: " << subject << ": " << count(loaded.errors.size(), "error") << '\n';
        return 2;
    }
    for (const auto& missing : loaded.unavailable)
        out << "not in this version yet, and off: " << missing.what << " (" << missing.key << ")\n";
    out << subject << ": OK";
    if (!loaded.warnings.empty()) out << ", " << count(loaded.warnings.size(), "warning");
    out << '\n';
    return 0;
}

}  // namespace vmrouter
