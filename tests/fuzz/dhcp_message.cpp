// Any bytes as a DHCP message: parsed, written, parsed again, decided upon, answered.

#include <algorithm>
#include <vector>

#include "dhcp/frame.hpp"
#include "dhcp/message.hpp"
#include "dhcp/reply.hpp"
#include "dhcp/server.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

/// Option 82 moves to the end when it is written.
Options canonical(const Options& options) {
    Options result;
    for (std::size_t i = 0; i < options.size(); ++i)
        if (options[i].code != option::relay_agent) result.add(options[i].code, options[i].value);
    if (const auto relay = options.find(option::relay_agent)) result.add(option::relay_agent, *relay);
    return result;
}

void converse(const Message& message) {
    ServerConfig config;
    config.address = Cidr{Ipv4(192, 168, 100, 1), 24};
    config.range = {Ipv4(192, 168, 100, 2), Ipv4(192, 168, 100, 254)};
    config.domain = "vm.internal";
    config.no_override = (message.xid & 1) != 0;
    config.rapid_commit = (message.xid & 2) != 0;
    config.identity = (message.xid & 4) != 0 ? Identity::Mac : Identity::ClientId;
    LeaseTable leases{config.range, 512, 1};
    const Time now{std::chrono::seconds{1'800'000'000}};
    Context context;
    context.ethernet_source = message.chaddr.mac();
    // Twice: the second time the server knows the client.
    for (int round = 0; round < 2; ++round) {
        Decision decision = decide(leases, config, {}, message, context, now);
        if (decision.probe) {
            for (const auto& change : decision.changes) leases.apply(change);
            decision =
                after_probe(leases, config, {}, message, context, {decision.probe->address, round == 0, {}, 0}, now);
        }
        for (const auto& change : decision.changes) require(leases.apply(change));
        (void)decision.note.line();
        if (!decision.reply) continue;
        const Message reply = make_reply(config, message, *decision.reply);
        const auto bytes = serialize(reply, room(config, message)).bytes;
        require(bytes.size() >= 300);
        require(parse(bytes).has_value());
        const Destination to = destination(message, context, *decision.reply);
        const auto packet = build_packet(config.address.address, server_port, to.address, to.port, bytes);
        require(parse_packet(packet, ChecksumState::Verify).has_value());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes input{data, size};
    (void)parse_frame(input, ChecksumState::Verify);
    (void)parse_packet(input, ChecksumState::NotReady);
    const auto message = parse(input);
    if (!message) return 0;
    const auto written = serialize(*message, Room{200'000, 300, false});
    require(written.left_out.empty());
    auto again = parse(written.bytes);
    require(again.has_value());
    again->options = canonical(again->options);
    Message expected = *message;
    expected.options = canonical(expected.options);
    require(*again == expected);
    converse(*message);
    return 0;
}
