// A guest's packet: parsed, answered with an error, answered locally, and turned into the query that goes upstream.
// What we write must be readable by ourselves.
#include <array>
#include <cstdint>
#include <memory>

#include "dns/local.hpp"
#include "dns/response.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;

namespace {

class OneGuest final : public Names {
public:
    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override {
        require(!label.empty() && label.size() <= Name::max_label);
        if (label == "pi") return Guest{Ipv4(192, 168, 100, 7), false};
        return std::nullopt;
    }
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override {
        return address == Ipv4(192, 168, 100, 7) ? "pi" : std::string_view{};
    }
};

Local make_local() {
    static const OneGuest names;
    static PrefixSet networks = [] {
        PrefixSet set = always_blocked();
        set.finish();
        return set;
    }();
    static const Cache cache;
    LocalConfig config;
    config.domain = *Name::parse("vm.internal");
    config.segment = *Cidr::parse("192.168.100.1/24");
    config.own_name = "router";
    config.records = {{*Name::parse("nas.vm.internal"), Ipv4(192, 168, 100, 5)}};
    config.hidden_domains = {*Name::parse("fritz.box")};
    config.routes = {{*Name::parse("corp.example"), 1}};
    config.block = {*DomainPattern::parse("*.ads.example")};
    return {config, {&names, &networks, nullptr, &cache, nullptr}};
}

/// A reply in a buffer of exactly `limit` bytes: complete, for this query, and no larger.
void check_reply(Bytes reply, const Query& query, std::size_t limit) {
    require(reply.size() >= header_size && reply.size() <= limit);
    require((reply[0] << 8 | reply[1]) == query.id && (reply[2] & 0x80) != 0);
    RecordWalk walk(reply);
    while (walk.next() != nullptr) {
    }
    require(walk.ok() && walk.position() == reply.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Local local = make_local();
    const Bytes packet(data, size);
    Query query;
    const Parsed parsed = parse_query(packet, query);
    if (parsed == Parsed::Ignore) return 0;

    const std::size_t limit = udp_limit(query);
    require(limit >= plain_udp_size && limit <= our_udp_size);
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[limit]);
    const std::span<std::uint8_t> out(exact.get(), limit);
    check_reply(out.first(write_error(query, Rcode::ServFail, out, Ede::Blocked)), query, limit);
    if (parsed == Parsed::Reject) {
        require(query.reject != Rcode::NoError);
        const std::size_t statistics = local.answer_statistics(packet, query, out, limit);
        require(statistics <= limit && (statistics == 0 || statistics >= header_size));
        return 0;
    }

    const Suffixes suffixes(query.question.name);
    const LocalDecision decision = local.answer(query, suffixes, out, limit);
    require((decision.verdict == Verdict::Forward) == (decision.size == 0));
    if (decision.size > 0) check_reply(out.first(decision.size), query, limit);

    const std::size_t written = write_upstream_query(query.question, 0x4242, out);
    require(written > 0);
    Query again;
    require(parse_query(out.first(written), again) == Parsed::Query);
    require(again.question == query.question && again.question.name.identical(query.question.name));
    return 0;
}
