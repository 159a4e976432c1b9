#include <algorithm>

#include "dns/message.hpp"

namespace vmrouter::dns {
namespace {

constexpr std::size_t largest_opt = opt_size + 6;  // with an Extended DNS Error

/// Records are written into what `limit` leaves beside the OPT.
std::span<std::uint8_t> room_for_records(const Query& query, std::span<std::uint8_t> out, std::size_t limit) {
    const std::size_t size = std::min(limit, out.size());
    const std::size_t opt = query.edns ? largest_opt : 0;
    return out.first(size > opt ? size - opt : 0);
}

void write_text(Writer& writer, std::string_view text) {
    text = text.substr(0, 255);
    writer.u8(static_cast<std::uint8_t>(text.size()));
    writer.text(text);
}

constexpr std::string_view nobody_invalid("\006nobody\007invalid\000", 16);

}  // namespace

Reply::Reply(const Query& query, std::span<std::uint8_t> out, std::size_t limit)
    : query_(query), out_(out), writer_(room_for_records(query, out, limit)) {
    writer_.zeros(header_size);
    writer_.bytes(query.question.name.wire());
    writer_.u16(static_cast<std::uint16_t>(query.question.type));
    writer_.u16(static_cast<std::uint16_t>(query.question.klass));
}

/// The owner is the question's name or a zone above it in nearly every record of ours; the rest is written in full.
void Reply::write_name(const Name& name) {
    const Name& asked = query_.question.name;
    if (&name != &asked && !asked.is_under(name)) return writer_.bytes(name.wire());
    if (name.is_root()) return writer_.u8(0);
    writer_.u16(static_cast<std::uint16_t>(0xc000 | (header_size + asked.size() - name.size())));
}

void Reply::begin(const Name& owner, Type type, std::uint32_t ttl) {
    write_name(owner);
    writer_.u16(static_cast<std::uint16_t>(type));
    writer_.u16(static_cast<std::uint16_t>(query_.question.klass));
    writer_.u32(ttl);
    writer_.u16(0);
    rdata_ = writer_.position();
}

void Reply::end() {
    if (!writer_.ok()) return;
    writer_.patch_u16(rdata_ - 2, static_cast<std::uint16_t>(writer_.position() - rdata_));
    ++(in_authority_ ? authorities_ : answers_);
}

void Reply::a(const Name& owner, std::uint32_t ttl, Ipv4 address) {
    begin(owner, Type::A, ttl);
    writer_.u32(address.value);
    end();
}

void Reply::aaaa(const Name& owner, std::uint32_t ttl, const Ipv6& address) {
    begin(owner, Type::Aaaa, ttl);
    writer_.bytes(address.bytes);
    end();
}

void Reply::ptr(const Name& owner, std::uint32_t ttl, const Name& target) {
    begin(owner, Type::Ptr, ttl);
    write_name(target);
    end();
}

void Reply::ns(const Name& owner, std::uint32_t ttl, const Name& target) {
    begin(owner, Type::Ns, ttl);
    write_name(target);
    end();
}

void Reply::txt(const Name& owner, std::uint32_t ttl, std::span<const std::string> strings) {
    begin(owner, Type::Txt, ttl);
    for (const std::string& text : strings) write_text(writer_, text);
    end();
}

void Reply::hinfo(const Name& owner, std::uint32_t ttl, std::string_view cpu, std::string_view os) {
    begin(owner, Type::Hinfo, ttl);
    write_text(writer_, cpu);
    write_text(writer_, os);
    end();
}

void Reply::soa(const Name& zone, std::uint32_t ttl, std::uint32_t minimum) {
    begin(zone, Type::Soa, ttl);
    write_name(zone);
    writer_.text(nobody_invalid);
    writer_.u32(1);  // serial, refresh, retry, expire: nobody transfers these zones
    writer_.u32(3600);
    writer_.u32(1200);
    writer_.u32(604800);
    writer_.u32(minimum);
    end();
}

std::size_t Reply::finish() {
    if (!writer_.ok())
        return write_bare(query_, {.authoritative = authoritative_, .truncated = true, .rcode = rcode_}, out_);
    Writer header(out_.first(header_size));
    header.u16(query_.id);
    header.u16(reply_flags(query_, {.authoritative = authoritative_, .rcode = rcode_}));
    header.u16(1);
    header.u16(answers_);
    header.u16(authorities_);
    header.u16(query_.edns ? 1 : 0);
    Writer opt(out_.subspan(writer_.position()));
    write_reply_opt(query_, rcode_, ede_, opt);
    return writer_.position() + opt.position();
}

}  // namespace vmrouter::dns
