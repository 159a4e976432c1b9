#include "src/documents.hpp"

#include <nlohmann/json.hpp>

#include "src/base/clock.hpp"
#include "src/base/text.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

json text_or_null(std::string_view text) {
    return text.empty() ? json(nullptr) : json(std::string(text));
}

json event(const char* kind, Time now) {
    return {{"time", std::chrono::duration<double>(now.time_since_epoch()).count()}, {"event", kind}};
}

json upstream_documents(const std::vector<dns::UpstreamStatus>& upstreams) {
    const auto now = SystemClock{}.now();
    auto list = json::array();
    for (const auto& one : upstreams)
        list.push_back({{"server", to_string(one.endpoint)},
                        {"health", std::string(dns::to_string(one.health))},
                        {"rtt_ms", one.rtt.count() == 0 ? json(nullptr) : json(one.rtt.count())},
                        {"queries", one.queries},
                        {"answers", one.answers},
                        {"failures", one.failures},
                        {"outstanding", one.out},
                        {"last_answer", one.since_answer ? seconds_or_null(now - *one.since_answer) : json(nullptr)}});
    return list;
}

json route_documents(const std::vector<dns::Service::RouteStatus>& routes) {
    auto list = json::array();
    for (const auto& route : routes)
        list.push_back({{"domain", to_string(route.domain)}, {"upstreams", upstream_documents(route.upstreams)}});
    return list;
}

json guest_documents(const std::vector<dns::GuestQueries>& guests) {
    auto list = json::array();
    for (const auto& one : guests)
        list.push_back({{"address", to_string(one.guest)},
                        {"queries", one.queries},
                        {"refused", one.refused},
                        {"outstanding", one.outstanding}});
    return list;
}

json dns_document(const dns::Service& service) {
    const auto counters = service.counters();
    return {{"queries", counters.queries},
            {"local", counters.local},
            {"cached", counters.cached},
            {"forwarded", counters.forwarded},
            {"stale", counters.stale},
            {"failed", counters.failed},
            {"malformed", counters.malformed},
            {"over_limit", counters.over_limit},
            {"rebound", counters.rebound},
            {"cache_entries", counters.cache_entries},
            {"cache_bytes", counters.cache_bytes},
            {"cache_hits", counters.cache.hits},
            {"cache_misses", counters.cache.misses},
            {"cache_insertions", counters.cache.insertions},
            {"cache_evictions", counters.cache.evictions},
            {"merged", counters.merged},
            {"outstanding", counters.outstanding},
            {"tcp_queries", counters.tcp_queries},
            {"upstreams", upstream_documents(service.upstreams())},
            {"routes", route_documents(service.routes())},
            {"guests", guest_documents(service.guests())}};
}

json dhcp_document(const dhcp::Service& service) {
    const auto& counters = service.counters();
    const auto health = service.health();
    return {{"received", counters.received},   {"offers", counters.offers},
            {"acks", counters.acks},           {"naks", counters.naks},
            {"declines", counters.declines},   {"conflicts", counters.conflicts},
            {"pool_used", health.pool.used},   {"pool_usable", health.pool.usable},
            {"storage_ok", health.storage_ok}, {"storage_error", text_or_null(health.storage_error)}};
}

}  // namespace

json seconds_or_null(const std::optional<Time>& time) {
    if (!time) return nullptr;
    return std::chrono::floor<Seconds>(time->time_since_epoch()).count();
}

json lease_document(const dhcp::Lease& lease) {
    return {{"address", to_string(lease.address)},
            {"mac", to_string(lease.hardware)},
            {"name", text_or_null(lease.name)},
            {"client_id", lease.client_id.empty() ? json(nullptr) : json(to_hex(lease.client_id))},
            {"expires", seconds_or_null(lease.expires)},
            {"state", std::string(dhcp::to_string(lease.state))},
            {"last_seen", lease.last_seen == Time{} ? json(nullptr) : seconds_or_null(lease.last_seen)}};
}

json leases_document(std::span<const dhcp::Lease> leases) {
    auto list = json::array();
    for (const auto& lease : leases) list.push_back(lease_document(lease));
    return list;
}

json query_event(const dns::QueryEvent& query, std::string_view guest, Time now) {
    auto out = event("query", now);
    out["client"] = to_string(query.client);
    out["guest"] = text_or_null(guest);
    out["name"] = to_string(query.question.name);
    out["type"] = to_string(query.question.type);
    out["rcode"] = to_string(query.rcode);
    out["source"] = std::string(dns::to_string(query.source));
    out["upstream"] = query.upstream == nullptr ? json(nullptr) : json(to_string(*query.upstream));
    out["milliseconds"] = static_cast<double>(query.took.count()) / 1000.0;
    return out;
}

json lease_event(const dhcp::AppliedChange& change, Time now) {
    auto out = event("lease", now);
    out["cause"] = std::string(dhcp::to_string(change.cause));
    out["address"] = to_string(change.address);
    const auto& lease = change.after ? change.after : change.before;
    out["mac"] = lease ? json(to_string(lease->hardware)) : json(nullptr);
    out["guest"] = lease ? text_or_null(lease->name) : json(nullptr);
    out["expires"] = change.after ? seconds_or_null(change.after->expires) : json(nullptr);
    return out;
}

json blocked_event(const firewall::Attempt& attempt, std::string_view guest, Time now) {
    auto out = event("blocked", now);
    out["reason"] = attempt.reason;
    out["guest"] = text_or_null(guest);
    out["mac"] = attempt.guest.is_zero() ? json(nullptr) : json(to_string(attempt.guest));
    out["source"] = to_string(attempt.source);
    out["destination"] = to_string(attempt.destination);
    out["protocol"] = attempt.protocol;
    out["port"] = attempt.port;
    return out;
}

json status_document(const StatusParts& parts) {
    json out;
    out["instance"] = parts.plan.instance;
    out["version"] = VMROUTER_VERSION;
    if (parts.plan.segment) {
        const auto& segment = *parts.plan.segment;
        out["segment"] = {{"interface", segment.name},
                          {"kind", segment.is_bridge ? "bridge" : "interface"},
                          {"address", to_string(segment.address)},
                          {"mtu", segment.mtu}};
    }
    out["uplinks"] = json::array();
    for (const auto& uplink : parts.plan.uplinks) {
        auto gateways = json::array();
        for (const auto gateway : uplink.gateways) gateways.push_back(to_string(gateway));
        out["uplinks"].push_back({{"interface", uplink.name}, {"present", uplink.index != 0}, {"gateways", gateways}});
    }
    out["blocked_networks"] = json::array();
    for (const auto& prefix : parts.plan.lans) out["blocked_networks"].push_back(to_string(prefix));
    out["health"] = json::array();
    for (const auto& item : parts.health)
        out["health"].push_back({{"what", item.what}, {"ok", item.ok}, {"detail", text_or_null(item.detail)}});
    out["counters"] = json::object();
    for (const auto& counter : parts.counters)
        out["counters"][counter.name] = {{"packets", counter.packets}, {"bytes", counter.bytes}};
    out["leases"] = leases_document(parts.leases);
    out["blocked"] = json::array();
    for (const auto& tally : parts.blocked)
        out["blocked"].push_back(
            {{"reason", tally.attempt.reason},
             {"guest", parts.names == nullptr ? json(nullptr) : text_or_null(parts.names->name_of(tally.attempt))},
             {"mac", tally.attempt.guest.is_zero() ? json(nullptr) : json(to_string(tally.attempt.guest))},
             {"source", to_string(tally.attempt.source)},
             {"destination", to_string(tally.attempt.destination)},
             {"protocol", tally.attempt.protocol},
             {"port", tally.attempt.port},
             {"count", tally.count},
             {"first", seconds_or_null(tally.first)},
             {"last", seconds_or_null(tally.last)}});
    out["dhcp"] = parts.dhcp == nullptr ? json(nullptr) : dhcp_document(*parts.dhcp);
    out["dns"] = parts.dns == nullptr ? json(nullptr) : dns_document(*parts.dns);
    return out;
}

}  // namespace vmrouter
