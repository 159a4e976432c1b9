#include "dns/response.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vmrouter::dns {
namespace {

/// What the RDATA of a type consists of, where that matters: n a name, s a character-string, a digit that many bytes,
/// G 18 and S 20 bytes, * whatever is left. These are the types whose names a sender may have compressed (RFC 1035, and
/// those that RFC 3597 section 4 lists), and addresses, whose size we rely on.
std::string_view rdata_layout(Type type) {
    switch (type) {
        case Type::A:
            return "4";
        case Type::Aaaa:
            return "88";
        case Type::Ns:
        case Type::Md:
        case Type::Mf:
        case Type::Cname:
        case Type::Mb:
        case Type::Mg:
        case Type::Mr:
        case Type::Ptr:
        case Type::Dname:
            return "n";
        case Type::Soa:
            return "nnS";
        case Type::Minfo:
        case Type::Rp:
            return "nn";
        case Type::Mx:
        case Type::Afsdb:
        case Type::Rt:
        case Type::Kx:
            return "2n";
        case Type::Px:
            return "2nn";
        case Type::Sig:
            return "Gn*";
        case Type::Nxt:
            return "n*";
        case Type::Srv:
            return "6n";
        case Type::Naptr:
            return "4sssn";
        default:
            return "*";
    }
}

/// RFC 3597 section 4: only the types of RFC 1035 may be sent with compressed names in them.
bool may_compress(Type type) {
    return type == Type::Soa || type == Type::Mx || type == Type::Minfo ||
           (rdata_layout(type) == "n" && type != Type::Dname);
}

std::size_t fixed_bytes(char step) {
    if (step == 'G') return 18;
    if (step == 'S') return 20;
    return static_cast<std::size_t>(step - '0');
}

/// Takes RDATA apart: `name` is called with every name, `bytes` with everything between. False when the pieces do not
/// add up to exactly the RDATA.
template <class OnName, class OnBytes>
bool walk_rdata(Bytes message, const Record& record, OnName on_name, OnBytes on_bytes) {
    std::size_t at = record.rdata;
    const auto take = [&](std::size_t size) {
        if (size > record.end() - at) return false;
        on_bytes(message.subspan(at, size));
        at += size;
        return true;
    };
    // What we know of a type holds for class IN; elsewhere it is bytes.
    for (const char step : record.klass == Class::In ? rdata_layout(record.type) : "*") {
        if (step == 'n') {
            Name name;
            if (!name.read(message.first(record.end()), at)) return false;
            on_name(name);
        } else if (step == '*') {
            if (!take(record.end() - at)) return false;
        } else if (step == 's') {
            if (at >= record.end() || !take(std::size_t{message[at]} + 1)) return false;
        } else if (!take(fixed_bytes(step))) {
            return false;
        }
    }
    return at == record.end();
}

std::uint32_t load32(const std::uint8_t* from) {
    std::uint32_t value;
    std::memcpy(&value, from, sizeof value);
    return std::endian::native == std::endian::little ? __builtin_bswap32(value) : value;
}

void store32(std::uint8_t* to, std::uint32_t value) {
    if (std::endian::native == std::endian::little) value = __builtin_bswap32(value);
    std::memcpy(to, &value, sizeof value);
}

}  // namespace

RecordWalk::RecordWalk(Bytes message, std::size_t position) : message_(message), position_(position) {
    Reader reader(message);
    reader.skip(6);
    for (auto& count : left_) count = reader.u16();
    ok_ = reader.ok() && position <= message.size();
}

RecordWalk::RecordWalk(Bytes message) : message_(message) {
    Reader reader(message);
    reader.skip(4);
    const std::uint16_t questions = reader.u16();
    for (auto& count : left_) count = reader.u16();
    ok_ = reader.ok() && questions <= 1;
    if (ok_ && questions == 1) {
        ok_ = record_.owner.read_uncompressed(message, position_) && message.size() - position_ >= 4;
        position_ += 4;
    }
}

const Record* RecordWalk::next() {
    while (section_ < 3 && left_[section_] == 0) ++section_;
    if (!ok_ || section_ == 3) return nullptr;
    --left_[section_];

    record_.section = static_cast<Record::Section>(section_);
    record_.start = position_;
    ok_ = record_.owner.read(message_, position_);
    Reader reader(message_);
    reader.seek(position_);
    record_.type = static_cast<Type>(reader.u16());
    record_.klass = static_cast<Class>(reader.u16());
    record_.ttl_offset = reader.position();
    record_.ttl = reader.u32();
    record_.rdata_size = reader.u16();
    record_.rdata = reader.position();
    reader.skip(record_.rdata_size);
    ok_ = ok_ && reader.ok() &&
          walk_rdata(
              message_, record_, [](const Name&) {}, [](Bytes) {});
    position_ = reader.position();
    return ok_ ? &record_ : nullptr;
}

bool rewrite(Bytes message, const Question& question, const std::function<bool(const Record&)>& keep, Answer& answer) {
    answer.wire.resize(max_message_size);
    answer.ttls.clear();
    Writer writer(answer.wire);
    Compressor names;
    writer.bytes(message.first(std::min<std::size_t>(message.size(), 4)));
    writer.u16(1);
    writer.zeros(6);
    writer.bytes(question.name.wire());
    writer.u16(static_cast<std::uint16_t>(question.type));
    writer.u16(static_cast<std::uint16_t>(question.klass));
    names.remember(question.name, header_size);

    std::uint16_t counts[3] = {};
    RecordWalk walk(message);
    while (const Record* record = walk.next()) {
        if (!keep(*record)) continue;
        names.write(writer, record->owner);
        writer.u16(static_cast<std::uint16_t>(record->type));
        writer.u16(static_cast<std::uint16_t>(record->klass));
        answer.ttls.push_back(static_cast<std::uint16_t>(writer.position()));
        writer.u32(record->ttl);
        const std::size_t length_at = writer.position();
        writer.u16(0);
        walk_rdata(
            message, *record,
            [&](const Name& name) {
                may_compress(record->type) ? names.write(writer, name) : writer.bytes(name.wire());
            },
            [&](Bytes bytes) { writer.bytes(bytes); });
        if (!writer.ok()) return false;
        writer.patch_u16(length_at, static_cast<std::uint16_t>(writer.position() - length_at - 2));
        ++counts[static_cast<std::size_t>(record->section)];
    }
    if (!walk.ok() || !writer.ok()) return false;
    for (std::size_t i = 0; i < 3; ++i) writer.patch_u16(6 + 2 * i, counts[i]);
    answer.wire.resize(writer.position());
    return true;
}

std::size_t write_answer(const AnswerView& answer, const Query& query, const Age& age, std::span<std::uint8_t> out,
                         std::size_t limit) {
    ReplyFlags flags{.authoritative = answer.authoritative && !age.cached,
                     .authenticated = answer.authenticated,
                     .rcode = answer.rcode};
    limit = std::min(limit, out.size());
    // Over TCP there is nothing larger to fall back to: there an OPT without room is left out.
    const bool has_opt = query.edns && (limit < max_message_size || answer.wire.size() + opt_size <= limit);
    const std::size_t opt = has_opt ? opt_size : 0;
    if (answer.wire.size() + opt > limit) {
        flags.truncated = true;
        return write_bare(query, flags, out);
    }
    std::memcpy(out.data(), answer.wire.data(), answer.wire.size());
    Writer writer(out);
    writer.u16(query.id);
    writer.u16(reply_flags(query, flags));
    const auto additionals = static_cast<std::uint16_t>((out[10] << 8 | out[11]) + (has_opt ? 1 : 0));
    out[10] = static_cast<std::uint8_t>(additionals >> 8);
    out[11] = static_cast<std::uint8_t>(additionals);
    const Bytes name = query.question.name.wire();
    std::memcpy(out.data() + header_size, name.data(), name.size());
    const auto type = static_cast<std::uint16_t>(query.question.type);
    out[header_size + name.size()] = static_cast<std::uint8_t>(type >> 8);
    out[header_size + name.size() + 1] = static_cast<std::uint8_t>(type);

    for (const std::uint16_t offset : answer.ttls) {
        const std::uint32_t ttl = load32(out.data() + offset);
        store32(out.data() + offset, age.ttl.value_or(ttl - std::min(ttl, age.seconds)));
    }
    if (!has_opt) return answer.wire.size();
    const bool room_for_ede = answer.wire.size() + opt_size + 6 <= limit;
    Writer tail(out.subspan(answer.wire.size()));
    write_reply_opt(query, answer.rcode, room_for_ede ? age.ede : std::nullopt, tail);
    return answer.wire.size() + tail.position();
}

std::vector<ResolvedAddress> resolved_addresses(const AnswerView& answer) {
    std::vector<ResolvedAddress> addresses;
    RecordWalk walk(answer.wire);
    while (const Record* record = walk.next()) {
        if (record->section != Record::Section::Answer) break;
        if (record->type == Type::A && record->klass == Class::In)
            addresses.push_back({Ipv4{load32(answer.wire.data() + record->rdata)}, record->ttl});
    }
    return addresses;
}

}  // namespace vmrouter::dns
