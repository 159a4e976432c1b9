// Why has this guest no network: the way of its first packets, step by step. The first step that did not happen is the
// reason.

#include <algorithm>

#include "src/base/text.hpp"
#include "src/commands/doctor_findings.hpp"

namespace vmrouter::diagnosis {
namespace {

using List = std::vector<Finding>;

void add(List& list, Severity severity, std::string id, std::string what, std::string where, std::string cure) {
    list.push_back({severity, std::move(id), std::move(what), std::move(where), std::move(cure)});
}

std::string name_of(const GuestFacts& guest) {
    return guest.mac ? escape(guest.asked) + " (" + vmrouter::to_string(*guest.mac) + ")" : escape(guest.asked);
}

/// The cable: a port, up, with somebody at its other end. False: nothing can come through.
bool about_link(List& list, const Facts& facts, const GuestFacts& guest) {
    if (!facts.is_bridge) {
        const auto* segment = facts.host.find(facts.segment);
        if (segment != nullptr && segment->carrier) return true;
        add(list, Severity::Broken, "guest_link", "the cable is out, or the device is off", facts.segment,
            "plug it in; `ip link show " + facts.segment + "` must say LOWER_UP");
        return false;
    }
    if (facts.ports.empty()) {
        std::string taps;
        for (const auto& tap : guest.free_taps) taps += (taps.empty() ? "" : ", ") + tap;
        add(list, Severity::Broken, "guest_link", "no port is on the bridge, so no guest is attached to it",
            facts.segment,
            taps.empty() ? "start the VM with its NIC on bridge " + facts.segment
                         : "these taps are on no bridge: " + taps + "; ip link set TAP master " + facts.segment);
        return false;
    }
    if (guest.port.empty()) return true;
    const auto* port = facts.host.find(guest.port);
    if (port == nullptr) {
        add(list, Severity::Broken, "guest_link", "its port is gone: the VM was stopped, or its NIC taken away",
            guest.port, "start the VM");
        return false;
    }
    const auto* master = facts.host.find(port->master);
    if (master == nullptr || master->name != facts.segment) {
        add(list, Severity::Broken, "guest_link",
            "its port is not on the bridge any more" + (master == nullptr ? std::string() : ", but on " + master->name),
            guest.port,
            "ip link set " + guest.port + " master " + facts.segment +
                "; NetworkManager takes ports off: nmcli device set " + guest.port + " managed no");
        return false;
    }
    if (!port->up() || !port->carrier) {
        add(list, Severity::Broken, "guest_link",
            port->up() ? "nobody is at the other end of its port" : "its port is down", guest.port,
            port->up() ? "start the VM; is its NIC connected?" : "ip link set " + guest.port + " up");
        return false;
    }
    return true;
}

/// What its DHCP messages came to. False: it has no address from us.
bool about_lease(List& list, const Facts& facts, const GuestFacts& guest) {
    if (!facts.dhcp) return true;
    const bool has_lease = !guest.lease_state.empty() && !guest.lease_over;
    if (guest.events.empty()) {
        if (has_lease) return true;
        add(list, Severity::Broken, "guest_silent",
            guest.mac ? "no DHCP message of it was ever seen here"
                      : "nobody of this name or address is known, and no DHCP message came from it",
            name_of(guest),
            "look into the guest: is its interface up, and set to DHCP? Is it attached to " + facts.segment +
                "? `vmrouter capture -o - --filter udp` shows what comes");
        return false;
    }
    const auto& last = guest.events.back();
    const std::string where = last.message + (last.detail.empty() ? "" : ": " + last.detail);
    if (!last.silence.empty()) {
        add(list, Severity::Broken, "guest_unanswered", "its " + last.message + " got no answer: " + last.silence,
            where,
            last.silence.find("ignor") != std::string::npos
                ? "take the ignore out of its reservation"
                : "`vmrouter leases` shows the pool; doctor without --guest looks at the rest");
        return false;
    }
    if (last.verb == "NAK") {
        add(list, Severity::Broken, "guest_nak", "its " + last.message + " was refused (NAK); a client asks anew then",
            where, "if it does not: restart networking in the guest");
        return false;
    }
    if (last.verb == "OFFER" && !has_lease) {
        add(list, Severity::Broken, "guest_offer",
            "it was offered an address " + std::to_string(last.count) +
                " times and never took it: our OFFER does not reach it, or it takes another server's",
            where, "look for a second DHCP server, and for a firewall in the guest");
        return false;
    }
    if (last.message == "DECLINE") {
        add(list, Severity::Broken, "guest_decline", "it declined the address: somebody else on the segment has it",
            where, "find the other one: arping -I " + facts.segment + " ADDRESS");
        return false;
    }
    if (last.message == "RELEASE" && !has_lease) {
        add(list, Severity::Broken, "guest_released", "it gave its address back", where,
            "start networking in the guest again");
        return false;
    }
    if (has_lease) return true;
    add(list, Severity::Broken, "guest_expired", "its lease is over, and it did not renew it", where,
        "restart networking in the guest");
    return false;
}

void about_presence(List& list, const Facts& facts, const GuestFacts& guest) {
    if (!guest.address || !guest.arp) return;
    const auto address = vmrouter::to_string(*guest.address);
    if (!*guest.arp)
        add(list, Severity::Broken, "guest_arp",
            "it does not answer for its address now: it is off, asleep, or has another address",
            facts.segment + " " + address, "look into the guest: ip addr");
    else if (guest.mac && guest.arp_mac && *guest.arp_mac != *guest.mac)
        add(list, Severity::Broken, "guest_arp_other",
            "somebody else answers for its address: " + vmrouter::to_string(*guest.arp_mac),
            facts.segment + " " + address, "one of the two was given the address by hand");
}

void about_traffic(List& list, const Facts& facts, const GuestFacts& guest) {
    if (facts.dns && guest.dns_known && guest.queries == 0)
        add(list, Severity::Note, "guest_dns", "it never asked our DNS anything", name_of(guest),
            facts.address
                ? "its resolv.conf should name " + vmrouter::to_string(facts.address->address) + ", as DHCP says"
                : "look at its resolv.conf");
    for (const auto& blocked : guest.blocked)
        add(list, Severity::Note, "guest_blocked", "what it wants is blocked", blocked,
            "firewall.allow, firewall.lan or open_host_ports let it through, when it shall");
    if (guest.forged > 0)
        add(list, Severity::Risk, "guest_forged",
            "others sent DHCP messages in its name, " + std::to_string(guest.forged) + " times", name_of(guest),
            "find out who is on the other ports");
}

}  // namespace

std::vector<Finding> diagnose_guest(const Facts& facts, const GuestFacts& guest) {
    List list;
    if (!facts.running) {
        add(list, Severity::Broken, "not_running", "no vmrouter runs, so nobody gives it an address", facts.segment,
            "start it: vmrouter --config vm.toml");
        return list;
    }
    const bool reached = about_link(list, facts, guest) && about_lease(list, facts, guest);
    if (reached) about_presence(list, facts, guest);
    about_traffic(list, facts, guest);
    if (!list.empty() && list.front().severity == Severity::Broken && !reached) return list;
    // The machine's own troubles are the guest's, once it has an address.
    for (auto& finding : diagnose(facts))
        if (finding.severity == Severity::Broken) list.push_back(std::move(finding));
    std::stable_sort(list.begin(), list.end(),
                     [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
    return list;
}

}  // namespace vmrouter::diagnosis
