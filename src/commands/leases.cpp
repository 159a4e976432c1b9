#include "src/commands/leases.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

#include "dhcp/lease_file.hpp"
#include "src/base/file.hpp"
#include "src/base/table.hpp"
#include "src/base/text.hpp"
#include "src/commands/answers.hpp"
#include "src/commands/words.hpp"
#include "src/lease_document.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr std::size_t vendor_width = 16;

/// What a file says; its lines that are none are told to `err`.
Result<json> read_leases(const std::string& path, Time now, std::ostream& err) {
    const auto text = read_file(path);
    if (!text) return Failure{text.error()};
    auto content = dhcp::parse_lease_file(*text);
    for (const auto& bad : content.bad)
        err << "vmrouter: " << path << ':' << bad.number << ": " << bad.why << ": " << escape(bad.text, 200) << '\n';
    std::sort(content.leases.begin(), content.leases.end(),
              [](const dhcp::Lease& a, const dhcp::Lease& b) { return a.address < b.address; });
    auto list = json::array();
    for (const auto& lease : content.leases) list.push_back(lease_document(lease, now));
    return list;
}

int list_leases(const cli::Leases& options, Time now, std::ostream& out, std::ostream& err, const Folders& folders) {
    auto list = options.file.empty() ? ask(options.instance, {{"command", "leases"}}, folders)
                                     : read_leases(options.file, now, err);
    if (!list) return fail(err, list.error());
    Vendors vendors;
    add_vendors(*list, vendors);
    if (options.json)
        print_document(out, *list);
    else
        out << leases_table(*list, now, Terminal::of(out));
    return 0;
}

int change_lease(const cli::Leases& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    const bool drop = options.action == cli::Leases::Action::Drop;
    const auto address = to_string(options.address);
    const auto done = ask(options.instance, {{"command", drop ? "drop" : "pin"}, {"address", address}}, folders);
    if (!done) return fail(err, done.error());
    if (options.json)
        print_document(out, {{"address", address}, {drop ? "dropped" : "pinned", true}});
    else
        out << address
            << (drop ? " is dropped: its guest's next renewal is refused, and it asks anew\n"
                     : " is pinned: its guest gets it from now on, whatever happens to the lease\n");
    return 0;
}

Style state_style(std::string_view state) {
    if (state == "bound") return Style::Good;
    return state == "expired" ? Style::Faint : Style::Warn;
}

}  // namespace

void add_vendors(json& list, Vendors& vendors) {
    for (auto& one : list)
        if (one.is_object()) one["vendor"] = text_or_null(vendors.of(text_of(one, "mac")));
}

std::string leases_table(const json& list, Time now, const Terminal& terminal) {
    Table table({"ADDRESS", "NAME", "MAC", "VENDOR", "REMAINING", "STATE", "LAST SEEN"});
    for (const auto& lease : list) {
        const auto expires = time_of(lease, "expires");
        const auto seen = time_of(lease, "last_seen");
        const auto state = text_of(lease, "state");
        std::string remaining = "never ends";
        if (expires) remaining = *expires <= now ? "ended" : short_duration(std::chrono::ceil<Seconds>(*expires - now));
        table.add({text_of(lease, "address"),
                   {text_of(lease, "name"), Style::Name},
                   text_of(lease, "mac"),
                   text_of(lease, "vendor").substr(0, vendor_width),
                   remaining,
                   {state, state_style(state)},
                   seen ? ago(*seen, now) : ""});
    }
    return table.text(terminal);
}

int leases(const cli::Leases& options, Time now, std::ostream& out, std::ostream& err, const Folders& folders) {
    if (options.action == cli::Leases::Action::List) return list_leases(options, now, out, err, folders);
    return change_lease(options, out, err, folders);
}

}  // namespace vmrouter
