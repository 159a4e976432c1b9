// A life of the cache: stores, look-ups, flushes and the passing of time, as the input says. The cache must never
// exceed its bounds, never answer after the end, and never answer another question.
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "dns/cache.hpp"
#include "dns/policy.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;

namespace {

struct Kept {
    std::uint32_t address = 0;
    Monotonic ends{};
};
using Key = std::tuple<std::string, std::uint16_t, bool>;

Query make_query(std::uint8_t which) {
    Query query;
    query.has_question = true;
    query.edns = true;
    query.question.name =
        *Name::parse("n" + std::to_string(which % 24) + ((which & 32) != 0 ? ".b.example" : ".example"));
    query.question.type = (which & 64) != 0 ? Type::Mx : Type::A;
    query.question.dnssec_ok = (which & 128) != 0;
    return query;
}

/// An answer as check_response() makes it: one A record (or, for another type, the same four bytes).
Answer make_answer(const Question& question, std::uint32_t address, std::uint32_t ttl, std::size_t padding) {
    std::vector<std::uint8_t> buffer(2048);
    Writer writer(buffer);
    writer.u16(0x1234);
    writer.u16(0x8180);
    writer.u16(1);
    writer.u16(1);
    writer.u16(0);
    writer.u16(1);
    writer.bytes(question.name.wire());
    writer.u16(static_cast<std::uint16_t>(question.type));
    writer.u16(1);
    const auto record = [&](Type type, std::size_t extra) {
        writer.u16(0xc00c);
        writer.u16(static_cast<std::uint16_t>(type));
        writer.u16(1);
        writer.u32(ttl);
        writer.u16(static_cast<std::uint16_t>(4 + extra));
        writer.u32(address);
        writer.zeros(extra);
    };
    record(question.type == Type::A ? Type::A : Type{65280}, 0);
    record(Type{65281}, padding);
    Answer answer;
    require(check_response(question, 0x1234, writer.written(), {}, answer) == ResponseError::None);
    if (question.type != Type::A) answer.lifetime = ttl;  // no data of that type: keep it all the same
    return answer;
}

std::uint32_t address_in(Bytes reply) {
    RecordWalk walk(reply);
    const Record* record = walk.next();
    require(record != nullptr);
    Reader reader(reply);
    reader.seek(record->rdata);
    return reader.u32();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const CacheLimits limits{.entries = 16, .bytes = 6000};
    Cache cache(limits);
    std::map<Key, Kept> model;
    Monotonic now{std::chrono::hours(10)};
    std::array<std::uint8_t, 1232> out;
    std::uint32_t serial = 0;
    for (std::size_t i = 0; i + 2 < size; i += 3) {
        const std::uint8_t operation = data[i] & 7;
        const Query query = make_query(data[i + 1]);
        const std::uint8_t value = data[i + 2];
        const Key key{to_string(query.question.name), static_cast<std::uint16_t>(query.question.type),
                      query.question.dnssec_ok};
        if (operation < 3) {
            const std::uint32_t ttl = value % 64;
            cache.store(query.question, make_answer(query.question, ++serial, ttl, value), now);
            if (ttl > 0) model[key] = {serial, now + Seconds(ttl)};
        } else if (operation == 3) {
            now += Milliseconds(100 * value);
        } else if (operation == 4 && value < 8) {
            cache.flush();
            require(cache.size() == 0 && cache.bytes() == 0);
        } else if (operation == 5 && value < 32) {
            cache.flush(*Name::parse("b.example"));
        } else {
            const std::uint64_t hash = query.question.name.hash();
            const bool stale = operation == 7;
            const std::size_t written = stale
                                            ? cache.answer_stale(query, hash, now, out, out.size())
                                            : cache.answer(query, Suffixes(query.question.name), now, out, out.size());
            if (written > 0) {
                const auto kept = model.find(key);
                require(kept != model.end() && address_in(std::span(out).first(written)) == kept->second.address);
                require(stale || now < kept->second.ends);
            }
        }
        require(cache.size() <= limits.entries && cache.bytes() <= limits.bytes);
        require((cache.size() == 0) == (cache.bytes() == 0));
    }
    return 0;
}
