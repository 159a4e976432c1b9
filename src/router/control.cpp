#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/control_commands.hpp"
#include "src/documents.hpp"
#include "src/guest_document.hpp"
#include "src/metrics.hpp"
#include "src/router.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

/// Leases and quarantines, by address; offers are gone before one reads of them.
std::vector<dhcp::Lease> visible_leases(const dhcp::Service& service) {
    auto list = service.leases();
    service.table().for_each([&list](const dhcp::Lease& lease) {
        if (lease.quarantined()) list.push_back(lease);
    });
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.address < b.address; });
    return list;
}

}  // namespace

Result<void> Router::start_control() {
    auto socket = privileged_.open_control_socket(plan_.control_socket);
    if (!socket) return Failure{std::move(socket).error()};
    control_ = std::make_unique<ControlServer>(
        io_, std::move(*socket), [this](json request, uid_t uid) { return handle(std::move(request), uid); });
    control_->on_followers = [this] { follow_flows(); };
    return start_metrics();
}

/// Also after a reload: what was served before goes first, because the new address may be the old one.
Result<void> Router::start_metrics() {
    metrics_.reset();
    const auto& endpoint = loaded_.config.control.metrics;
    if (!endpoint) return {};
    auto socket = privileged_.open_metrics_socket(*endpoint);
    if (!socket) return Failure{std::move(socket).error()};
    metrics_ = std::make_unique<MetricsServer>(io_, std::move(*socket), std::holds_alternative<Ipv6>(endpoint->address),
                                               [this] { return metrics_text(status_document(status_parts())); });
    return {};
}

/// Of all commands only a reload waits.
asio::awaitable<Result<json>> Router::handle(json request, uid_t uid) {
    if (request.at("command") != "reload") co_return answer(request, uid);
    auto done = co_await reload_requested();
    if (!done) co_return Failure{std::move(done).error()};
    co_return json(nullptr);
}

Result<json> Router::answer(const json& request, uid_t uid) {
    const std::string name = request.at("command");
    const auto command = control_command(name);
    if (!command)
        return Failure{Error{"there is no command '" + escape(name) + "'", {}, "is it another version of vmrouter?"}};
    switch (*command) {
        case ControlCommand::Leases:
            return leases_document(dhcp_ ? visible_leases(*dhcp_) : std::vector<dhcp::Lease>{}, clock_.now());
        case ControlCommand::Drop:
        case ControlCommand::Pin:
            return change_lease(request);
        case ControlCommand::Status:
            return status_document(status_parts());
        case ControlCommand::Traffic:
            return guests_document(traffic_parts());
        case ControlCommand::Guest:
            return about_guest(request.value("guest", ""));
        case ControlCommand::Enforced:
            return proof::to_json(proof::subject_of(plan_, loaded_.config));
        case ControlCommand::Monitor:
            return json{{"instance", plan_.instance}};
        case ControlCommand::Tap:
            return make_tap(request, uid);
        case ControlCommand::Reload:
            break;  // handle() waits for it
    }
    return json(nullptr);
}

json Router::about_guest(const std::string& guest) {
    const auto leases = dhcp_ ? dhcp_->leases() : std::vector<dhcp::Lease>{};
    GuestSources sources;
    sources.leases = leases;
    sources.facts = &facts_;
    sources.blocked = tallies_.list();
    if (dhcp_) {
        sources.reservations = &dhcp_->reservations();
        sources.history = &dhcp_->history();
    }
    if (dns_) {
        sources.dns = true;
        sources.queries = dns_->guests();
    }
    return guest_document(guest, sources, clock_.now());
}

Result<json> Router::change_lease(const json& request) {
    const auto text = request.value("address", "");
    const auto address = Ipv4::parse(text);
    if (!address) return Failure{Error{"'" + escape(text) + "' is no IPv4 address", {}, {}}};
    if (!dhcp_) return Failure{Error{"there are no leases: dhcp.enabled is false", {}, {}}};
    auto done = request["command"] == "drop" ? dhcp_->drop(*address) : dhcp_->pin(*address);
    if (!done) return Failure{std::move(done).error()};
    return json(nullptr);
}

/// Whoever may ask us may have a tap, but only root for somebody else.
Result<json> Router::make_tap(const json& request, uid_t uid) {
    const auto name = request.value("name", "");
    const auto owner = request.at("uid").get<std::uint32_t>();
    if (!is_interface_name(name)) return Failure{Error{"'" + escape(name) + "' is no interface name", {}, {}}};
    if (uid != 0 && uid != owner)
        return Failure{Error{"only root makes taps for others", name, "use sudo, or --user with your own name"}};
    if (auto made = privileged_.make_tap(name, owner); !made) return Failure{std::move(made).error()};
    return json{{"bridge", plan_.segment->name}};
}

/// What --top asks for every second: no more than it shows.
StatusParts Router::traffic_parts() {
    StatusParts parts{plan_, facts_,          names_, started_, clock_.now(), {},        {},
                      {},    tallies_.list(), {},     {},       dhcp_.get(),  dns_.get()};
    if (auto traffic = privileged_.traffic()) parts.traffic = std::move(*traffic);
    if (dhcp_) parts.leases = dhcp_->leases();
    return parts;
}

StatusParts Router::status_parts() {
    auto parts = traffic_parts();
    parts.health = privileged_.health();
    if (plan_.segment) {
        const auto overlap = overlapping_network();
        parts.health.push_back({"no network of this machine overlaps the segment", !overlap,
                                overlap ? to_string(*overlap) + " overlaps " + to_string(plan_.segment->address) +
                                              "; choose another network.address"
                                        : ""});
    }
    if (auto counters = privileged_.counters()) parts.counters = std::move(*counters);
    if (auto others = privileged_.obstacles()) parts.others = std::move(*others);
    if (dhcp_) parts.leases = visible_leases(*dhcp_);
    return parts;
}

}  // namespace vmrouter
