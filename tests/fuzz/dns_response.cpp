// An upstream's response to a question. The first byte chooses question and rules, the rest is the response with the id
// and, mostly, the question put in, so that the fuzzer does not have to guess them.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "dns/cache.hpp"
#include "dns/policy.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;

namespace {

Query make_query(std::uint8_t choice) {
    constexpr Type types[] = {Type::A,  Type::Aaaa,  Type::Https, Type::Cname,
                              Type::Mx, Type{65280}, Type::Rrsig, Type::Ptr};
    Query query;
    query.id = 0x5151;
    query.has_question = true;
    query.question.name = *Name::parse((choice & 8) != 0 ? "www.example.com" : "a");
    query.question.type = types[choice & 7];
    query.edns = (choice & 16) != 0;
    query.question.dnssec_ok = (choice & 32) != 0;
    return query;
}

void check_reply(const AnswerView& answer, const Query& query, std::size_t limit, const PrefixSet* blocked) {
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[limit]);
    // Names may (absurdly) be compressed into the bytes of a TTL, so that only an answer of age 0 reads as it was.
    const std::size_t aged = write_answer(answer, query, {.seconds = 7}, {exact.get(), limit}, limit);
    const std::size_t size = write_answer(answer, query, {}, {exact.get(), limit}, limit);
    require(size >= header_size && size <= limit && size == aged);
    const Bytes reply(exact.get(), size);
    std::size_t opts = 0;
    RecordWalk walk(reply);
    while (const Record* record = walk.next()) {
        if (record->type == Type::Opt) ++opts;
        if (blocked != nullptr && record->type == Type::A && record->klass == Class::In) {
            Reader reader(reply);
            reader.seek(record->rdata);
            require(!blocked->contains(Ipv4{reader.u32()}));
        }
    }
    require(walk.ok() && walk.position() == size && opts == (query.edns ? 1 : 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const PrefixSet networks = [] {
        PrefixSet set = always_blocked();
        set.finish();
        return set;
    }();
    if (size < 1) return 0;
    const std::uint8_t choice = data[0];
    const Query query = make_query(choice);
    std::vector<std::uint8_t> response(data + 1, data + size);
    if ((choice & 64) == 0 && response.size() >= header_size) {
        // As if the server had copied them: the id, QR, one question.
        const Bytes name = query.question.name.wire();
        response[0] = 0x12;
        response[1] = 0x34;
        response[2] = static_cast<std::uint8_t>((response[2] & 0x07) | 0x80);
        response[4] = 0;
        response[5] = 1;
        std::vector<std::uint8_t> question(name.begin(), name.end());
        const auto type = static_cast<std::uint16_t>(query.question.type);
        question.insert(question.end(), {static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type), 0, 1});
        response.insert(response.begin() + header_size, question.begin(), question.end());
    }
    const PrefixSet* blocked = (choice & 128) != 0 ? &networks : nullptr;
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[response.size()]);
    std::copy(response.begin(), response.end(), exact.get());
    static Answer answer;  // reused, as the service does
    const ResponseError error =
        check_response(query.question, 0x1234, {exact.get(), response.size()}, {blocked}, answer);
    if (error != ResponseError::None) {
        require(answer.wire.empty() && answer.ttls.empty() && answer.lifetime == 0);
        return 0;
    }
    for (const std::size_t limit : {std::size_t{512}, std::size_t{1232}, max_message_size})
        check_reply(answer.view(), query, limit, blocked);
    (void)resolved_addresses(answer.view());

    // Checked again, an answer is as good as it was.
    Answer again;
    std::vector<std::uint8_t> wire = answer.wire;
    wire[0] = 0x12;
    wire[1] = 0x34;
    wire[2] = static_cast<std::uint8_t>((wire[2] & 0x07) | 0x80);
    require(check_response(query.question, 0x1234, wire, {blocked}, again) == ResponseError::None);
    require(again.removed_count == 0 && again.unrelated_count == 0);
    require(again.wire.size() == answer.wire.size());
    return 0;
}
