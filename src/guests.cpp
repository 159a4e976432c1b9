#include "src/guests.hpp"

#include <algorithm>

namespace vmrouter {
namespace {

/// The Bound lease of an Ethernet client.
std::optional<Ipv4> lease_of(const dhcp::LeaseTable* leases, const MacAddress& mac) {
    if (leases == nullptr) return std::nullopt;
    for (const auto* lease : leases->by_hardware(dhcp::HardwareAddress(mac)))
        if (lease->state == dhcp::LeaseState::Bound) return lease->address;
    return std::nullopt;
}

std::optional<Ipv4> address_of(const GuestDirectory& directory, const MacAddress& mac) {
    if (const auto leased = lease_of(directory.leases(), mac)) return leased;
    const auto* reservations = directory.reservations();
    const auto* entry = reservations == nullptr ? nullptr : reservations->match(dhcp::HardwareAddress(mac), {});
    return entry == nullptr ? std::nullopt : entry->address;
}

std::optional<Ipv4> address_of(const GuestDirectory& directory, const std::string& name) {
    const auto* reservations = directory.reservations();
    const auto* entry = reservations == nullptr ? nullptr : reservations->by_name(name);
    if (entry == nullptr) return std::nullopt;
    if (entry->address) return entry->address;
    const auto* lease = directory.leases() == nullptr ? nullptr : directory.leases()->by_name(name);
    if (lease == nullptr || !lease->name_reserved) return std::nullopt;
    return lease->address;
}

std::optional<Ipv4> address_of(const GuestDirectory&, Ipv4 address) {
    return address;
}

}  // namespace

std::optional<dns::Names::Guest> GuestNames::guest(std::string_view label) const {
    if (const auto* reservations = directory_.reservations()) {
        const auto* entry = reservations->by_name(label);
        if (entry != nullptr && entry->address) return Guest{*entry->address, true};
    }
    const auto* leases = directory_.leases();
    const auto* lease = leases == nullptr ? nullptr : leases->by_name(label);
    if (lease == nullptr) return std::nullopt;
    return Guest{lease->address, lease->name_reserved};
}

std::string_view GuestNames::name_of(Ipv4 address) const {
    if (const auto* leases = directory_.leases()) {
        const auto* lease = leases->find(address);
        if (lease != nullptr && lease->state == dhcp::LeaseState::Bound && !lease->name.empty()) return lease->name;
    }
    if (const auto* reservations = directory_.reservations()) {
        const auto* entry = reservations->by_address(address);
        if (entry != nullptr) return entry->name;
    }
    return {};
}

std::string_view GuestNames::name_of(const MacAddress& mac) const {
    const dhcp::HardwareAddress hardware(mac);
    if (const auto* leases = directory_.leases()) {
        for (const auto* lease : leases->by_hardware(hardware))
            if (lease->state == dhcp::LeaseState::Bound && !lease->name.empty()) return lease->name;
    }
    if (const auto* reservations = directory_.reservations()) {
        const auto* entry = reservations->match(hardware, {});
        if (entry != nullptr) return entry->name;
    }
    return {};
}

std::string_view GuestNames::name_of(const firewall::Attempt& attempt) const {
    if (!attempt.guest.is_zero()) return name_of(attempt.guest);
    const auto* source = std::get_if<Ipv4>(&attempt.source);
    return source == nullptr ? std::string_view{} : name_of(*source);
}

std::optional<Ipv4> resolve_guest(const GuestDirectory& directory, const decltype(conf::Forward::guest)& guest) {
    return std::visit([&directory](const auto& one) { return address_of(directory, one); }, guest);
}

std::optional<firewall::Binding> binding_of(const dhcp::Lease& lease, const link::HostFacts& facts) {
    const auto mac = lease.hardware.mac();
    if (lease.state != dhcp::LeaseState::Bound || !mac) return std::nullopt;
    const auto* port = lease.port == 0 ? nullptr : facts.find(lease.port);
    const bool held = port != nullptr && port->up() && port->carrier && port->master != 0;
    return firewall::Binding{*mac, lease.address, held ? port->name : std::string{}};
}

std::vector<firewall::Binding> bindings(const GuestDirectory& directory, const link::HostFacts& facts) {
    std::vector<firewall::Binding> out;
    if (const auto* leases = directory.leases()) {
        leases->for_each([&](const dhcp::Lease& lease) {
            if (const auto binding = binding_of(lease, facts)) out.push_back(*binding);
        });
    }
    if (const auto* reservations = directory.reservations()) {
        for (const auto& entry : reservations->entries()) {
            if (!entry.address || entry.ignore) continue;
            for (const auto& mac : entry.macs)
                if (mac.exact() && mac.address.mac()) out.push_back({*mac.address.mac(), *entry.address, {}});
        }
    }
    // A lease and a reservation of the same pair are one binding: the one that names a port, which sorts last.
    std::sort(out.rbegin(), out.rend());
    const auto same = [](const auto& a, const auto& b) { return a.mac == b.mac && a.address == b.address; };
    out.erase(std::unique(out.begin(), out.end(), same), out.end());
    return out;
}

}  // namespace vmrouter
