#include "src/router.hpp"

#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/documents.hpp"
#include "src/guest_document.hpp"

namespace vmrouter {

Result<void> Router::start_control() {
    auto socket = privileged_.open_control_socket(plan_.control_socket);
    if (!socket) return Failure{std::move(socket).error()};
    control_ = std::make_unique<ControlServer>(io_, std::move(*socket),
                                               [this](nlohmann::json request) { return handle(std::move(request)); });
    return {};
}

/// Of all commands only a reload waits.
asio::awaitable<Result<nlohmann::json>> Router::handle(nlohmann::json request) {
    if (request.at("command") != "reload") co_return answer(request);
    auto done = co_await reload_requested();
    if (!done) co_return Failure{std::move(done).error()};
    co_return nlohmann::json(nullptr);
}

Result<nlohmann::json> Router::answer(const nlohmann::json& request) {
    const std::string command = request.at("command");
    if (command == "leases") return leases_document(dhcp_ ? dhcp_->leases() : std::vector<dhcp::Lease>{});
    if (command == "status") return status();
    if (command == "monitor") return nlohmann::json{{"instance", plan_.instance}};
    if (command == "enforced") return proof::to_json(proof::subject_of(plan_, loaded_.config));
    if (command == "guest") return about_guest(request.value("guest", ""));
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

nlohmann::json Router::about_guest(const std::string& guest) {
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

nlohmann::json Router::status() {
    StatusParts parts{plan_, privileged_.health(), {}, {}, tallies_.list(), &names_, dhcp_.get(), dns_.get()};
    if (plan_.segment) {
        const auto overlap = overlapping_network();
        parts.health.push_back({"no network of this machine overlaps the segment", !overlap,
                                overlap ? to_string(*overlap) + " overlaps " + to_string(plan_.segment->address) +
                                              "; choose another network.address"
                                        : ""});
    }
    if (auto counters = privileged_.counters()) parts.counters = std::move(*counters);
    if (dhcp_) parts.leases = dhcp_->leases();
    return status_document(parts);
}

}  // namespace vmrouter
