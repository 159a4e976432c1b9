#include "src/commands/leases.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <ostream>

#include "dhcp/lease_file.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/instance_lock.hpp"

namespace vmrouter {
namespace {

/// What cannot be done, and the exit status that says so.
struct Refusal {
    int status = 1;
    Error error;
};

std::string default_leases_file(const LeaseFolders& folders, const std::string& instance) {
    return folders.state + '/' + instance + "/leases";
}

Result<std::string, Refusal> configured_leases_file(const std::string& file, const LeaseFolders& folders) {
    const conf::Loaded loaded = conf::load_file(file);
    if (!loaded.errors.empty()) {
        const conf::Diagnostic& first = loaded.errors.front();
        const std::string where = to_string(conf::Place{first.file, first.line, first.column});
        return Failure{Refusal{2, {first.what, where, first.hint}}};
    }
    return loaded.config.dhcp.leases_file.value_or(default_leases_file(folders, instance_name(loaded.config)));
}

/// The leases file that the command is about.
Result<std::string, Refusal> leases_file(const cli::Leases& options, const LeaseFolders& folders) {
    if (!options.file.empty()) return options.file;
    if (!options.instance.file.empty()) return configured_leases_file(options.instance.file, folders);
    if (!options.instance.name.empty()) return default_leases_file(folders, options.instance.name);

    const auto running = running_instances(folders.run);
    if (running.size() == 1) return default_leases_file(folders, running.front());
    if (running.empty())
        return Failure{
            Refusal{1, {"no instance is running", {}, "name one with --instance NAME, or a file with --file FILE"}}};
    std::string names;
    for (const auto& name : running) names += (names.empty() ? "" : ", ") + name;
    return Failure{Refusal{1, {"several instances are running: " + names, {}, "name one with --instance NAME"}}};
}

bool is_over(const dhcp::Lease& lease, Time now) {
    return lease.expires && *lease.expires <= now;
}

/// "2d 3h", "57m 12s", "8s": two units are enough to know when.
std::string remaining(const dhcp::Lease& lease, Time now) {
    if (!lease.expires) return "never ends";
    if (is_over(lease, now)) return "ended";
    constexpr std::array<std::pair<std::int64_t, char>, 4> units = {{{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
    std::int64_t rest = std::chrono::ceil<Seconds>(*lease.expires - now).count();
    auto unit = std::find_if(units.begin(), units.end(), [rest](const auto& u) { return rest >= u.first; });
    std::string text = std::to_string(rest / unit->first) + unit->second;
    rest %= unit->first;
    if (++unit != units.end() && rest / unit->first > 0)
        text += ' ' + std::to_string(rest / unit->first) + unit->second;
    return text;
}

std::string_view state(const dhcp::Lease& lease, Time now) {
    return is_over(lease, now) ? "expired" : to_string(lease.state);
}

nlohmann::json to_json(const dhcp::Lease& lease, Time now) {
    const auto known = [](std::string text) {
        return text.empty() ? nlohmann::json() : nlohmann::json(std::move(text));
    };
    nlohmann::json expires;
    if (lease.expires) expires = std::chrono::floor<Seconds>(lease.expires->time_since_epoch()).count();
    return {{"address", to_string(lease.address)},
            {"mac", lease.hardware.empty() ? nlohmann::json() : nlohmann::json(to_string(lease.hardware))},
            {"name", known(escape(lease.name))},
            {"client_id", known(to_hex(lease.client_id))},
            {"expires", expires},
            {"state", state(lease, now)},
            {"last_seen", nullptr}};  // a leases file does not say
}

void print_json(const std::vector<dhcp::Lease>& list, Time now, std::ostream& out) {
    nlohmann::json document = nlohmann::json::array();
    for (const auto& lease : list) document.push_back(to_json(lease, now));
    out << document.dump(2) << '\n';
}

void print_table(const std::vector<dhcp::Lease>& list, Time now, std::ostream& out) {
    using Line = std::array<std::string, 5>;
    std::vector<Line> lines = {{"ADDRESS", "MAC", "NAME", "REMAINING", "STATE"}};
    for (const auto& lease : list)
        lines.push_back({to_string(lease.address), to_string(lease.hardware),
                         lease.name.empty() ? "-" : escape(lease.name), remaining(lease, now),
                         std::string(state(lease, now))});
    std::array<std::size_t, 5> widths{};
    for (const Line& line : lines)
        for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
    for (const Line& line : lines) {
        for (std::size_t i = 0; i + 1 < line.size(); ++i)
            out << line[i] << std::string(widths[i] + 2 - line[i].size(), ' ');
        out << line.back() << '\n';
    }
}

}  // namespace

int leases(const cli::Leases& options, Time now, std::ostream& out, std::ostream& err, const LeaseFolders& folders) {
    const auto file = leases_file(options, folders);
    if (!file) {
        err << "vmrouter: " << to_string(file.error().error) << '\n';
        return file.error().status;
    }
    const auto text = read_file(*file);
    if (!text) {
        err << "vmrouter: " << to_string(text.error()) << '\n';
        return 1;
    }
    auto content = dhcp::parse_lease_file(*text);
    for (const auto& bad : content.bad)
        err << "vmrouter: " << *file << ':' << bad.number << ": " << bad.why << ": " << escape(bad.text, 200) << '\n';
    std::sort(content.leases.begin(), content.leases.end(),
              [](const dhcp::Lease& a, const dhcp::Lease& b) { return a.address < b.address; });
    if (options.json)
        print_json(content.leases, now, out);
    else
        print_table(content.leases, now, out);
    return 0;
}

}  // namespace vmrouter
