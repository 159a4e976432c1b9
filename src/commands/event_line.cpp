#include "src/commands/event_line.hpp"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/commands/words.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr std::size_t kind_width = 8;
constexpr std::size_t guest_width = 15;

std::string milliseconds(const json& event) {
    const auto found = event.find("milliseconds");
    const double took = found != event.end() && found->is_number() ? found->get<double>() : 0;
    if (took < 0.05) return {};
    char text[32];
    std::snprintf(text, sizeof text, took < 9.95 ? ", %.1f ms" : ", %.0f ms", took);
    return text;
}

std::string lease_text(const json& event) {
    std::string text = text_of(event, "address") + ' ' + text_of(event, "cause");
    if (!text_of(event, "mac").empty()) text += ", " + text_of(event, "mac");
    const auto now = event.find("time");
    const auto expires = time_of(event, "expires");
    if (expires && now != event.end() && now->is_number()) {
        const Time then{Milliseconds{static_cast<std::int64_t>(now->get<double>() * 1000)}};
        text += ", for " + short_duration(std::chrono::round<Seconds>(*expires - then));
    } else if (text_of(event, "state") == "bound") {
        text += ", for ever";
    }
    return text;
}

std::string dns_text(const json& event) {
    std::string text = text_of(event, "type") + ' ' + text_of(event, "name") + ": " + text_of(event, "rcode");
    const auto source = text_of(event, "source");
    const auto reason = text_of(event, "reason");
    const auto upstream = text_of(event, "upstream");
    text += ", " + (reason.empty() ? source : reason);
    if (!upstream.empty()) text += ' ' + upstream;
    return text + milliseconds(event);
}

std::string uplink_text(const json& event) {
    std::string text;
    for (const auto& uplink : list_of(event, "uplinks"))
        if (uplink.is_string()) text += (text.empty() ? "" : ", ") + uplink.get<std::string>();
    return text.empty() ? "none: guests have no internet until there is a route" : text;
}

std::string rules_text(const json& event) {
    const auto process = text_of(event, "process");
    return text_of(event, "what") + (process.empty() ? "" : " by " + process + " (pid " + text_of(event, "pid") + ")");
}

Style style_of(std::string_view kind) {
    if (kind == "blocked") return Style::Bad;
    if (kind == "lease" || kind == "port") return Style::Good;
    if (kind == "dns" || kind == "flow") return Style::Plain;
    return Style::Warn;
}

std::string padded(std::string text, std::size_t width) {
    if (text.size() < width) text.resize(width, ' ');
    return text;
}

}  // namespace

std::string destination_text(const json& object) {
    const auto port = text_of(object, "port");
    const auto name = text_of(object, "name");
    const auto protocol = text_of(object, "protocol");
    const bool has_port = !port.empty() && (protocol == "tcp" || protocol == "udp");
    return protocol + ' ' + text_of(object, "peer") + (has_port ? ":" + port : "") +
           (name.empty() ? "" : " (" + name + ")");
}

std::string event_text(const json& event) {
    const auto kind = text_of(event, "event");
    std::string text;
    if (kind == "lease") text = lease_text(event);
    if (kind == "dns") text = dns_text(event);
    if (kind == "flow") text = (text_of(event, "direction") == "in" ? "from " : "to ") + destination_text(event);
    if (kind == "blocked") text = destination_text(event) + ", " + text_of(event, "reason");
    if (kind == "upstream")
        text = text_of(event, "server") + " is " + text_of(event, "health") + ", was " + text_of(event, "before");
    if (kind == "uplink") text = uplink_text(event);
    if (kind == "port") text = text_of(event, "port") + (event.value("joined", false) ? " joined" : " left");
    if (kind == "rules") text = rules_text(event);
    if (kind == "skipped") text = text_of(event, "count") + " events of kind " + text_of(event, "kind") + " left out";
    return printable(text);
}

std::string event_line(const json& event, const Terminal& terminal) {
    const auto kind = text_of(event, "event");
    const auto time = event.find("time");
    std::string guest = text_of(event, "guest");
    if (guest.empty()) guest = text_of(event, "address");
    std::string line =
        terminal.paint(Style::Faint, clock_time(time != event.end() && time->is_number() ? time->get<double>() : 0));
    line += ' ' + terminal.paint(style_of(kind), padded(printable(kind), kind_width));
    if (event.contains("guest")) line += ' ' + terminal.paint(Style::Name, padded(printable(guest), guest_width));
    return line + ' ' + event_text(event);
}

}  // namespace vmrouter
