#pragma once

// A segment with a server and a clock that stands until it is told to go on; guests send messages, decisions are
// applied as the service would apply them.

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/message.hpp"
#include "dhcp/reply.hpp"
#include "dhcp/server.hpp"

namespace vmrouter::dhcp {

inline Ipv4 ip(std::string_view text) {
    return Ipv4::parse(text).value();
}
inline MacAddress mac(std::string_view text) {
    return MacAddress::parse(text).value();
}
inline HardwareAddress hw(std::string_view text) {
    return HardwareAddress::parse(text).value();
}

inline constexpr std::string_view vm1 = "52:54:00:00:00:01";
inline constexpr std::string_view vm2 = "52:54:00:00:00:02";
inline constexpr std::string_view vm3 = "52:54:00:00:00:03";

/// A message under construction.
struct Builder {
    Message message;

    Builder(MessageType type, std::string_view hardware) {
        message.xid = 0x12345678;
        message.chaddr = HardwareAddress::parse(hardware).value_or(HardwareAddress{});
        if (type != MessageType::Bootp) message.options.add_u8(option::message_type, static_cast<std::uint8_t>(type));
    }
    Builder& requested(std::string_view address) { return add_ip(option::requested_address, address); }
    Builder& server(std::string_view address) { return add_ip(option::server_identifier, address); }
    Builder& ciaddr(std::string_view address) { return message.ciaddr = ip(address), *this; }
    Builder& giaddr(std::string_view address) { return message.giaddr = ip(address), *this; }
    Builder& name(std::string_view name) { return message.options.add_text(option::host_name, name), *this; }
    Builder& broadcast() { return message.flags = Message::broadcast_flag, *this; }
    Builder& bytes(std::uint8_t code, std::vector<std::uint8_t> value) {
        return message.options.add(code, value), *this;
    }
    Builder& client_id(std::vector<std::uint8_t> value) { return bytes(option::client_identifier, std::move(value)); }
    Builder& add_ip(std::uint8_t code, std::string_view address) {
        return message.options.add_ip(code, ip(address)), *this;
    }
    Builder& u32(std::uint8_t code, std::uint32_t value) { return message.options.add_u32(code, value), *this; }
    operator const Message&() const { return message; }  // NOLINT: a builder is used where a message is
};

inline Builder discover(std::string_view hardware) {
    return {MessageType::Discover, hardware};
}
inline Builder request(std::string_view hardware) {
    return {MessageType::Request, hardware};
}
inline Builder selecting(std::string_view hardware, std::string_view address) {
    Builder builder = request(hardware);
    return builder.requested(address).server("192.168.100.1");
}
inline Builder init_reboot(std::string_view hardware, std::string_view address) {
    Builder builder = request(hardware);
    return builder.requested(address);
}
inline Builder renewal(std::string_view hardware, std::string_view address) {
    Builder builder = request(hardware);
    return builder.ciaddr(address);
}
inline Builder release(std::string_view hardware, std::string_view address) {
    Builder builder{MessageType::Release, hardware};
    return builder.ciaddr(address).server("192.168.100.1");
}
inline Builder decline(std::string_view hardware, std::string_view address) {
    Builder builder{MessageType::Decline, hardware};
    return builder.requested(address).server("192.168.100.1");
}

struct Scene {
    ServerConfig config;
    LeaseTable leases{Range{}};
    Reservations reservations;
    Time now{std::chrono::seconds{1'800'000'000}};

    explicit Scene(std::string_view first = "192.168.100.2", std::string_view last = "192.168.100.254") {
        config.address = Cidr::parse("192.168.100.1/24").value();
        config.range = {ip(first), ip(last)};
        config.interface = "virbr10";
        config.dns_servers = {ip("192.168.100.1")};
        config.domain = "vm.internal";
        config.ping_check = false;
        leases = LeaseTable{config.range, 4096, 42};
    }

    void hosts(std::string_view text) {
        std::vector<Error> problems;
        auto file = parse_hosts_file(text, "hostsfile");
        for (const auto& problem : file.problems) FAIL(to_string(problem));
        reservations = Reservations::build({}, std::move(file.entries), config.address, config.interface, problems);
        for (const auto& problem : problems) FAIL(to_string(problem));
    }

    /// How a message of this client arrives: broadcast, from its own Ethernet address.
    static Context broadcast(const Message& message) {
        Context context;
        context.ethernet_source = message.chaddr.mac();
        return context;
    }
    /// Unicast to us, from its address.
    Context unicast(const Message& message) const {
        Context context = broadcast(message);
        context.broadcast = false;
        context.source = message.ciaddr;
        context.destination = config.address.address;
        return context;
    }

    Decision send(const Message& message, const Context& context) {
        return applied(decide(leases, config, reservations, message, context, now));
    }
    Decision send(const Message& message) { return send(message, broadcast(message)); }
    Decision send_unicast(const Message& message) { return send(message, unicast(message)); }
    Decision probed(const Message& message, const ProbeResult& result) {
        return applied(after_probe(leases, config, reservations, message, broadcast(message), result, now));
    }
    Decision applied(Decision decision) {
        for (const auto& change : decision.changes) REQUIRE(leases.apply(change));
        return decision;
    }
    void pass(Seconds time) {
        now += time;
        leases.expire(now);
    }

    /// The address after DISCOVER and REQUEST; 0.0.0.0 when there was no OFFER or no ACK.
    Ipv4 join(std::string_view hardware, std::string_view name = {}, std::vector<std::uint8_t> client_id = {}) {
        Builder first = discover(hardware);
        if (!client_id.empty()) first.client_id(client_id);
        const Decision offer = send(first);
        if (!offer.reply || offer.reply->type != MessageType::Offer) return {};
        Builder second = selecting(hardware, to_string(offer.reply->address));
        if (!name.empty()) second.name(name);
        if (!client_id.empty()) second.client_id(client_id);
        const Decision ack = send(second);
        if (!ack.reply || ack.reply->type != MessageType::Ack) return {};
        CHECK(ack.reply->address == offer.reply->address);
        return ack.reply->address;
    }
};

inline bool is(const Decision& decision, MessageType type) {
    return decision.reply && decision.reply->type == type;
}
inline bool is_nak(const Decision& decision, std::string_view text) {
    return is(decision, MessageType::Nak) && decision.reply->text == text;
}
inline bool is_silent(const Decision& decision, Silence reason) {
    return !decision.reply && !decision.probe && decision.silence == reason;
}
inline bool warns(const Decision& decision, Warning::Kind kind) {
    for (const auto& warning : decision.warnings)
        if (warning.kind == kind) return true;
    return false;
}

}  // namespace vmrouter::dhcp
