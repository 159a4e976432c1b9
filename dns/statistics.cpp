// Class CHAOS: dnsmasq's counters under "bind.", which its exporters read; who asks for versions gets none.

#include <algorithm>
#include <optional>

#include "dns/local.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dns {
namespace {

/// Exporters ask seven questions at once.
constexpr std::size_t most_questions = 16;

void write_strings(Writer& writer, const Question& question, const std::vector<std::string>& strings) {
    writer.bytes(question.name.wire());
    writer.u16(static_cast<std::uint16_t>(Type::Txt));
    writer.u16(static_cast<std::uint16_t>(Class::Chaos));
    writer.u32(0);
    const std::size_t length_at = writer.position();
    writer.u16(0);
    for (const auto& string : strings) {
        writer.u8(static_cast<std::uint8_t>(string.size()));
        writer.text(string);
    }
    if (writer.ok()) writer.patch_u16(length_at, static_cast<std::uint16_t>(writer.position() - length_at - 2));
}

}  // namespace

LocalDecision Local::chaos(const Query& query, std::span<std::uint8_t> out, std::size_t limit) const {
    const auto strings = statistics(query.question);
    if (!strings) return {Verdict::Refused, write_error(query, Rcode::Refused, out), nullptr};
    Reply reply(query, out, limit);
    reply.set_authoritative();
    if (!strings->empty()) reply.txt(query.question.name, 0, *strings);
    return {Verdict::Statistics, reply.finish(), nullptr};
}

std::size_t Local::answer_statistics(Bytes packet, const Query& query, std::span<std::uint8_t> out,
                                     std::size_t limit) const {
    if (query.opcode != 0 || query.reject != Rcode::FormErr) return 0;
    Reader reader(packet);
    reader.skip(4);
    const std::size_t count = reader.u16();
    if (reader.u32() != 0 || count < 2 || count > most_questions) return 0;

    std::vector<Question> questions(count);
    std::vector<std::vector<std::string>> answers;
    std::size_t position = header_size;
    for (Question& question : questions) {
        if (!question.name.read_uncompressed(packet, position)) return 0;
        reader.seek(position);
        question.type = static_cast<Type>(reader.u16());
        question.klass = static_cast<Class>(reader.u16());
        position += 4;
        auto strings = reader.ok() && question.klass == Class::Chaos ? statistics(question) : std::nullopt;
        if (!strings) return 0;
        answers.push_back(std::move(*strings));
    }

    const std::size_t opt = query.edns ? opt_size : 0;
    Writer writer(out.first(std::min(limit, out.size()) - opt));
    writer.u16(query.id);
    writer.u16(reply_flags(query, {.authoritative = true}));
    writer.u16(static_cast<std::uint16_t>(count));
    const auto answered = std::count_if(answers.begin(), answers.end(), [](const auto& one) { return !one.empty(); });
    writer.u16(static_cast<std::uint16_t>(answered));
    writer.u16(0);
    writer.u16(query.edns ? 1 : 0);
    writer.bytes(packet.subspan(header_size, position - header_size));
    for (std::size_t i = 0; i < count; ++i)
        if (!answers[i].empty()) write_strings(writer, questions[i], answers[i]);
    if (!writer.ok()) return write_bare(query, {.truncated = true}, out);
    Writer tail(out.subspan(writer.position()));
    write_reply_opt(query, Rcode::NoError, std::nullopt, tail);
    return writer.position() + tail.position();
}

/// What a name under "bind." says; nullopt for any other question. Without a server there is none to tell of.
std::optional<std::vector<std::string>> Local::statistics(const Question& question) const {
    static const Name bind = *Name::parse("bind");
    if (question.type != Type::Txt && question.type != Type::Any) return std::nullopt;
    if (question.name.is_root() || !(question.name.parent() == bind)) return std::nullopt;
    const std::string name = to_lower(question.name.first_label());
    const CacheStatistics counted = sources_.cache != nullptr ? sources_.cache->statistics() : CacheStatistics{};
    const auto number = [](std::uint64_t value) { return std::vector{std::to_string(value)}; };
    if (name == "cachesize") return number(sources_.cache != nullptr ? sources_.cache->limits().entries : 0);
    if (name == "insertions") return number(counted.insertions);
    if (name == "evictions") return number(counted.evictions);
    if (name == "misses") return number(counted.misses);
    if (name == "hits") return number(counted.hits);
    if (name == "auth") return number(0);
    if (name != "servers" || sources_.servers == nullptr) return std::nullopt;
    std::vector<std::string> strings;
    for (const ServerStatistics& server : *sources_.servers)
        strings.push_back(server.address + " " + std::to_string(server.sent) + " " + std::to_string(server.failed));
    return strings;
}

}  // namespace vmrouter::dns
