// What one query costs in the core: no sockets, one thread, the steps of the service's receive loop in their order.
//   dns_core_bench OPERATION COUNT     prints nanoseconds each; tests/bench/dns_core.sh counts instructions with
//   callgrind
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/cache.hpp"
#include "dns/local.hpp"
#include "dns/policy.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;

namespace {

using Packet = std::vector<std::uint8_t>;
const Ipv4 guest_address(192, 168, 100, 7);

class Guests final : public Names {
public:
    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override {
        if (label == "pi") return Guest{guest_address, false};
        return std::nullopt;
    }
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override {
        return address == guest_address ? "pi" : std::string_view{};
    }
};

Packet make_query(std::string_view qname, Type type, bool edns) {
    Packet packet(512);
    Writer writer(packet);
    for (const int word : {0x1234, 0x0100, 1, 0, 0, edns ? 1 : 0}) writer.u16(static_cast<std::uint16_t>(word));
    writer.bytes(Name::parse(qname)->wire());
    writer.u16(static_cast<std::uint16_t>(type));
    writer.u16(1);
    if (edns) {
        writer.u8(0);
        writer.u16(41);
        writer.u16(1232);
        writer.u32(0);
        writer.u16(0);
    }
    packet.resize(writer.position());
    return packet;
}

/// Two A records and an OPT, as a public resolver sends them.
Packet make_response(Bytes query_packet) {
    Packet packet(512);
    Writer writer(packet);
    for (const int word : {0x1234, 0x8180, 1, 2, 0, 1}) writer.u16(static_cast<std::uint16_t>(word));
    Query query;
    if (parse_query(query_packet, query) != Parsed::Query) std::abort();
    writer.bytes(query_packet.subspan(header_size, query.question.name.size() + 4));
    for (std::uint32_t i = 1; i < 3; ++i) {
        writer.u16(0xc00c);
        writer.u16(1);
        writer.u16(1);
        writer.u32(3600);
        writer.u16(4);
        writer.u32(0x5db8d800 + i);
    }
    writer.u8(0);
    writer.u16(41);
    writer.u16(1232);
    writer.u32(0);
    writer.u16(0);
    packet.resize(writer.position());
    return packet;
}

/// Everything that a running service has, with a configuration of some size.
struct World {
    Guests names;
    PrefixSet networks = always_blocked();
    Blocklist list;
    Cache cache;
    Admission admission{{.queries_per_second = 1e9, .burst = 1e9}};
    Local local;
    Answer answer;
    std::array<std::uint8_t, 1232> out{};
    Monotonic now{std::chrono::hours(1)};

    World() : local(make_config(), {&names, &networks, &list, &cache, nullptr}) {
        for (std::uint8_t i = 0; i < 20; ++i) networks.block({Ipv4(203, 0, i, 0), 24});
        networks.finish();
    }
    static LocalConfig make_config() {
        LocalConfig config;
        config.domain = *Name::parse("vm.internal");
        config.segment = *Cidr::parse("192.168.100.1/24");
        config.own_name = "router";
        for (std::uint8_t i = 0; i < 100; ++i)
            config.records.push_back({*Name::parse("r" + std::to_string(i) + ".vm.internal"), Ipv4(192, 168, 100, i)});
        config.hidden_domains = {*Name::parse("fritz.box")};
        config.hidden_names = {*Name::parse("host.example.org")};
        return config;
    }
    void fill_list() {
        std::string text;
        for (int i = 0; i < 1'000'000; ++i) text += "0.0.0.0 ads" + std::to_string(i) + ".example.com\n";
        const auto start = std::chrono::steady_clock::now();
        list.add_hosts(text);
        list.finish();
        const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
        std::printf("list: %zu names, %.1f MB, read in %.2f s\n", list.size(), static_cast<double>(list.bytes()) / 1e6,
                    passed.count());
    }
    void keep(Bytes packet) {
        Query query;
        if (parse_query(packet, query) != Parsed::Query) std::abort();
        if (check_response(query.question, 0x1234, make_response(packet), {&networks}, answer) != ResponseError::None)
            std::abort();
        cache.store(query.question, answer, now);
    }
    /// The receive loop's part: what is not answered here returns 0.
    std::size_t handle(Bytes packet) {
        Query query;
        if (parse_query(packet, query) != Parsed::Query) return 0;
        if (!admission.admit(guest_address, now)) return 0;
        const Suffixes suffixes(query.question.name);
        const std::size_t limit = udp_limit(query);
        const LocalDecision decision = local.answer(query, suffixes, out, limit);
        if (decision.size > 0) return decision.size;
        return cache.answer(query, suffixes, now, out, limit);
    }
    /// A miss, from the query to the reply, but for the sockets.
    std::size_t forward(Bytes packet, Bytes response) {
        Query query;
        if (parse_query(packet, query) != Parsed::Query) return 0;
        const Suffixes suffixes(query.question.name);
        if (!admission.admit(guest_address, now) || !admission.begin(guest_address)) return 0;
        if (local.answer(query, suffixes, out, 1232).size > 0) return 0;
        if (cache.answer(query, suffixes, now, out, 1232) > 0) return 0;
        write_upstream_query(query.question, 0x1234, out);
        if (check_response(query.question, 0x1234, response, {&networks}, answer) != ResponseError::None) return 0;
        cache.store(query.question, answer, now);
        admission.end(guest_address);
        return write_answer(answer.view(), query, {}, out, 1232);
    }
};

int run(std::string_view operation, std::size_t count) {
    World world;
    std::vector<Packet> packets;
    std::vector<Packet> responses;
    const bool edns = operation.ends_with("_edns");
    if (operation.starts_with("cached") || operation == "listed") {
        for (int i = 0; i < 1000; ++i)
            packets.push_back(make_query("www" + std::to_string(i) + ".example.com", Type::A, edns));
        for (const Packet& packet : packets) world.keep(packet);
    } else if (operation == "guest") {
        packets.push_back(make_query("pi.vm.internal", Type::A, true));
    } else if (operation == "reverse") {
        packets.push_back(make_query("7.100.168.192.in-addr.arpa", Type::Ptr, true));
    } else if (operation == "hidden") {
        packets.push_back(make_query("printer.fritz.box", Type::A, true));
    } else if (operation == "forward") {
        for (std::size_t i = 0; i < count; ++i)
            packets.push_back(make_query("www" + std::to_string(i) + ".example.com", Type::A, false));
        for (const Packet& packet : packets) responses.push_back(make_response(packet));
    } else {
        return 2;
    }
    if (operation == "listed") world.fill_list();

    const auto start = std::chrono::steady_clock::now();
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t which = i % packets.size();
        const std::size_t size =
            responses.empty() ? world.handle(packets[which]) : world.forward(packets[which], responses[which]);
        if (size == 0) std::abort();
        bytes += size;
    }
    const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - start;
    std::printf("%-12s %8.0f ns each, %zu bytes each\n", std::string(operation).c_str(),
                passed.count() / static_cast<double>(count), bytes / count);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3)
        if (const int status = run(argv[1], std::strtoul(argv[2], nullptr, 10)); status != 2) return status;
    std::fprintf(stderr, "usage: dns_core_bench cached|cached_edns|listed|guest|reverse|hidden|forward COUNT\n");
    return 2;
}
