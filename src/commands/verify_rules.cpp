#include "src/commands/verify_rules.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/rule.hpp"
#include "src/link/sysctl.hpp"
#include "src/link/veth.hpp"

namespace vmrouter::proof {
namespace {

using nlohmann::json;

/// Sets whose contents are the guests' and come and go.
constexpr std::array<std::string_view, 8> living = {"vm_owned", "vm_bound",       "vm_pinned",     "vm_pins",
                                                    "vm_names", "vm_forward_any", "vm_forward_at", "vm_published"};

/// Guests' sets, and those that rules add to (their elements carry limits, counts and times).
bool is_living(const json& set) {
    const auto name = set.value("name", "");
    if (std::find(living.begin(), living.end(), name) != living.end()) return true;
    const auto elements = set.value("elem", json::array());
    return std::any_of(elements.begin(), elements.end(), [](const json& one) { return one.contains("elem"); });
}

/// "inet vmrouter_x" for each table that the text opens with a block.
std::vector<std::string> tables_of(const std::string& ruleset) {
    std::vector<std::string> tables;
    for (const auto line : split(ruleset, '\n'))
        if (line.starts_with("table ") && line.ends_with(" {")) tables.emplace_back(line.substr(6, line.size() - 8));
    return tables;
}

/// The elements of every set of one table, from its JSON listing.
std::vector<std::pair<std::string, std::string>> contents(const std::string& listing) {
    std::vector<std::pair<std::string, std::string>> sets;
    const auto document = json::parse(listing, nullptr, false);
    if (!document.is_object()) return sets;
    for (const auto& object : document.value("nftables", json::array())) {
        const auto set = object.find("set");
        if (set == object.end() || is_living(*set)) continue;
        std::vector<std::string> elements;
        for (const auto& element : set->value("elem", json::array())) elements.push_back(element.dump());
        std::sort(elements.begin(), elements.end());
        std::string text;
        for (const auto& element : elements) text += element + '\n';
        sets.emplace_back(set->value("name", ""), std::move(text));
    }
    std::sort(sets.begin(), sets.end());
    return sets;
}

json to_json(const std::vector<Listing>& listings) {
    auto list = json::array();
    for (const auto& one : listings) list.push_back({{"table", one.table}, {"rules", one.rules}, {"sets", one.sets}});
    return list;
}

/// In the child: its own namespace, an interface of the segment's name, and the rules.
Result<std::vector<Listing>> try_out(const std::string& ruleset, const std::string& interface) {
    auto space = link::make_namespace();
    if (!space) return Failure{std::move(space).error()};
    std::vector<Listing> made;
    auto done = link::in_namespace(*space, [&]() -> Result<void> {
        auto netlink = link::Netlink::open();
        if (!netlink) return Failure{std::move(netlink).error()};
        if (!interface.empty())
            if (auto created =
                    link::create_bridge(*netlink, interface, {MacAddress{{0x02, 0x76, 0x6d, 0, 0, 2}}, false, 1500});
                !created)
                return Failure{std::move(created).error()};
        auto nft = firewall::Nft::open();
        if (!nft) return Failure{std::move(nft).error()};
        if (auto ran = nft->run(ruleset); !ran) return ran;
        made = list_tables(*nft, ruleset);
        return {};
    });
    if (!done) return Failure{std::move(done).error()};
    return made;
}

std::string read_all(int fd) {
    std::string text;
    std::array<char, 65536> chunk{};
    for (;;) {
        const auto got = read(fd, chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

/// The blocks of a table's listing by their first line ("chain vm_open", "set vm_lan"); lines of the table itself
/// under "".
using Blocks = std::map<std::string, std::vector<std::string>>;
Blocks blocks_of(const std::string& rules) {
    Blocks blocks;
    std::string name;
    for (const auto raw : split(rules, '\n')) {
        const auto line = trim(raw);
        if (line.empty() || line.starts_with("table ")) continue;
        if (name.empty() && line.ends_with(" {")) {
            name = std::string(line.substr(0, line.size() - 2));
            blocks[name];
        } else if (line == "}") {
            name.clear();
        } else {
            blocks[name].emplace_back(line);
        }
    }
    return blocks;
}

/// The first line that one has and the other has not, in words.
std::string difference(const std::vector<std::string>& wanted, const std::vector<std::string>& found) {
    std::vector<std::string> rest = found;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const auto at = std::find(rest.begin(), rest.end(), wanted[i]);
        if (at == rest.end()) return "line " + std::to_string(i + 1) + " is missing: " + wanted[i];
        rest.erase(at);
    }
    if (!rest.empty()) return "somebody added: " + escape(rest.front());
    return "the order is another one";
}

std::string line_of(std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return escape(trim(text));
}

void compare_table(std::vector<Row>& rows, const Listing& wanted, const Listing& found) {
    const auto before = rows.size();
    const auto add = [&](const std::string& what, const std::string& happened) {
        rows.push_back({"read back", wanted.table + " " + what, "as rendered", happened, Verdict::Surprise});
    };
    const auto want = blocks_of(wanted.rules);
    const auto have = blocks_of(found.rules);
    std::size_t lines = 0;
    for (const auto& [name, block] : want) {
        lines += block.size();
        const auto there = have.find(name);
        if (there == have.end())
            add(name, "it is not there");
        else if (there->second != block)
            add(name, difference(block, there->second));
    }
    for (const auto& [name, block] : have)
        if (!want.contains(name)) add(escape(name), "somebody added it");
    for (const auto& set : wanted.sets) {
        const auto there =
            std::find_if(found.sets.begin(), found.sets.end(), [&](const auto& one) { return one.first == set.first; });
        if (there == found.sets.end() || there->second == set.second) continue;
        add("set " + set.first, "holds " + line_of(there->second) + " instead of " + line_of(set.second));
    }
    if (rows.size() == before)
        rows.push_back({"read back", "table " + wanted.table, "as rendered",
                        std::to_string(want.size()) + " blocks, " + std::to_string(lines) + " lines: all of them",
                        Verdict::Ok});
}

Row compare_guard(const Subject& subject, link::Netlink& netlink) {
    Row row{"read back",
            "routing rules of the dead man's switch",
            std::to_string(subject.guard.size()) + " rules",
            {},
            Verdict::Ok};
    const auto rules = link::read_rules(netlink);
    if (!rules) {
        row.happened = to_string(rules.error());
        row.verdict = Verdict::Unproven;
        return row;
    }
    const auto changes = link::guard_changes(*rules, subject.interface, subject.mark, subject.guard);
    row.happened = "all of them";
    if (changes != link::RuleChanges{}) {
        row.verdict = Verdict::Surprise;
        row.happened =
            std::to_string(changes.add.size()) + " missing, " + std::to_string(changes.remove.size()) + " too many";
        if (!changes.add.empty()) row.happened += "; " + to_string(changes.add.front()) + " is missing";
    }
    return row;
}

}  // namespace

std::vector<Listing> list_tables(firewall::Nft& nft, const std::string& ruleset) {
    std::vector<Listing> out;
    for (const auto& table : tables_of(ruleset)) {
        Listing listing;
        listing.table = table;
        listing.rules = nft.list_rules("list table " + table).has_value() ? *nft.list_rules("list table " + table) : "";
        if (const auto sets = nft.list("list table " + table)) listing.sets = contents(*sets);
        out.push_back(std::move(listing));
    }
    return out;
}

Result<std::vector<Listing>> expected_tables(const std::string& ruleset, const std::string& interface) {
    // libnftables ends its process when it cannot open a socket, and keeps it in the namespace it was opened in.
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return Failure{system_error("cannot make a pipe", errno)};
    FileDescriptor in(ends[0]);
    FileDescriptor out(ends[1]);
    const pid_t child = fork();
    if (child < 0) return Failure{system_error("cannot start a process", errno)};
    if (child == 0) {
        const auto made = try_out(ruleset, interface);
        const std::string text = made ? to_json(*made).dump() : json(to_string(made.error())).dump();
        _exit(write_all(out.get(), text) == 0 ? 0 : 1);
    }
    out.reset();
    const auto text = read_all(in.get());
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    const auto document = json::parse(text, nullptr, false);
    if (document.is_string()) return Failure{Error{document.get<std::string>(), "a namespace to compare with", {}}};
    if (!document.is_array())
        return Failure{Error{"the rules could not be tried out", "a namespace to compare with", {}}};
    std::vector<Listing> listings;
    for (const auto& one : document) listings.push_back({one.at("table"), one.at("rules"), one.at("sets")});
    return listings;
}

std::vector<Row> compare_tables(const std::vector<Listing>& wanted, const std::vector<Listing>& found) {
    std::vector<Row> rows;
    for (std::size_t i = 0; i < wanted.size() && i < found.size(); ++i) compare_table(rows, wanted[i], found[i]);
    return rows;
}

std::vector<Row> compare_settings(const Subject& subject, link::Netlink& netlink) {
    std::vector<Row> rows;
    std::size_t good = 0;
    for (const auto& setting : subject.settings) {
        const auto value = link::read_sysctl(setting.path);
        if (!value && (setting.optional || !link::sysctl_exists(setting.path))) continue;
        if (value && *value == setting.value) {
            ++good;
            continue;
        }
        rows.push_back({"read back", setting.path, setting.value, value ? "is " + *value : to_string(value.error()),
                        Verdict::Surprise});
    }
    if (rows.empty())
        rows.push_back(
            {"read back", "kernel settings", std::to_string(good) + " settings", "all of them", Verdict::Ok});
    if (subject.internet || !subject.guard.empty()) rows.push_back(compare_guard(subject, netlink));
    if (subject.bridge && subject.isolate_guests) {
        Row row{"read back", "ports are isolated", "every port", "every port", Verdict::Ok};
        const auto ports = link::ports(netlink, subject.interface);
        if (ports)
            for (const auto& port : *ports)
                if (!port.isolated) {
                    row.happened = port.name + " is not";
                    row.verdict = Verdict::Surprise;
                }
        rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace vmrouter::proof
