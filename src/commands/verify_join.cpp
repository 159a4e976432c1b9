// The guests' way onto the segment: cables, leases, and back.

#include "src/commands/verify_session.hpp"

#include <algorithm>
#include <array>

#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "src/base/text.hpp"

namespace vmrouter::proof {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds least_wait{1000};  ///< for what only the joining needs

}  // namespace

void Session::heard_dhcp(Guest& guest, Bytes frame) {
    const auto datagram = dhcp::parse_frame(frame, dhcp::ChecksumState::NotReady);
    if (!datagram || datagram->destination_port != dhcp::client_port) return;
    const auto message = dhcp::parse(datagram->payload);
    if (!message || message->op != dhcp::Message::reply || message->xid != guest.xid) return;
    const auto server = message->server_identifier();
    if (!server) return;
    if (*server != subject_.address.address) {
        guest.other_servers.insert(*server);
        return;
    }
    switch (message->type()) {
        case dhcp::MessageType::Offer:
            guest.offered = message->yiaddr;
            break;
        case dhcp::MessageType::Ack:
            guest.host.address = message->yiaddr;
            guest.server = *server;
            guest.leased = true;
            break;
        case dhcp::MessageType::Nak:
            guest.declined = true;
            break;
        default:
            break;
    }
}

Result<void> Session::attach(std::vector<Row>& rows) {
    auto watch = Watch::open();
    if (!watch) return Failure{std::move(watch).error()};
    watch_.emplace(std::move(*watch));
    const auto name = [this](char last) {
        const auto value = static_cast<std::uint16_t>(random_.u64());
        return "vmv" +
               to_hex(
                   std::array<std::uint8_t, 2>{static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)},
                   "") +
               last;
    };
    char last = 'a';
    for (auto& guest : guests_) {
        const auto value = random_.u64();
        guest.host.mac = MacAddress{{0x02, 0x76, 0x6d, static_cast<std::uint8_t>(value),
                                     static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value >> 16)}};
        auto cable = subject_.bridge ? Cable::to_bridge(netlink_, subject_.interface, name(last++), guest.host.mac)
                                     : Cable::onto(netlink_, subject_.interface, name(last++), guest.host.mac);
        if (!cable) {
            if (subject_.bridge) return Failure{std::move(cable).error()};
            rows.push_back({"segment", "frames that arrive on " + subject_.interface, "as from the wire",
                            "not tried: " + cable.error().what, Verdict::NotTried});
            return {};
        }
        guest.cable.emplace(std::move(*cable));
    }
    joined_ = true;
    if (!subject_.bridge)
        rows.push_back({"segment", "from guest to guest, and frames on the wire itself", "not ours to decide",
                        "not tried: frames are made to arrive on " + subject_.interface + ", no switch sees them",
                        Verdict::NotTried});
    if (subject_.uplinks.empty()) {
        outside_refused_ = "this machine has no uplink";
        return {};
    }
    auto outside = Cable::onto(netlink_, subject_.uplinks.front(), name('o'), MacAddress{{0x02, 0x76, 0x6d, 0, 0, 1}});
    if (outside)
        outside_.emplace(std::move(*outside));
    else
        outside_refused_ = outside.error().what;
    return {};
}

void Session::send_dhcp(Guest& guest, std::uint8_t type) {
    dhcp::Message message;
    message.xid = guest.xid;
    message.chaddr = dhcp::HardwareAddress(guest.host.mac);
    message.options.add_u8(dhcp::option::message_type, type);
    const bool release = type == static_cast<std::uint8_t>(dhcp::MessageType::Release);
    if (release) {
        message.ciaddr = guest.host.address;
        message.options.add_ip(dhcp::option::server_identifier, *guest.server);
    } else {
        message.options.add_u32(dhcp::option::lease_time, 120);  // should the release get lost
        message.options.add_text(dhcp::option::vendor_class, "vmrouter-verify");
        message.options.add(dhcp::option::parameter_list, std::array<std::uint8_t, 3>{1, 3, 6});
        if (type == static_cast<std::uint8_t>(dhcp::MessageType::Request)) {
            message.options.add_ip(dhcp::option::requested_address, *guest.offered);
            message.options.add_ip(dhcp::option::server_identifier, subject_.address.address);
        }
    }
    const auto payload = dhcp::serialize(message, {}).bytes;
    const bool unicast = release && router_;
    guest.cable->send(dhcp::build_frame(
        guest.host.mac, unicast ? *router_ : MacAddress::broadcast(), release ? guest.host.address : Ipv4{},
        dhcp::client_port, unicast ? subject_.address.address : Ipv4{255, 255, 255, 255}, dhcp::server_port, payload));
}

Row Session::get_lease(Guest& guest, const std::string& who) {
    Row row{"segment", "a lease for " + who, "from " + to_string(subject_.address.address), "no OFFER",
            Verdict::Surprise};
    guest.xid = static_cast<std::uint32_t>(random_.u64());
    for (int tries = 0; tries < 4 && !guest.offered && !interrupted(); ++tries) {
        send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Discover));
        pump(std::max(options_.wait, least_wait), [&] { return guest.offered.has_value(); });
    }
    if (!guest.offered) return row;
    row.happened = to_string(*guest.offered) + " was offered, no ACK came";
    for (int tries = 0; tries < 3 && !guest.leased && !guest.declined && !interrupted(); ++tries) {
        send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Request));
        pump(std::max(options_.wait, least_wait), [&] { return guest.leased || guest.declined; });
    }
    if (!guest.leased) return row;
    row.happened = to_string(guest.host.address);
    row.verdict = Verdict::Ok;
    if (!guest.other_servers.empty()) {
        row.happened += ", and another server answers: " + to_string(*guest.other_servers.begin());
        row.verdict = Verdict::Surprise;
    }
    return row;
}

/// Without DHCP: the first address from the end that nobody answers for.
void Session::take_free_address(Guest& guest) {
    const Ipv4 taken = &guest == &guests_[1] ? guests_[0].host.address : Ipv4{};
    for (std::uint32_t back = 1; back < 16; ++back) {
        const Ipv4 address{subject_.address.last().value - back};
        if (address == subject_.address.address || address == taken) continue;
        guests_[0].declined = false;
        guest.cable->send(arp_frame(guest.host.mac, MacAddress::broadcast(), {1, guest.host.mac, {}, {}, address}, 0));
        pump(milliseconds{100}, [] { return false; });
        if (guests_[0].declined) continue;
        guest.host.address = address;
        return;
    }
}

bool Session::ask_router() {
    auto& guest = guests_.front();
    for (int tries = 0; tries < 3 && !router_ && !interrupted(); ++tries) {
        guest.cable->send(arp_frame(guest.host.mac, MacAddress::broadcast(),
                                    {1, guest.host.mac, guest.host.address, {}, subject_.address.address}, 0));
        pump(std::max(options_.wait, least_wait) / 2, [this] { return router_.has_value(); });
    }
    return router_.has_value();
}

Result<std::vector<Row>> Session::join() {
    std::vector<Row> rows;
    progress_.show("joining " + subject_.interface, 1, 4);
    if (auto attached = attach(rows); !attached) return Failure{std::move(attached).error()};
    if (!joined_) return rows;
    progress_.show("asking for leases", 2, 4);
    const std::array<std::string, 2> who{"a guest", "another guest"};
    for (std::size_t i = 0; i < guests_.size(); ++i) {
        auto& guest = guests_.at(i);
        if (subject_.dhcp) {
            rows.push_back(get_lease(guest, who.at(i)));
        } else {
            take_free_address(guest);
            rows.push_back({"segment", "a lease for " + who.at(i), "none: dhcp.enabled is false",
                            "not tried: it took " + to_string(guest.host.address), Verdict::NotTried});
        }
    }
    // Without a lease the rest can still be tried, from an address that is free.
    for (auto& guest : guests_)
        if (guest.host.address.is_unspecified()) take_free_address(guest);
    const bool found = ask_router();
    rows.push_back({"segment", "ARP for " + to_string(subject_.address.address), "an answer",
                    found ? to_string(*router_) : "no answer", found ? Verdict::Ok : Verdict::Surprise});
    return rows;
}

bool Session::release(Guest& guest) {
    if (!guest.leased || !guest.cable) return false;
    send_dhcp(guest, static_cast<std::uint8_t>(dhcp::MessageType::Release));
    guest.leased = false;
    return true;
}

}  // namespace vmrouter::proof
