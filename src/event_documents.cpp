#include "src/event_documents.hpp"

#include <nlohmann/json.hpp>

#include "src/lease_document.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr std::uint8_t icmp = 1;

json event(const char* kind, Time now) {
    return {{"time", static_cast<double>(now.time_since_epoch().count()) / 1000}, {"event", kind}};
}

json guest_event(const char* kind, const GuestLabel& guest, Time now) {
    auto out = event(kind, now);
    out["guest"] = text_or_null(guest.name);
    out["address"] = to_string(guest.address);
    out["mac"] = text_or_null(guest.mac);
    return out;
}

}  // namespace

std::string protocol_name(std::uint8_t protocol) {
    constexpr std::uint8_t tcp = 6;
    constexpr std::uint8_t udp = 17;
    if (protocol == icmp) return "icmp";
    if (protocol == tcp) return "tcp";
    if (protocol == udp) return "udp";
    return std::to_string(protocol);
}

json lease_event(const dhcp::AppliedChange& change, Time now) {
    const auto& lease = change.after ? change.after : change.before;
    auto out =
        guest_event("lease", {change.address, lease ? lease->name : "", lease ? to_string(lease->hardware) : ""}, now);
    out["cause"] = std::string(dhcp::to_string(change.cause));
    out["state"] = change.after ? json(std::string(dhcp::to_string(change.after->state))) : json(nullptr);
    out["expires"] = change.after ? seconds_or_null(change.after->expires) : json(nullptr);
    return out;
}

json dns_event(const dns::QueryEvent& query, const GuestLabel& guest, Time now) {
    auto out = guest_event("dns", guest, now);
    out["name"] = to_string(query.question.name);
    out["type"] = to_string(query.question.type);
    out["rcode"] = to_string(query.rcode);
    out["source"] = std::string(dns::to_string(query.source));
    out["reason"] = query.source == dns::Source::Local ? json(dns::to_string(query.verdict)) : json(nullptr);
    out["upstream"] = query.upstream == nullptr ? json(nullptr) : json(to_string(*query.upstream));
    out["milliseconds"] = static_cast<double>(query.took.count()) / 1000.0;
    out["tcp"] = query.tcp;
    return out;
}

json flow_event(const firewall::Flow& flow, bool outwards, const GuestLabel& guest, std::string_view name, Time now) {
    auto out = guest_event("flow", guest, now);
    const bool has_ports = flow.protocol != icmp;
    out["direction"] = outwards ? "out" : "in";
    out["protocol"] = protocol_name(flow.protocol);
    // Inwards the guest is what the connection was translated to, if it was.
    const auto& peer = outwards ? flow.original.destination : flow.original.source;
    const auto port = outwards ? flow.original.destination_port : flow.reply.source_port;
    out["peer"] = to_string(peer);
    out["port"] = has_ports ? json(port) : json(nullptr);
    out["source_port"] = has_ports ? json(flow.original.source_port) : json(nullptr);
    out["name"] = text_or_null(name);
    return out;
}

json blocked_event(const firewall::Attempt& attempt, const GuestLabel& guest, std::string_view name, Time now) {
    auto out = guest_event("blocked", guest, now);
    out["reason"] = attempt.reason;
    out["protocol"] = protocol_name(attempt.protocol);
    out["peer"] = to_string(attempt.destination);
    out["port"] = attempt.protocol == icmp ? json(nullptr) : json(attempt.port);
    out["name"] = text_or_null(name);
    return out;
}

json upstream_event(const dns::Endpoint& upstream, dns::Health before, dns::Health after, Time now) {
    auto out = event("upstream", now);
    out["server"] = to_string(upstream);
    out["before"] = std::string(dns::to_string(before));
    out["health"] = std::string(dns::to_string(after));
    return out;
}

json uplink_event(const std::vector<link::Uplink>& uplinks, Time now) {
    auto out = event("uplink", now);
    out["uplinks"] = json::array();
    for (const auto& uplink : uplinks)
        if (uplink.index != 0) out["uplinks"].push_back(uplink.name);
    return out;
}

json port_event(std::string_view port, bool joined, Time now) {
    auto out = event("port", now);
    out["port"] = port;
    out["joined"] = joined;
    return out;
}

json rules_event(std::string_view what, std::string_view process, std::uint32_t pid, Time now) {
    auto out = event("rules", now);
    out["what"] = what;
    out["process"] = text_or_null(process);
    out["pid"] = pid == 0 ? json(nullptr) : json(pid);
    return out;
}

json skipped_event(std::string_view kind, std::uint64_t count, Time now) {
    auto out = event("skipped", now);
    out["kind"] = kind;
    out["count"] = count;
    return out;
}

}  // namespace vmrouter
