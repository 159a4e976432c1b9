#include "dns/message.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

/// What `dig +dnssec +cookie -t AAAA DebiaN.org` sends (BIND 9.18).
const Packet from_dig =
    hex("d4f1 0120 0001 0000 0000 0001 | 06 44656269614e 03 6f7267 00 001c 0001 |"
        "00 0029 04d0 00008000 000c 000a 0008 ba7bc4cdcdfaec5e");
/// glibc's resolver, no EDNS.
const Packet from_glibc = hex("5a3c 0100 0001 0000 0000 0000 | 03 777777 06 64656269616e 03 6f7267 00 0001 0001");

Rcode rejected(const Packet& packet) {
    Query query;
    REQUIRE(parse_query(packet, query) == Parsed::Reject);
    return query.reject;
}

Seen error_for(const Packet& packet) {
    Query query;
    REQUIRE(parse_query(packet, query) == Parsed::Reject);
    std::array<std::uint8_t, 512> out;
    const std::size_t size = write_error(query, query.reject, out);
    REQUIRE(size > 0);
    return see(std::span(out).first(size));
}

}  // namespace

TEST_CASE("A query of dig is read with its flags and EDNS") {
    Query query;
    REQUIRE(parse_query(from_dig, query) == Parsed::Query);
    CHECK(query.id == 0xd4f1);
    CHECK(query.has_question);
    CHECK(to_string(query.question.name) == "DebiaN.org");
    CHECK(query.question.type == Type::Aaaa);
    CHECK(query.question.klass == Class::In);
    CHECK(query.question.dnssec_ok);
    CHECK_FALSE(query.question.checking_disabled);
    CHECK(query.question.recursion_desired);
    CHECK(query.authentic_data);
    CHECK(query.edns);
    CHECK(query.udp_size == 1232);
    CHECK(udp_limit(query) == 1232);
}

TEST_CASE("A query of glibc without EDNS takes 512 bytes") {
    Query query;
    REQUIRE(parse_query(from_glibc, query) == Parsed::Query);
    CHECK_FALSE(query.edns);
    CHECK_FALSE(query.question.dnssec_ok);
    CHECK_FALSE(query.authentic_data);
    CHECK(udp_limit(query) == 512);
}

TEST_CASE("The size over UDP is the client's within 512 and 1232") {
    CHECK(udp_limit(edns_query("a", Type::A, false, 100)) == 512);
    CHECK(udp_limit(edns_query("a", Type::A, false, 900)) == 900);
    CHECK(udp_limit(edns_query("a", Type::A, false, 4096)) == 1232);
}

TEST_CASE("No truncation of a query is taken for a whole one") {
    for (const Packet& packet : {from_dig, from_glibc}) {
        every_truncation(packet, [](Bytes bytes) {
            Query query;
            const Parsed parsed = parse_query(bytes, query);
            CHECK(parsed == (bytes.size() < header_size ? Parsed::Ignore : Parsed::Reject));
            if (parsed != Parsed::Reject) return;
            CHECK(query.reject == Rcode::FormErr);
            std::array<std::uint8_t, 288> out;
            CHECK(write_error(query, query.reject, out) >= header_size);
        });
    }
}

TEST_CASE("Responses sent as queries are ignored") {
    Query query;
    CHECK(parse_query(Builder(1, 0x8100).question("a", Type::A), query) == Parsed::Ignore);
    CHECK(parse_query(Packet(11, 0), query) == Parsed::Ignore);
    CHECK(parse_query({}, query) == Parsed::Ignore);
}

TEST_CASE("Opcodes other than QUERY get NOTIMP with the opcode and the question") {
    for (std::uint16_t opcode = 1; opcode < 16; ++opcode) {
        const auto flags = static_cast<std::uint16_t>(opcode << 11 | 0x0100);
        const Seen seen = error_for(Builder(7, flags).question("example.com", Type::Soa));
        CHECK(seen.rcode == Rcode::NotImp);
        CHECK((seen.flags >> 11 & 0xf) == opcode);
        CHECK((seen.flags & 0x8100) == 0x8100);
        CHECK(seen.id == 7);
        CHECK(seen.qname == "example.com");
        CHECK_FALSE(seen.has_opt);
    }
    // RFC 8906 section 8.1.3: the header alone.
    CHECK(error_for(Builder(7, 0x7800)).rcode == Rcode::NotImp);
    // What another opcode means by its sections is nothing to us, be it well-formed or not.
    CHECK(
        error_for(Builder(7, 0x2800).question("example.com", Type::Soa).answer("a", Type::A, 1, a("1.2.3.4"))).rcode ==
        Rcode::NotImp);
    CHECK(error_for(Builder(7, 0x2800).set(4, 9)).rcode == Rcode::NotImp);
}

TEST_CASE("Every error to a query with an OPT has one too") {
    CHECK(error_for(Builder(7, 0x7800).question("example.com", Type::Soa).opt()).has_opt);
    CHECK(error_for(Builder(7, 0x7800).opt()).has_opt);
    CHECK(error_for(Builder().opt()).has_opt);
    CHECK(error_for(Builder().opt()).rcode == Rcode::FormErr);
    CHECK(error_for(Builder().question("a", Type::A).question("b", Type::A).opt(1232, 0x8000)).has_opt);
    CHECK(error_for(Builder().question("a", Type::A).question("b", Type::A).opt()).qname.empty());
    CHECK(error_for(Builder().question("a", Type::A).opt().raw(hex("00"))).has_opt);
    CHECK(error_for(Builder().question("a", Type::Axfr).opt()).has_opt);
}

TEST_CASE("Anything but one question is a FORMERR") {
    CHECK(rejected(Builder()) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).question("b", Type::A)) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).set(4, 0xffff)) == Rcode::FormErr);
}

TEST_CASE("A malformed question is a FORMERR without a question") {
    // A pointer into the header, a reserved label type, a name of 256 bytes.
    CHECK(error_for(hex("0001 0100 0001 0000 0000 0000 c000 0001 0001")).rcode == Rcode::FormErr);
    CHECK(error_for(hex("0001 0100 0001 0000 0000 0000 c000 0001 0001")).qname.empty());
    CHECK(rejected(hex("0001 0100 0001 0000 0000 0000 40 00 0001 0001")) == Rcode::FormErr);
    Packet longest = hex("0001 0100 0001 0000 0000 0000");
    for (int i = 0; i < 4; ++i) {
        longest.push_back(63);
        longest.insert(longest.end(), 63, 'a');
    }
    longest.insert(longest.end(), {0, 0, 1, 0, 1});
    CHECK(rejected(longest) == Rcode::FormErr);
}

TEST_CASE("Records where a query has none and bytes after the last record are FORMERR") {
    CHECK(rejected(Builder().question("a", Type::A).answer("a", Type::A, 1, a("1.2.3.4"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).authority("a", Type::A, 1, a("1.2.3.4"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).raw(hex("00"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).opt().raw(hex("00"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).set(10, 1)) == Rcode::FormErr);
}

TEST_CASE("EDNS versions above 0 get BADVERS with our version") {
    Query query;
    REQUIRE(parse_query(Builder().question("a.b", Type::A).opt(1232, 0x00010000), query) == Parsed::Reject);
    CHECK(query.reject == Rcode::BadVers);
    std::array<std::uint8_t, 288> out;
    const Seen seen = see(std::span(out).first(write_error(query, query.reject, out)));
    CHECK(seen.rcode == Rcode::BadVers);
    CHECK(seen.has_opt);
    CHECK(seen.qname == "a.b");
    // Unknown flags and options of a higher version do not matter before its number does.
    CHECK(rejected(Builder().question("a", Type::A).opt(1232, 0x00647fff, hex("0064 0000"))) == Rcode::BadVers);
    CHECK(rejected(Builder().question("a", Type::A).opt(1232, 0x00010000, hex("00640009 01"))) == Rcode::BadVers);
}

TEST_CASE("Unknown EDNS options and flags pass and are not repeated") {
    Query query;
    const Packet packet = Builder().question("a", Type::A).opt(1232, 0x00007fff, hex("fde9 0004 01020304 000c 0000"));
    REQUIRE(parse_query(packet, query) == Parsed::Query);
    CHECK_FALSE(query.question.dnssec_ok);
    std::array<std::uint8_t, 288> out;
    const std::size_t size = write_error(query, Rcode::ServFail, out);
    CHECK(size == header_size + 7 + opt_size);
    CHECK(Bytes(out).subspan(size - 6, 4)[2] == 0);  // no flags of theirs
}

TEST_CASE("Several OPTs and one that the root does not own or that overruns are FORMERR") {
    CHECK(rejected(Builder().question("a", Type::A).opt().opt()) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).record(3, "x", Type::Opt, 0, {}, Class{1232})) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).opt(1232, 0, hex("000a"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::A).opt(1232, 0, hex("000a 0009 01"))) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::Ixfr).record(2, ".", Type::Opt, 0, {}, Class{1232})) ==
          Rcode::FormErr);
}

TEST_CASE("A TSIG after the OPT does not get in the way") {
    Query query;
    const Packet packet =
        Builder().question("a", Type::A).opt().record(3, "key.example", Type::Tsig, 0, hex("0102030405"), Class::Any);
    CHECK(parse_query(packet, query) == Parsed::Query);
    CHECK(query.edns);
}

TEST_CASE("Transfers are refused and meta types are no questions") {
    CHECK(rejected(Builder().question("a", Type::Axfr)) == Rcode::Refused);
    CHECK(rejected(Builder().question("a", Type::Ixfr).authority("a", Type::Soa, 0, soa("a", 1))) == Rcode::Refused);
    CHECK(rejected(Builder().question("a", Type::Tkey)) == Rcode::Refused);
    CHECK(rejected(Builder().question("a", Type::Opt)) == Rcode::FormErr);
    CHECK(rejected(Builder().question("a", Type::Tsig)) == Rcode::FormErr);
    for (const std::uint16_t type : std::initializer_list<std::uint16_t>{65280, 0, 128, 255}) {
        Query query;
        CHECK(parse_query(Builder().question("a", Type{type}), query) == Parsed::Query);
    }
}

TEST_CASE("Error replies repeat id and question in the client's case with RD and CD and never Z") {
    Query query;
    REQUIRE(parse_query(Builder(0xbeef, 0x0150).question("WwW.a", Type::Mx).opt(4096, 0x8000), query) == Parsed::Query);
    std::array<std::uint8_t, 288> out;
    const Seen seen = see(std::span(out).first(write_error(query, Rcode::Refused, out, Ede::Prohibited)));
    CHECK(seen.id == 0xbeef);
    CHECK(seen.qname == "WwW.a");
    CHECK(seen.flags == 0x8195);  // QR RD RA CD, REFUSED
    CHECK(seen.dnssec_ok);
    CHECK(seen.ede == 18);
}

TEST_CASE("Extended codes become SERVFAIL for clients without EDNS") {
    std::array<std::uint8_t, 288> out;
    const Query plain = query("a");
    CHECK(see(std::span(out).first(write_error(plain, Rcode::BadVers, out))).rcode == Rcode::ServFail);
}

TEST_CASE("Replies fit the largest name in 288 bytes and never overrun a smaller buffer") {
    const std::string label(63, 'a');
    const Query longest = edns_query(label + "." + label + "." + label + "." + std::string(61, 'b'));
    std::array<std::uint8_t, 288> out;
    CHECK(write_error(longest, Rcode::ServFail, out) == 282);
    CHECK(write_error(longest, Rcode::ServFail, out, Ede::NoReachableAuthority) == 288);
    for (std::size_t size = 0; size < 288; ++size) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
        CHECK(write_error(longest, Rcode::ServFail, {exact.get(), size}, Ede::Blocked) == 0);
    }
}

TEST_CASE("The query that goes upstream ends in our own bare OPT") {
    Query query;
    REQUIRE(parse_query(from_dig, query) == Parsed::Query);
    std::array<std::uint8_t, 512> out;
    const std::size_t size = write_upstream_query(query.question, 0xabcd, out);
    // RD and AD; the case of the question as the client had it; the cookie is gone, DO is kept.
    CHECK(Packet(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(size)) ==
          hex("abcd 0120 0001 0000 0000 0001 | 06 44656269614e 03 6f7267 00 001c 0001 | 00 0029 04d0 00008000 0000"));
    REQUIRE(parse_query(Builder(1, 0x0010).question("a", Type::A), query) == Parsed::Query);
    write_upstream_query(query.question, 1, out);
    CHECK((out[2] << 8 | out[3]) == 0x0030);  // no RD; CD
    CHECK(write_upstream_query(query.question, 1, std::span(out).first(20)) == 0);
}

TEST_CASE("What goes upstream is itself a good query with the same question") {
    for (const Packet& packet : {from_dig, from_glibc}) {
        Query query;
        Query again;
        REQUIRE(parse_query(packet, query) == Parsed::Query);
        std::array<std::uint8_t, 512> out;
        const std::size_t size = write_upstream_query(query.question, 9, out);
        REQUIRE(parse_query(std::span(out).first(size), again) == Parsed::Query);
        CHECK(again.question == query.question);
        CHECK(again.question.name.identical(query.question.name));
    }
}

TEST_CASE("A reply of our own compresses names and counts its records") {
    const Query asked = edns_query("1.0.0.10.in-addr.arpa", Type::Ptr);
    std::array<std::uint8_t, 512> out;
    Reply reply(asked, out, 512);
    reply.set_authoritative();
    reply.ptr(asked.question.name, 60, name("web.vm.internal"));
    reply.authority();
    reply.soa(name("10.in-addr.arpa"), 60, 60);
    const auto message = std::span(out).first(reply.finish());
    const Seen seen = see(message);
    CHECK(seen.aa());
    CHECK(seen.has_opt);
    CHECK(seen.count(Record::Section::Answer) == 1);
    CHECK(seen.count(Record::Section::Authority) == 1);
    CHECK(rdata_name(message, Type::Ptr) == "web.vm.internal");
    CHECK(rdata_name(message, Type::Soa) == "10.in-addr.arpa");
    CHECK(seen.items[1].owner == "10.in-addr.arpa");
    // Owner 2, target 17; SOA owner 2, MNAME 2, RNAME 16.
    CHECK(message.size() == 12 + 27 + (2 + 10 + 17) + (2 + 10 + 2 + 16 + 20) + 11);
}

TEST_CASE("A reply that does not fit becomes a truncated one") {
    const Query asked = edns_query("many.example", Type::A, false, 512);
    std::array<std::uint8_t, 1232> out;
    Reply reply(asked, out, udp_limit(asked));
    for (std::uint32_t i = 0; i < 40; ++i) reply.a(asked.question.name, 1, Ipv4{i});
    const Seen seen = see(std::span(out).first(reply.finish()));
    CHECK(seen.tc());
    CHECK(seen.items.empty());
    CHECK(seen.has_opt);
    Reply larger(asked, out, 1232);
    for (std::uint32_t i = 0; i < 40; ++i) larger.a(asked.question.name, 1, Ipv4{i});
    CHECK(see(std::span(out).first(larger.finish())).items.size() == 40);
}

TEST_CASE("Types classes and codes have names and unknown ones RFC 3597 form") {
    CHECK(to_string(Type::Https) == "HTTPS");
    CHECK(to_string(Type{1234}) == "TYPE1234");
    CHECK(to_string(Class::Chaos) == "CH");
    CHECK(to_string(Class{17}) == "CLASS17");
    CHECK(to_string(Rcode::NxDomain) == "NXDOMAIN");
    CHECK(to_string(Rcode{11}) == "RCODE11");
}
