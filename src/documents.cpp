#include "src/documents.hpp"

#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "src/base/clock.hpp"
#include "src/base/text.hpp"
#include "src/event_documents.hpp"
#include "src/lease_document.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

json upstream_documents(const std::vector<dns::UpstreamStatus>& upstreams) {
    const auto now = SystemClock{}.now();
    auto list = json::array();
    for (const auto& one : upstreams)
        list.push_back({{"server", to_string(one.endpoint)},
                        {"health", std::string(dns::to_string(one.health))},
                        {"rtt_ms", one.rtt.count() == 0 && one.answers == 0 ? json(nullptr) : json(one.rtt.count())},
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

json uplink_documents(const std::vector<link::Uplink>& uplinks) {
    auto list = json::array();
    for (const auto& uplink : uplinks) {
        auto gateways = json::array();
        for (const auto gateway : uplink.gateways) gateways.push_back(to_string(gateway));
        list.push_back({{"interface", uplink.name}, {"present", uplink.index != 0}, {"gateways", gateways}});
    }
    return list;
}

json blocked_documents(const StatusParts& parts) {
    auto list = json::array();
    for (const auto& tally : parts.blocked) {
        const auto& attempt = tally.attempt;
        list.push_back({{"reason", attempt.reason},
                        {"mac", attempt.guest.is_zero() ? json(nullptr) : json(to_string(attempt.guest))},
                        {"guest", text_or_null(parts.names.name_of(attempt))},
                        {"address", to_string(attempt.source)},
                        {"peer", to_string(attempt.destination)},
                        {"protocol", protocol_name(attempt.protocol)},
                        {"port", attempt.port},
                        {"count", tally.count},
                        {"first", seconds_or_null(tally.first)},
                        {"last", seconds_or_null(tally.last)}});
    }
    return list;
}

json other_documents(const std::vector<firewall::Obstacle>& others) {
    auto list = json::array();
    for (const auto& one : others)
        list.push_back({{"program", one.program},
                        {"family", one.family},
                        {"table", one.table},
                        {"chain", one.chain},
                        {"hook", text_or_null(one.hook)},
                        {"priority", one.priority},
                        {"rule", one.rule},
                        {"passed", !one.in_the_way()},
                        {"done", text_or_null(one.done)},
                        {"cure", one.cure}});
    return list;
}

json count_document(std::uint64_t packets, std::uint64_t bytes) {
    return {{"packets", packets}, {"bytes", bytes}};
}

/// How many attempts of each sender were refused.
std::map<MacAddress, std::uint64_t> refused_by_sender(const std::vector<firewall::Tally>& tallies) {
    std::map<MacAddress, std::uint64_t> counts;
    for (const auto& tally : tallies) counts[tally.attempt.guest] += tally.count;
    return counts;
}

}  // namespace

json leases_document(std::span<const dhcp::Lease> leases, Time now) {
    auto list = json::array();
    for (const auto& lease : leases) list.push_back(lease_document(lease, now));
    return list;
}

json guests_document(const StatusParts& parts) {
    struct Row {
        const dhcp::Lease* lease = nullptr;
        firewall::Traffic traffic;
    };
    std::map<Ipv4, Row> rows;
    for (const auto& lease : parts.leases)
        if (lease.state == dhcp::LeaseState::Bound) rows[lease.address].lease = &lease;
    for (const auto& traffic : parts.traffic) rows[traffic.guest].traffic = traffic;
    const auto refused = refused_by_sender(parts.blocked);

    auto list = json::array();
    for (const auto& [address, row] : rows) {
        const auto mac = row.lease == nullptr ? std::nullopt : row.lease->hardware.mac();
        const auto count = mac ? refused.find(*mac) : refused.end();
        const auto* port = row.lease == nullptr || row.lease->port == 0 ? nullptr : parts.facts.find(row.lease->port);
        const bool seen = row.lease != nullptr && row.lease->last_seen != Time{};
        list.push_back({{"address", to_string(address)},
                        {"mac", mac ? json(to_string(*mac)) : json(nullptr)},
                        {"name", text_or_null(parts.names.name_of(address))},
                        {"port", port == nullptr ? json(nullptr) : json(port->name)},
                        {"last_seen", seen ? seconds_or_null(row.lease->last_seen) : json(nullptr)},
                        {"sent", count_document(row.traffic.sent_packets, row.traffic.sent_bytes)},
                        {"received", count_document(row.traffic.received_packets, row.traffic.received_bytes)},
                        {"blocked", count == refused.end() ? 0 : count->second}});
    }
    return list;
}

json status_document(const StatusParts& parts) {
    json out;
    out["instance"] = parts.plan.instance;
    out["version"] = VMROUTER_VERSION;
    out["pid"] = getpid();
    out["started"] = seconds_or_null(parts.started);
    out["segment"] = nullptr;
    if (parts.plan.segment) {
        const auto& segment = *parts.plan.segment;
        out["segment"] = {{"interface", segment.name},
                          {"kind", segment.is_bridge ? "bridge" : "interface"},
                          {"address", to_string(segment.address)},
                          {"mtu", segment.mtu}};
    }
    out["uplinks"] = uplink_documents(parts.plan.uplinks);
    out["internet"] = !parts.plan.policy.segment || parts.plan.policy.segment->internet;
    out["blocked_networks"] = json::array();
    for (const auto& prefix : parts.plan.lans) out["blocked_networks"].push_back(to_string(prefix));
    out["health"] = json::array();
    for (const auto& item : parts.health)
        out["health"].push_back({{"what", item.what}, {"ok", item.ok}, {"detail", text_or_null(item.detail)}});
    out["counters"] = json::object();
    for (const auto& counter : parts.counters)
        out["counters"][counter.name] = count_document(counter.packets, counter.bytes);
    out["leases"] = leases_document(parts.leases, parts.now);
    out["guests"] = guests_document(parts);
    out["blocked"] = blocked_documents(parts);
    out["others"] = other_documents(parts.others);
    out["dhcp"] = parts.dhcp == nullptr ? json(nullptr) : dhcp_document(*parts.dhcp);
    out["dns"] = parts.dns == nullptr ? json(nullptr) : dns_document(*parts.dns);
    return out;
}

}  // namespace vmrouter
