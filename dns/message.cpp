#include "dns/message.hpp"

#include <algorithm>

namespace vmrouter::dns {
namespace {

// The second word of the header (RFC 1035 section 4.1.1, RFC 4035 section 3).
constexpr std::uint16_t qr_bit = 0x8000;
constexpr std::uint16_t aa_bit = 0x0400;
constexpr std::uint16_t tc_bit = 0x0200;
constexpr std::uint16_t rd_bit = 0x0100;
constexpr std::uint16_t ra_bit = 0x0080;
constexpr std::uint16_t ad_bit = 0x0020;
constexpr std::uint16_t cd_bit = 0x0010;
constexpr std::uint32_t do_bit = 0x8000;  // in the TTL of an OPT (RFC 6891 section 6.1.4)

constexpr std::uint16_t option_ede = 15;

struct TypeName {
    Type type;
    std::string_view name;
};
constexpr TypeName type_names[] = {
    {Type::A, "A"},           {Type::Ns, "NS"},       {Type::Cname, "CNAME"}, {Type::Soa, "SOA"},
    {Type::Ptr, "PTR"},       {Type::Hinfo, "HINFO"}, {Type::Mx, "MX"},       {Type::Txt, "TXT"},
    {Type::Aaaa, "AAAA"},     {Type::Srv, "SRV"},     {Type::Naptr, "NAPTR"}, {Type::Dname, "DNAME"},
    {Type::Opt, "OPT"},       {Type::Ds, "DS"},       {Type::Rrsig, "RRSIG"}, {Type::Nsec, "NSEC"},
    {Type::Dnskey, "DNSKEY"}, {Type::Nsec3, "NSEC3"}, {Type::Svcb, "SVCB"},   {Type::Https, "HTTPS"},
    {Type::Tkey, "TKEY"},     {Type::Tsig, "TSIG"},   {Type::Ixfr, "IXFR"},   {Type::Axfr, "AXFR"},
    {Type::Any, "ANY"},
};

/// Walks the options of an OPT (RFC 6891 section 6.1.2); what they say is for us alone and none of it changes the
/// answer.
bool options_fit(Bytes rdata) {
    Reader reader(rdata);
    while (reader.remaining() > 0) {
        reader.skip(2);
        reader.skip(reader.u16());
        if (!reader.ok()) return false;
    }
    return true;
}

bool read_question(Bytes packet, std::size_t& position, Question& question) {
    if (!question.name.read_uncompressed(packet, position)) return false;
    Reader reader(packet);
    reader.seek(position);
    question.type = static_cast<Type>(reader.u16());
    question.klass = static_cast<Class>(reader.u16());
    position += 4;
    return reader.ok();
}

struct Opt {
    bool seen = false;
    std::uint8_t version = 0;
};

/// One record behind the question. Only an OPT means anything to us.
bool read_record(Bytes packet, std::size_t& position, bool additional, Opt& opt, Query& query) {
    const bool root = position < packet.size() && packet[position] == 0;
    if (root) {
        ++position;
    } else {
        Name owner;
        if (!owner.read(packet, position)) return false;
    }
    Reader reader(packet);
    reader.seek(position);
    const auto type = static_cast<Type>(reader.u16());
    const std::uint16_t klass = reader.u16();
    const std::uint32_t ttl = reader.u32();
    const Bytes rdata = reader.bytes(reader.u16());
    if (!reader.ok()) return false;
    position = reader.position();
    if (type != Type::Opt) return true;

    if (!root || !additional || opt.seen) return false;
    opt.seen = true;
    opt.version = static_cast<std::uint8_t>(ttl >> 16);
    query.edns = true;
    query.udp_size = std::max<std::uint16_t>(klass, plain_udp_size);
    query.question.dnssec_ok = (ttl & do_bit) != 0;
    return opt.version > 0 || options_fit(rdata);  // what a later version's data looks like is its own business
}

Parsed reject(Query& query, Rcode rcode) {
    query.reject = rcode;
    return Parsed::Reject;
}

/// Question types that no forwarder answers; everything else passes.
Rcode refused_type(Type type) {
    switch (type) {
        case Type::Opt:
        case Type::Tsig:
            return Rcode::FormErr;  // meta records, never asked for
        case Type::Tkey:
        case Type::Ixfr:
        case Type::Axfr:
            return Rcode::Refused;
        default:
            return Rcode::NoError;
    }
}

void write_question(const Question& question, Writer& writer) {
    writer.bytes(question.name.wire());
    writer.u16(static_cast<std::uint16_t>(question.type));
    writer.u16(static_cast<std::uint16_t>(question.klass));
}

}  // namespace

std::string to_string(Type type) {
    const auto* found = std::find_if(std::begin(type_names), std::end(type_names),
                                     [type](const TypeName& known) { return known.type == type; });
    if (found != std::end(type_names)) return std::string(found->name);
    return "TYPE" + std::to_string(static_cast<std::uint16_t>(type));
}

std::string to_string(Class klass) {
    switch (klass) {
        case Class::In:
            return "IN";
        case Class::Chaos:
            return "CH";
        case Class::Hesiod:
            return "HS";
        case Class::None:
            return "NONE";
        case Class::Any:
            return "ANY";
    }
    return "CLASS" + std::to_string(static_cast<std::uint16_t>(klass));
}

std::string to_string(Rcode rcode) {
    switch (rcode) {
        case Rcode::NoError:
            return "NOERROR";
        case Rcode::FormErr:
            return "FORMERR";
        case Rcode::ServFail:
            return "SERVFAIL";
        case Rcode::NxDomain:
            return "NXDOMAIN";
        case Rcode::NotImp:
            return "NOTIMP";
        case Rcode::Refused:
            return "REFUSED";
        case Rcode::YxDomain:
            return "YXDOMAIN";
        case Rcode::NotAuth:
            return "NOTAUTH";
        case Rcode::BadVers:
            return "BADVERS";
    }
    return "RCODE" + std::to_string(static_cast<std::uint16_t>(rcode));
}

Parsed parse_query(Bytes packet, Query& query) {
    if (packet.size() < header_size) return Parsed::Ignore;
    Reader reader(packet);
    query.id = reader.u16();
    const std::uint16_t flags = reader.u16();
    const std::uint16_t questions = reader.u16();
    const std::uint16_t others = reader.u16();
    const std::uint16_t authorities = reader.u16();
    const std::uint16_t additionals = reader.u16();
    if ((flags & qr_bit) != 0) return Parsed::Ignore;  // two servers must not talk each other to death

    query.opcode = static_cast<std::uint8_t>((flags >> 11) & 0xf);
    query.has_question = query.edns = false;
    query.udp_size = plain_udp_size;
    query.reject = Rcode::NoError;
    query.authentic_data = (flags & ad_bit) != 0;
    query.question.dnssec_ok = false;
    query.question.checking_disabled = (flags & cd_bit) != 0;
    query.question.recursion_desired = (flags & rd_bit) != 0;

    // What cannot be answered is read to its end all the same: who sent an OPT gets one with his error (RFC 6891
    // section 7), and his question when there is one.
    const bool is_query = query.opcode == 0;
    const Rcode malformed = is_query ? Rcode::FormErr : Rcode::NotImp;
    std::size_t position = header_size;
    for (std::uint32_t i = 0; i < questions; ++i)
        if (!read_question(packet, position, query.question)) return reject(query, malformed);
    query.has_question = questions == 1;
    if (!query.has_question) query.question.name = Name{};

    const std::uint32_t before = std::uint32_t{others} + authorities;
    if (is_query && before > 0 && query.question.type != Type::Ixfr) return reject(query, Rcode::FormErr);
    Opt opt;
    for (std::uint32_t i = 0; i < before + additionals; ++i)
        if (!read_record(packet, position, i >= before, opt, query)) return reject(query, malformed);
    if (!is_query || position != packet.size() || questions != 1) return reject(query, malformed);
    if (opt.version > 0) return reject(query, Rcode::BadVers);

    const Rcode refused = refused_type(query.question.type);
    return refused == Rcode::NoError ? Parsed::Query : reject(query, refused);
}

std::size_t udp_limit(const Query& query) {
    return query.edns ? std::min<std::size_t>(query.udp_size, our_udp_size) : plain_udp_size;
}

std::size_t write_upstream_query(const Question& question, std::uint16_t id, std::span<std::uint8_t> out) {
    Writer writer(out);
    writer.u16(id);
    writer.u16(static_cast<std::uint16_t>(ad_bit | (question.recursion_desired ? rd_bit : 0) |
                                          (question.checking_disabled ? cd_bit : 0)));
    writer.u16(1);
    writer.u16(0);
    writer.u16(0);
    writer.u16(1);
    write_question(question, writer);
    writer.u8(0);
    writer.u16(static_cast<std::uint16_t>(Type::Opt));
    writer.u16(our_udp_size);
    writer.u32(question.dnssec_ok ? do_bit : 0);
    writer.u16(0);
    return writer.ok() ? writer.position() : 0;
}

std::uint16_t reply_flags(const Query& query, const ReplyFlags& flags) {
    const bool shows_ad = query.authentic_data || query.question.dnssec_ok;  // RFC 6840 section 5.8
    const Rcode rcode = static_cast<std::uint16_t>(flags.rcode) > 0xf && !query.edns ? Rcode::ServFail : flags.rcode;
    return static_cast<std::uint16_t>(
        qr_bit | (query.opcode << 11) | (flags.authoritative ? aa_bit : 0) | (flags.truncated ? tc_bit : 0) |
        (query.question.recursion_desired ? rd_bit : 0) | ra_bit | (flags.authenticated && shows_ad ? ad_bit : 0) |
        (query.question.checking_disabled ? cd_bit : 0) | (static_cast<std::uint16_t>(rcode) & 0xf));
}

void write_reply_opt(const Query& query, Rcode rcode, std::optional<Ede> ede, Writer& writer) {
    if (!query.edns) return;
    writer.u8(0);
    writer.u16(static_cast<std::uint16_t>(Type::Opt));
    writer.u16(our_udp_size);
    writer.u32((static_cast<std::uint32_t>(rcode) >> 4) << 24 | (query.question.dnssec_ok ? do_bit : 0));
    writer.u16(ede ? 6 : 0);
    if (!ede) return;
    writer.u16(option_ede);
    writer.u16(2);
    writer.u16(static_cast<std::uint16_t>(*ede));
}

std::size_t write_bare(const Query& query, const ReplyFlags& flags, std::span<std::uint8_t> out,
                       std::optional<Ede> ede) {
    Writer writer(out);
    writer.u16(query.id);
    writer.u16(reply_flags(query, flags));
    writer.u16(query.has_question ? 1 : 0);
    writer.u16(0);
    writer.u16(0);
    writer.u16(query.edns ? 1 : 0);
    if (query.has_question) write_question(query.question, writer);
    write_reply_opt(query, flags.rcode, ede, writer);
    return writer.ok() ? writer.position() : 0;
}

}  // namespace vmrouter::dns
