#include "src/commands/tap.hpp"

#include <pwd.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "src/base/text.hpp"
#include "src/commands/answers.hpp"

namespace vmrouter {
namespace {

/// A user's name, or a uid.
std::optional<std::uint32_t> uid_of(const std::string& user) {
    if (const auto number = parse_number(user, UINT32_MAX - 1)) return static_cast<std::uint32_t>(*number);
    const passwd* entry = getpwnam(user.c_str());
    if (entry == nullptr) return std::nullopt;
    return entry->pw_uid;
}

}  // namespace

int tap(const cli::Tap& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    const auto uid = uid_of(options.user);
    if (!uid)
        return fail(err, {"there is no user '" + escape(options.user) + "'", "--user", "`getent passwd` lists them"});
    const auto made = ask(options.instance, {{"command", "tap"}, {"name", options.name}, {"uid", *uid}}, folders);
    if (!made) return fail(err, made.error());
    out << options.name << " is on " << made->value("bridge", "the bridge") << " and belongs to "
        << escape(options.user)
        << "; it goes when vmrouter stops and no program has it open\n  qemu-system-x86_64 -nic tap,ifname="
        << options.name << ",script=no,downscript=no ...\n";
    return 0;
}

}  // namespace vmrouter
