#include "src/metrics.hpp"

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "src/base/terminal.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;
using Labels = std::initializer_list<std::pair<std::string_view, std::string>>;

/// Inside the quotes of a label.
std::string label_value(std::string_view text) {
    std::string out;
    for (const char c : printable(text)) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out;
}

std::string word(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

/// A family of samples: its help and type once, on top.
class Family {
public:
    Family(std::string& out, std::string_view name, std::string_view type, std::string_view help)
        : out_(out), name_(name) {
        out_.append("# HELP ").append(name).append(" ").append(help).append("\n");
        out_.append("# TYPE ").append(name).append(" ").append(type).append("\n");
    }
    /// Nothing for what is unknown.
    void add(const json& value, Labels labels = {}) {
        if (!value.is_number() && !value.is_boolean()) return;
        out_ += name_;
        std::string inside;
        for (const auto& [key, text] : labels) {
            if (!inside.empty()) inside += ',';
            inside.append(key).append("=\"").append(label_value(text)).append("\"");
        }
        if (!inside.empty()) out_.append("{").append(inside).append("}");
        out_ += ' ' + (value.is_boolean() ? std::string(value.get<bool>() ? "1" : "0") : value.dump()) + '\n';
    }
    void add(const json& object, const char* key, Labels labels = {}) {
        if (const auto found = object.find(key); found != object.end()) add(*found, labels);
    }

private:
    std::string& out_;
    std::string_view name_;
};

const json& member(const json& object, const char* key) {
    static const json nothing = json::object();
    const auto found = object.find(key);
    return found != object.end() && found->is_structured() ? *found : nothing;
}

void add_instance(std::string& out, const json& status) {
    Family(out, "vmrouter_info", "gauge", "Which instance and version this is.")
        .add(1, {{"instance", word(status, "instance")}, {"version", word(status, "version")}});
    Family(out, "vmrouter_start_time_seconds", "gauge", "When the instance was started.").add(status, "started");
    Family healthy(out, "vmrouter_healthy", "gauge", "Whether something is as it was set up.");
    for (const auto& item : member(status, "health")) healthy.add(item, "ok", {{"what", word(item, "what")}});
    Family uplink(out, "vmrouter_uplink_present", "gauge", "Whether an uplink is there.");
    for (const auto& one : member(status, "uplinks"))
        uplink.add(one, "present", {{"interface", word(one, "interface")}});
}

void add_dhcp(std::string& out, const json& dhcp) {
    if (dhcp.empty()) return;
    Family pool(out, "vmrouter_dhcp_pool_addresses", "gauge", "Addresses of the range.");
    pool.add(dhcp, "pool_usable", {{"state", "usable"}});
    pool.add(dhcp, "pool_used", {{"state", "used"}});
    Family messages(out, "vmrouter_dhcp_messages_total", "counter", "DHCP messages received and sent.");
    for (const auto& [key, kind] :
         {std::pair{"received", "received"}, std::pair{"offers", "offer"}, std::pair{"acks", "ack"},
          std::pair{"naks", "nak"}, std::pair{"declines", "decline"}})
        messages.add(dhcp, key, {{"kind", kind}});
    Family(out, "vmrouter_dhcp_conflicts_total", "counter", "Addresses that somebody else used already.")
        .add(dhcp, "conflicts");
    Family(out, "vmrouter_dhcp_storage_ok", "gauge", "Whether leases reach the disk.").add(dhcp, "storage_ok");
}

void add_dns(std::string& out, const json& dns) {
    if (dns.empty()) return;
    Family(out, "vmrouter_dns_queries_total", "counter", "Queries of guests.").add(dns, "queries");
    Family answers(out, "vmrouter_dns_answers_total", "counter", "Answers by where they came from.");
    for (const auto* source : {"local", "cached", "forwarded", "stale", "failed"})
        answers.add(dns, source, {{"source", source}});
    Family(out, "vmrouter_dns_rebound_records_total", "counter", "Records taken out by rebinding protection.")
        .add(dns, "rebound");
    Family(out, "vmrouter_dns_over_limit_total", "counter", "Queries beyond what a guest may ask.")
        .add(dns, "over_limit");
    Family(out, "vmrouter_dns_cache_entries", "gauge", "Answers in the cache.").add(dns, "cache_entries");
    Family(out, "vmrouter_dns_cache_bytes", "gauge", "Memory of the cache.").add(dns, "cache_bytes");
    const auto& upstreams = member(dns, "upstreams");
    const auto each = [&upstreams](Family family, const auto& value) {
        for (const auto& one : upstreams) family.add(value(one), {{"server", word(one, "server")}});
    };
    each(Family(out, "vmrouter_dns_upstream_up", "gauge", "Whether an upstream answers."),
         [](const json& one) { return json(word(one, "health") == "up"); });
    each(Family(out, "vmrouter_dns_upstream_latency_seconds", "gauge", "How fast it answers, smoothed."),
         [](const json& one) {
             const auto rtt = one.value("rtt_ms", json());
             return rtt.is_number() ? json(rtt.get<double>() / 1000) : json();
         });
    each(Family(out, "vmrouter_dns_upstream_queries_total", "counter", "Questions to an upstream."),
         [](const json& one) { return one.value("queries", json()); });
    each(Family(out, "vmrouter_dns_upstream_answers_total", "counter", "Its answers."),
         [](const json& one) { return one.value("answers", json()); });
}

void add_guests(std::string& out, const json& guests) {
    std::size_t leases = 0;
    for (const auto& one : guests) leases += word(one, "mac").empty() ? 0 : 1;
    Family(out, "vmrouter_leases", "gauge", "Guests that have a lease.").add(leases);
    for (const auto& [unit, help] : {std::pair{"bytes", "Bytes of a guest, by direction as the guest sees it."},
                                     std::pair{"packets", "Packets of a guest."}}) {
        const std::string name = "vmrouter_guest_" + std::string(unit) + "_total";
        Family family(out, name, "counter", help);
        for (const auto& one : guests)
            for (const auto* direction : {"sent", "received"})
                family.add(member(one, direction), unit,
                           {{"address", word(one, "address")}, {"direction", direction}, {"guest", word(one, "name")}});
    }
    Family blocked(out, "vmrouter_guest_blocked_total", "counter", "Attempts of a guest that were refused, as logged.");
    for (const auto& one : guests)
        blocked.add(one, "blocked", {{"address", word(one, "address")}, {"guest", word(one, "name")}});
}

void add_firewall(std::string& out, const json& counters) {
    Family refused(out, "vmrouter_refused_packets_total", "counter", "Packets that did not pass, by reason.");
    for (const auto& [name, counter] : counters.items())
        if (name != "opened") refused.add(counter, "packets", {{"reason", name}});
    Family(out, "vmrouter_connections_opened_total", "counter", "Connections that the rules let begin.")
        .add(member(counters, "opened"), "packets");
}

}  // namespace

std::string metrics_text(const json& status) {
    std::string out;
    add_instance(out, status);
    add_guests(out, member(status, "guests"));
    add_firewall(out, member(status, "counters"));
    add_dhcp(out, member(status, "dhcp"));
    add_dns(out, member(status, "dns"));
    return out;
}

}  // namespace vmrouter
