#include "src/guest_document.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

constexpr std::size_t most_blocked = 8;

const dhcp::Lease* find_lease(const std::string& guest, std::span<const dhcp::Lease> leases) {
    const auto mac = MacAddress::parse(guest);
    const auto address = Ipv4::parse(guest);
    const auto is_meant = [&](const dhcp::Lease& lease) {
        if (mac) return lease.hardware.mac() == mac;
        if (address) return lease.address == *address;
        return equal_ignoring_case(lease.name, guest);
    };
    const auto found = std::find_if(leases.begin(), leases.end(), is_meant);
    return found == leases.end() ? nullptr : &*found;
}

/// The MAC that a guest's reservation names.
std::optional<MacAddress> reserved_mac(const std::string& guest, const dhcp::Reservations* reservations) {
    if (reservations == nullptr) return std::nullopt;
    const auto address = Ipv4::parse(guest);
    const auto* entry = address ? reservations->by_address(*address) : reservations->by_name(guest);
    if (entry == nullptr) return std::nullopt;
    for (const auto& mac : entry->macs)
        if (mac.exact() && mac.address.mac()) return mac.address.mac();
    return std::nullopt;
}

json event_document(const dhcp::GuestEvent& event) {
    // A DECLINE or RELEASE that was dealt with has no reply by the protocol; that is not why a guest has no network.
    const bool dealt_with = event.silence == dhcp::Silence::None || event.silence == dhcp::Silence::Done;
    return {{"message", std::string(dhcp::to_string(event.message))},
            {"verb", event.verb},
            {"silence", dealt_with ? json(nullptr) : json(std::string(dhcp::to_string(event.silence)))},
            {"detail", event.detail},
            {"address", event.address.is_unspecified() ? json(nullptr) : json(to_string(event.address))},
            {"count", event.count}};
}

std::string blocked_line(const firewall::Tally& tally) {
    const auto& attempt = tally.attempt;
    const std::string port = std::to_string(attempt.port);
    std::string what = attempt.protocol == 6    ? " tcp/" + port
                       : attempt.protocol == 17 ? " udp/" + port
                       : attempt.protocol == 1  ? " icmp"
                                                : " protocol " + std::to_string(attempt.protocol);
    return attempt.reason + ": " + to_string(attempt.destination) + what + ", " + std::to_string(tally.count) +
           " times";
}

}  // namespace

json guest_document(const std::string& guest, const GuestSources& sources, Time now) {
    const auto* lease = find_lease(guest, sources.leases);
    auto mac = MacAddress::parse(guest);
    if (!mac && lease != nullptr) mac = lease->hardware.mac();
    if (!mac) mac = reserved_mac(guest, sources.reservations);
    if (lease == nullptr && mac) lease = find_lease(to_string(*mac), sources.leases);
    auto address = Ipv4::parse(guest);
    if (lease != nullptr) address = lease->address;

    json out = {{"mac", mac ? json(to_string(*mac)) : json(nullptr)},
                {"address", address ? json(to_string(*address)) : json(nullptr)},
                {"state", nullptr},
                {"expired", false},
                {"port", nullptr},
                {"events", json::array()},
                {"forged", 0},
                {"blocked", json::array()}};
    int port = 0;
    if (lease != nullptr) {
        out["state"] = std::string(dhcp::to_string(lease->state));
        out["expired"] = lease->expires && *lease->expires <= now;
        port = lease->port;
    }
    const auto* record =
        mac && sources.history != nullptr ? sources.history->find(dhcp::HardwareAddress(*mac)) : nullptr;
    if (record != nullptr) {
        if (record->port != 0) port = record->port;
        for (const auto& event : record->events) out["events"].push_back(event_document(event));
        if (record->forged) out["forged"] = record->forged->count;
    }
    if (port != 0 && sources.facts != nullptr) out["port"] = sources.facts->name_of(port);
    if (sources.dns && address) {
        const auto asked = std::find_if(sources.queries.begin(), sources.queries.end(),
                                        [&](const auto& one) { return one.guest == *address; });
        out["queries"] = asked == sources.queries.end() ? std::uint64_t{0} : asked->queries;
    }
    for (const auto& tally : sources.blocked) {
        const bool its =
            (mac && tally.attempt.guest == *mac) || (address && tally.attempt.source == IpAddress(*address));
        if (its && out["blocked"].size() < most_blocked) out["blocked"].push_back(blocked_line(tally));
    }
    return out;
}

}  // namespace vmrouter
