#include "src/commands/status.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "src/base/table.hpp"
#include "src/base/text.hpp"
#include "src/commands/answers.hpp"
#include "src/commands/event_line.hpp"
#include "src/commands/words.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr std::size_t most_destinations = 3;  // of each guest, the most tried first

std::string count(std::uint64_t number, const std::string& one, const std::string& many) {
    return std::to_string(number) + ' ' + (number == 1 ? one : many);
}

json object_of(const json& document, const char* key) {
    const auto found = document.find(key);
    return found != document.end() && found->is_object() ? *found : json::object();
}

/// "SERVES   bridge virbr10 ..."
void line(std::string& text, const Terminal& terminal, const std::string& title, const std::string& what) {
    constexpr std::size_t column = 9;
    // Wrapped together with a first word as wide as the title, which then goes.
    const auto lines = wrap(std::string(column, '.') + printable(what), terminal.width, column);
    text += terminal.paint(Style::Title, title) + std::string(column - title.size(), ' ') + lines.substr(column) + '\n';
}

void add_head(std::string& text, const json& document, Time now, const Terminal& terminal) {
    const auto started = time_of(document, "started");
    text += terminal.paint(Style::Name, printable(text_of(document, "instance"))) + ", vmrouter " +
            printable(text_of(document, "version")) + ", process " + text_of(document, "pid");
    if (started) text += ", up " + short_duration(std::chrono::floor<Seconds>(now - *started));
    text += '\n';
}

std::string uplink_text(const json& document) {
    std::string text;
    for (const auto& uplink : list_of(document, "uplinks")) {
        text += (text.empty() ? "" : ", ") + text_of(uplink, "interface");
        for (const auto& gateway : list_of(uplink, "gateways"))
            if (gateway.is_string()) text += " via " + gateway.get<std::string>();
        if (!uplink.value("present", true)) text += " (not there)";
    }
    return text.empty() ? "none: guests have no internet until there is a route" : text;
}

std::string dhcp_text(const json& dhcp) {
    const auto used = number_of(dhcp, "pool_used");
    const auto usable = number_of(dhcp, "pool_usable");
    std::string text = std::to_string(used) + " of " + count(usable, "address", "addresses") + " in use; " +
                       count(number_of(dhcp, "acks"), "ACK", "ACKs") + ", " +
                       count(number_of(dhcp, "naks"), "NAK", "NAKs");
    if (const auto conflicts = number_of(dhcp, "conflicts"); conflicts > 0)
        text += ", " + count(conflicts, "address conflict", "address conflicts");
    if (!dhcp.value("storage_ok", true)) text += "; LEASES ARE NOT SAVED: " + text_of(dhcp, "storage_error");
    return text;
}

std::string dns_text(const json& dns) {
    std::string text = count(number_of(dns, "queries"), "query", "queries") + ": " +
                       std::to_string(number_of(dns, "local")) + " answered here, " +
                       std::to_string(number_of(dns, "cached")) + " from the cache, " +
                       std::to_string(number_of(dns, "forwarded")) + " asked upstream, " +
                       std::to_string(number_of(dns, "failed")) + " failed";
    if (const auto rebound = number_of(dns, "rebound"); rebound > 0)
        text += "; " + count(rebound, "record", "records") + " pointed into blocked networks";
    return text;
}

void add_facts(std::string& text, const json& document, const Terminal& terminal) {
    const auto segment = object_of(document, "segment");
    if (!segment.empty())
        line(text, terminal, "SERVES",
             text_of(segment, "kind") + ' ' + text_of(segment, "interface") + " as " + text_of(segment, "address") +
                 ", mtu " + text_of(segment, "mtu"));
    line(text, terminal, "UPLINK", uplink_text(document));
    if (const auto dhcp = object_of(document, "dhcp"); !dhcp.empty()) line(text, terminal, "DHCP", dhcp_text(dhcp));
    if (const auto dns = object_of(document, "dns"); !dns.empty()) line(text, terminal, "DNS", dns_text(dns));
    std::string networks;
    for (const auto& one : list_of(document, "blocked_networks"))
        if (one.is_string()) networks += (networks.empty() ? "" : ", ") + one.get<std::string>();
    const bool closed = document.contains("internet") && document["internet"] == false;
    line(text, terminal, "BLOCKED",
         (closed ? "the internet (firewall.internet = false), " : "") + std::string("this host, all IPv6") +
             (networks.empty() ? "" : ", " + networks));
}

void add_upstreams(std::string& text, const json& document, const Terminal& terminal) {
    Table table({"UPSTREAM",
                 "HEALTH",
                 {"LATENCY", Table::Align::Right},
                 {"QUERIES", Table::Align::Right},
                 {"ANSWERS", Table::Align::Right}});
    const auto dns = object_of(document, "dns");
    for (const auto& one : list_of(dns, "upstreams")) {
        const auto health = text_of(one, "health");
        const auto rtt = text_of(one, "rtt_ms");
        table.add({text_of(one, "server"),
                   {health, health == "up" ? Style::Good : Style::Bad},
                   rtt.empty() ? "" : (rtt == "0" ? "<1" : rtt) + " ms",
                   text_of(one, "queries"),
                   text_of(one, "answers")});
    }
    if (!table.empty()) text += '\n' + table.text(terminal);
}

/// Its name, else its address.
std::string guest_of(const json& one, const char* name_key) {
    const auto name = text_of(one, name_key);
    return name.empty() ? text_of(one, "address") : name;
}

void add_guests(std::string& text, const json& document, Time now, const Terminal& terminal) {
    Table table({"GUEST",
                 "ADDRESS",
                 "MAC",
                 "PORT",
                 {"SENT", Table::Align::Right},
                 {"RECEIVED", Table::Align::Right},
                 {"BLOCKED", Table::Align::Right},
                 "LAST SEEN"});
    for (const auto& guest : list_of(document, "guests")) {
        const auto seen = time_of(guest, "last_seen");
        const auto blocked = number_of(guest, "blocked");
        table.add({{text_of(guest, "name"), Style::Name},
                   text_of(guest, "address"),
                   text_of(guest, "mac"),
                   text_of(guest, "port"),
                   short_bytes(number_of(object_of(guest, "sent"), "bytes")),
                   short_bytes(number_of(object_of(guest, "received"), "bytes")),
                   {std::to_string(blocked), blocked > 0 ? Style::Warn : Style::Plain},
                   seen ? ago(*seen, now) : ""});
    }
    text += '\n' + (table.empty() ? std::string("no guests\n") : table.text(terminal));
}

void add_blocked(std::string& text, const json& document, Time now, const Terminal& terminal) {
    std::map<std::string, std::vector<const json*>> by_guest;
    for (const auto& one : list_of(document, "blocked")) by_guest[guest_of(one, "guest")].push_back(&one);
    Table table({"BLOCKED", "DESTINATION", "WHY", {"TIMES", Table::Align::Right}, "LAST"});
    for (auto& [guest, attempts] : by_guest) {
        std::stable_sort(attempts.begin(), attempts.end(),
                         [](const json* a, const json* b) { return number_of(*a, "count") > number_of(*b, "count"); });
        if (attempts.size() > most_destinations) attempts.resize(most_destinations);
        for (const json* one : attempts) {
            const auto last = time_of(*one, "last");
            table.add({{guest, Style::Name},
                       destination_text(*one),
                       text_of(*one, "reason"),
                       text_of(*one, "count"),
                       last ? ago(*last, now) : ""});
        }
    }
    if (!table.empty()) text += '\n' + table.text(terminal);
}

void add_others(std::string& text, const json& document, const Terminal& terminal) {
    Table table({"OTHER FIREWALL", "WHERE", "WHAT IT DOES"});
    for (const auto& one : list_of(document, "others")) {
        const bool passed = one.value("passed", false);
        table.add({text_of(one, "program"),
                   text_of(one, "family") + ' ' + text_of(one, "table") + ' ' + text_of(one, "chain") + ": " +
                       text_of(one, "rule"),
                   {passed ? "our guests' traffic passes" : "IN THE WAY: see `vmrouter doctor`",
                    passed ? Style::Good : Style::Bad}});
    }
    if (!table.empty()) text += '\n' + table.text(terminal);
}

/// Kernel settings have a path and are many: they are one row as long as all are right.
void add_health(std::string& text, const json& document, const Terminal& terminal) {
    Table table({"HEALTH", "READ BACK", "DETAIL"});
    std::size_t settings = 0;
    std::size_t bad = 0;
    for (const auto& item : list_of(document, "health")) {
        const bool ok = item.value("ok", false);
        bad += ok ? 0 : 1;
        const auto what = text_of(item, "what");
        if (ok && what.starts_with("net/")) {
            ++settings;
            continue;
        }
        table.add({{ok ? "ok" : "BAD", ok ? Style::Good : Style::Bad}, what, text_of(item, "detail")});
    }
    if (settings > 0) table.add({{"ok", Style::Good}, count(settings, "kernel setting", "kernel settings"), ""});
    if (table.empty()) return;
    text += '\n' + table.text(terminal);
    if (bad > 0) text += terminal.paint(Style::Bad, count(bad, "thing is", "things are") + " not as set up") + '\n';
}

}  // namespace

std::string status_screen(const json& document, Time now, const Terminal& terminal) {
    std::string text;
    add_head(text, document, now, terminal);
    add_facts(text, document, terminal);
    add_upstreams(text, document, terminal);
    add_guests(text, document, now, terminal);
    add_blocked(text, document, now, terminal);
    add_others(text, document, terminal);
    add_health(text, document, terminal);
    return text;
}

int status(const cli::Status& options, Time now, std::ostream& out, std::ostream& err, const Folders& folders) {
    auto document = ask(options.instance, {{"command", "status"}}, folders);
    if (!document) return fail(err, document.error());
    if (options.json)
        print_document(out, *document);
    else
        out << status_screen(*document, now, Terminal::of(out));
    return 0;
}

}  // namespace vmrouter
