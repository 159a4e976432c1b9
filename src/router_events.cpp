// What the modules tell, and what the control socket asks.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/base/text.hpp"
#include "src/documents.hpp"
#include "src/router.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger firewall_logger{"firewall"};
constexpr log::Logger dhcp_logger{"dhcp"};
constexpr log::Logger dns_logger{"dns"};

/// A name of allow_domains is reachable at least this long: clients keep an address longer than its TTL says.
constexpr Seconds least_admission{300};

/// "tcp 192.168.1.1:80"
std::string destination_of(const firewall::Attempt& attempt) {
    auto text = to_string(attempt.destination);
    switch (attempt.protocol) {
        case 1:
            return "icmp " + text;
        case 6:
            return "tcp " + text + ":" + std::to_string(attempt.port);
        case 17:
            return "udp " + text + ":" + std::to_string(attempt.port);
        default:
            return "protocol " + std::to_string(attempt.protocol) + " " + text;
    }
}

}  // namespace

Result<void> Router::start_control() {
    auto socket = privileged_.open_control_socket(plan_.control_socket);
    if (!socket) return Failure{std::move(socket).error()};
    control_ = std::make_unique<ControlServer>(io_, std::move(*socket),
                                               [this](const nlohmann::json& request) { return answer(request); });
    return {};
}

Result<nlohmann::json> Router::answer(const nlohmann::json& request) {
    const std::string command = request.at("command");
    if (command == "leases") return leases_document(dhcp_ ? dhcp_->leases() : std::vector<dhcp::Lease>{});
    if (command == "status") return status();
    if (command == "monitor") return nlohmann::json{{"instance", plan_.instance}};
    if (command == "reload") {
        if (auto done = reload_requested(); !done) return Failure{std::move(done).error()};
        return nlohmann::json(nullptr);
    }
    if (command == "drop" || command == "pin") {
        const auto text = request.value("address", "");
        const auto address = Ipv4::parse(text);
        if (!address) return Failure{Error{"'" + escape(text) + "' is no IPv4 address", {}, {}}};
        if (!dhcp_) return Failure{Error{"there are no leases: dhcp.enabled is false", {}, {}}};
        auto done = command == "drop" ? dhcp_->drop(*address) : dhcp_->pin(*address);
        if (!done) return Failure{std::move(done).error()};
        return nlohmann::json(nullptr);
    }
    return Failure{Error{"there is no command '" + escape(command) + "'", {}, "is it another version of vmrouter?"}};
}

nlohmann::json Router::status() {
    StatusParts parts{plan_, privileged_.health(), {}, {}, tallies_.list(), dhcp_.get(), dns_.get()};
    if (auto counters = privileged_.counters()) parts.counters = std::move(*counters);
    if (dhcp_) parts.leases = dhcp_->leases();
    return status_document(parts);
}

void Router::leases_changed(std::span<const dhcp::AppliedChange> changes) {
    if (control_ && control_->has_followers())
        for (const auto& change : changes) control_->publish(lease_event(change, clock_.now()));
    bool forwards_moved = false;
    for (const auto& change : changes) {
        const auto before = change.before ? binding_of(*change.before, facts_) : std::nullopt;
        const auto after = change.after ? binding_of(*change.after, facts_) : std::nullopt;
        if (before == after) continue;
        forwards_moved = true;
        if (after) {
            if (auto bound = privileged_.bind_guest(*after); !bound)
                firewall_logger.error("BIND {}", to_string(bound.error()));
        } else if (before) {
            if (auto gone = privileged_.unbind_guest(before->mac, before->address); !gone)
                firewall_logger.error("UNBIND {}", to_string(gone.error()));
        }
    }
    if (forwards_moved && forwards_ && !loaded_.config.firewall.forward.empty()) follow_guests();
}

void Router::noted(const dhcp::Note&) {}

void Router::server_seen(const dhcp::OtherServer& server) {
    if (!server_lines_.take(clock_.monotonic())) return;
    dhcp_logger.warn(
        "SERVER another DHCP server on the segment, {} ({}) on port {}, offers {}; it is blocked where it is "
        "behind a port of the bridge",
        to_string(server.server), to_string(server.mac),
        server.port == 0 ? "?" : facts_.name_of(static_cast<int>(server.port)), to_string(server.offers));
}

void Router::interface_failed(const Error& error) {
    dhcp_logger.warn("INTERFACE {}", to_string(error));
}

bool Router::wants_queries() const {
    return loaded_.config.dns.log_queries || (control_ && control_->has_followers());
}

void Router::answered(const dns::QueryEvent& event) {
    const auto name = names_.name_of(event.client);
    if (control_ && control_->has_followers()) control_->publish(query_event(event, name, clock_.now()));
    if (!loaded_.config.dns.log_queries) return;
    dns_logger.info("QUERY {} {} from {}{}{}: {} ({})", to_string(event.question.name), to_string(event.question.type),
                    to_string(event.client), name.empty() ? "" : " ", escape(name), to_string(event.rcode),
                    event.source == dns::Source::Local ? to_string(event.verdict) : to_string(event.source));
}

void Router::upstream_changed(const dns::Endpoint& upstream, dns::Health before, dns::Health now) {
    dns_logger.info("UPSTREAM {} is {} (was {})", to_string(upstream), to_string(now), to_string(before));
}

void Router::removed(Ipv4 client, const dns::Question& question, const dns::Answer& answer) {
    dns_logger.warn("REBIND {} for {}: {} records that point into blocked networks were taken out",
                    to_string(question.name), to_string(client), answer.removed_count);
}

/// allow_domains: the set has the addresses before the guest has the answer.
bool Router::resolved(const dns::Name& name, std::span<const dns::ResolvedAddress> addresses, std::function<void()>) {
    std::vector<Ipv4> reachable;
    Seconds ttl = least_admission;
    for (const auto& one : addresses) {
        reachable.push_back(one.address);
        ttl = std::max(ttl, Seconds{one.ttl});
    }
    if (reachable.empty()) return true;
    if (auto admitted = privileged_.admit(reachable, ttl, clock_.monotonic()); !admitted)
        firewall_logger.error("ADMIT {}: {}", to_string(name), to_string(admitted.error()));
    return true;
}

void Router::our_rules_changed(const firewall::Transaction& transaction) {
    firewall_logger.warn("CHANGED our rules were changed by {} (pid {}); they are put back",
                         escape(transaction.process_name), transaction.process);
    repair_soon();
}

void Router::other_rules_changed(const firewall::Transaction&) {
    repair_soon();
}

void Router::blocked(const firewall::Attempt& attempt) {
    const auto name = names_.name_of(attempt.source);
    if (control_ && control_->has_followers()) control_->publish(blocked_event(attempt, name, clock_.now()));
    if (!tallies_.add(attempt, clock_.now()) || !blocked_lines_.take(clock_.monotonic())) return;
    firewall_logger.info("BLOCK {} {} from {}{}{}", attempt.reason, destination_of(attempt), to_string(attempt.source),
                         name.empty() ? "" : " ", escape(name));
}

void Router::overrun() {}

}  // namespace vmrouter
