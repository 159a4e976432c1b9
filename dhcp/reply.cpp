#include "dhcp/reply.hpp"

#include <algorithm>

#include "dhcp/exchange.hpp"
#include "dhcp/frame.hpp"
#include "dhcp/names.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t headers_size = 28;    // IP and UDP, which option 57 counts
constexpr std::size_t standard_size = 548;  // 576 less those: what every client takes (RFC 2131 section 2)
constexpr std::size_t bootp_size = 300;     // with 64 bytes of vendor area (RFC 951)

bool is_bootp(const Reply& reply) {
    return reply.type == MessageType::Bootp;
}

/// Puts options into a reply, each only when its client wants it and nothing with that code is there yet.
class OptionWriter {
public:
    OptionWriter(Options& options, const ServerConfig& config, const Message& request)
        : options_(options),
          config_(config),
          list_(request.parameter_list()),
          terminated_(request.terminates_strings()) {}

    /// Wanted by its parameter list; without a list everything is.
    [[nodiscard]] bool wanted(std::uint8_t code) const {
        if (options_.has(code)) return false;
        return !list_ || std::ranges::find(*list_, code) != list_->end();
    }
    /// Our own value of an option that the configuration may replace (or, with an empty value, suppress).
    [[nodiscard]] bool ours(std::uint8_t code) const {
        return wanted(code) &&
               std::ranges::find(config_.options, code, &ConfiguredOption::code) == config_.options.end();
    }
    void ips(std::uint8_t code, std::span<const Ipv4> values) {
        if (!values.empty() && ours(code)) options_.add_ips(code, values);
    }
    void text(std::uint8_t code, std::string_view value) {
        if (!value.empty() && ours(code)) options_.add_text(code, value, terminated_);
    }
    void u16(std::uint8_t code, std::uint16_t value) {
        if (value != 0 && ours(code)) options_.add_u16(code, value);
    }
    void configured() {
        for (const ConfiguredOption& option : config_.options) {
            if (option.value.empty() || !wanted(option.code)) continue;
            // It turns IPv4 off where it is understood, so only who names it may hear it (RFC 8925 section 3.3).
            if (option.code == option::ipv6_only && !list_) continue;
            if (is_text(option.code))
                options_.add_text(option.code,
                                  {reinterpret_cast<const char*>(option.value.data()), option.value.size()},
                                  terminated_);
            else
                options_.add(option.code, option.value);
        }
    }

private:
    Options& options_;
    const ServerConfig& config_;
    std::optional<Bytes> list_;
    bool terminated_;
};

/// The address that the client uses already, by which it can be reached; 0.0.0.0: none. Who asks for one (RFC 2131
/// table 5), or names one in option 50, does not.
Ipv4 used_address(const Message& request) {
    const MessageType type = request.type();
    const bool asks =
        type == MessageType::Discover || (type == MessageType::Request && request.requested_address().has_value());
    return asks ? Ipv4{} : request.ciaddr;
}

/// What a client must hear again whatever it asks for. First, so that a long list of options never costs it.
void add_echoes(Options& options, const Message& request, bool nak) {
    if (const auto id = request.options.find(option::client_identifier); id && !id->empty())
        options.add(option::client_identifier, *id);  // RFC 6842
    if (nak) return;
    if (const auto machine = request.options.find(option::machine_identifier))
        options.add(option::machine_identifier, *machine);  // RFC 4578 section 2.3
    const auto subnet = request.options.find(option::subnet_selection);
    if (subnet && subnet->size() == 4) options.add(option::subnet_selection, *subnet);  // RFC 3011 section 2
}

void add_lease_times(Options& options, const Reply& reply) {
    const auto seconds = [](Seconds value) { return static_cast<std::uint32_t>(value.count()); };
    if (reply.lease_time.count() > 0) options.add_u32(option::lease_time, seconds(reply.lease_time));
    if (reply.rapid_commit) options.add(option::rapid_commit, {});
    if (reply.renew_time.count() > 0) options.add_u32(option::renewal_time, seconds(reply.renew_time));
    if (reply.rebind_time.count() > 0) options.add_u32(option::rebinding_time, seconds(reply.rebind_time));
}

/// Where and what a client boots. The fixed fields always say it, as every firmware reads those; the options where
/// asked for.
void add_boot(Message& message, OptionWriter& writer, const ServerConfig& config) {
    message.siaddr = config.address.address;
    if (const auto server = Ipv4::parse(config.boot_server))
        message.siaddr = *server;
    else
        message.sname = config.boot_server.substr(0, 63);
    message.file = config.boot_file.substr(0, 127);
    writer.text(option::tftp_server, config.boot_server);
    writer.text(option::boot_file, config.boot_file);
}

/// The network's parameters, in dnsmasq's order.
void add_parameters(Message& message, const ServerConfig& config, const Message& request, const Reply& reply) {
    Options& options = message.options;
    OptionWriter writer(options, config, request);
    // Sent unasked, as dnsmasq does: clients that forget to ask need them, too.
    options.add_ip(option::subnet_mask, config.address.netmask());
    options.add_ip(option::broadcast_address, config.address.last());
    const Ipv4 gateway = message.relayed() ? message.giaddr : config.address.address;
    // Beside option 121, too, as dnsmasq has it: whoever obeys 121 must ignore this one (RFC 3442), and a client whose
    // script asks for both and knows only this one would be without a router. It costs six bytes.
    writer.ips(option::routers, config.routers.empty() ? std::span{&gateway, 1} : std::span{config.routers});
    writer.ips(option::dns_servers, config.dns_servers);
    writer.text(option::domain_name, config.domain);
    writer.text(option::host_name, reply.name);
    if (const auto fqdn = request.options.find(option::client_fqdn); fqdn && !reply.name.empty())
        options.add(option::client_fqdn, encode_client_fqdn(*fqdn, reply.name, config.domain));
    writer.u16(option::interface_mtu, config.mtu);
    writer.ips(option::ntp_servers, config.ntp_servers);
    writer.configured();
    add_boot(message, writer, config);
}

}  // namespace

Message make_reply(const ServerConfig& config, const Message& request, const Reply& reply) {
    Message message;
    message.options.reserve(24, 256);
    message.op = Message::reply;
    message.xid = request.xid;
    message.flags = request.flags;
    message.giaddr = request.giaddr;
    message.chaddr = request.chaddr;
    message.yiaddr = reply.address;
    message.cookie = request.cookie;
    const bool nak = reply.type == MessageType::Nak;
    if (!nak) message.ciaddr = used_address(request);   // RFC 2131 table 3
    if (nak) message.flags |= Message::broadcast_flag;  // a relay must broadcast it (RFC 2131 section 4.3.2)

    if (is_bootp(reply)) {
        add_parameters(message, config, request, reply);
        if (!message.cookie) message.options = {};  // a vendor area that is not ours to write
    } else {
        message.options.add_u8(option::message_type, static_cast<std::uint8_t>(reply.type));
        message.options.add_ip(option::server_identifier, server_id(config, request));
        add_echoes(message.options, request, nak);
        add_lease_times(message.options, reply);
        if (nak)
            message.options.add_text(option::text, reply.text, request.terminates_strings());
        else
            add_parameters(message, config, request, reply);
    }
    if (const auto relay = request.options.find(option::relay_agent); relay && message.cookie)
        message.options.add(option::relay_agent, *relay);  // RFC 3046 section 2.2: as it came, last
    return message;
}

Warning left_out(const ServerConfig& config, const HardwareAddress& client, std::span<const std::uint8_t> codes,
                 std::size_t room) {
    std::string list;
    for (const std::uint8_t code : codes) list += (list.empty() ? "" : ", ") + std::to_string(code);
    const std::string_view cure = config.no_override
                                      ? "; shorten them, or set dhcp.no_override = false, which lets them "
                                        "into the fields of server and file"
                                      : "; shorten them";
    return {Warning::Kind::OptionsLeftOut, "a reply to " + client_text(client) + " holds " + std::to_string(room) +
                                               " bytes, and option" + (codes.size() == 1 ? " " : "s ") + list +
                                               " did not fit" + std::string(cure)};
}

Room room(const ServerConfig& config, const Message& request, std::uint16_t mtu) {
    Room room;
    const std::size_t most = std::max<std::size_t>(mtu, standard_size + headers_size) - headers_size;
    // Option 82 costs the client nothing: its relay takes it out again (RFC 3046 section 2.1).
    const auto relay = request.options.find(option::relay_agent);
    const std::size_t for_relay = relay ? encoded_size(relay->size()) : 0;
    if (request.type() == MessageType::Bootp) {
        room.max_size = std::min(bootp_size + for_relay, most);
        return room;
    }
    const std::size_t asked = request.options.u16(option::max_message_size).value_or(0);
    room.max_size = std::clamp(asked < headers_size ? standard_size : asked - headers_size, standard_size, most);
    room.max_size = std::max(room.max_size, std::min(standard_size + for_relay, most));
    room.preferred = request.parameter_list().value_or(Bytes{});
    room.overload = !config.no_override && request.parameter_list().has_value();
    return room;
}

Destination destination(const Message& request, const Context& context, const Reply& reply) {
    if (request.relayed()) return {request.giaddr, server_port, context.ethernet_source};
    const Destination everybody{Ipv4{255, 255, 255, 255}, client_port, MacAddress::broadcast()};
    if (reply.type == MessageType::Nak) return everybody;
    const auto chaddr = request.chaddr.mac();
    const auto sender = context.ethernet_source ? context.ethernet_source : chaddr;
    if (reply.inform && !context.source.is_unspecified()) return {context.source, context.source_port, sender};
    if (const Ipv4 used = used_address(request); !used.is_unspecified()) {
        const std::uint16_t port = context.source == used ? context.source_port : client_port;
        return {used, port, sender};
    }
    if (request.wants_broadcast() || !chaddr) return everybody;
    return {reply.address, client_port, chaddr};
}

}  // namespace vmrouter::dhcp
