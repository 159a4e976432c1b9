#include <catch2/catch.hpp>

#include "dns/policy.hpp"
#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

constexpr std::uint16_t noerror = 0x8180;  // QR RD RA
constexpr std::uint16_t nxdomain = 0x8183;

PrefixSet blocked_networks() {
    PrefixSet set = always_blocked();
    set.block(*Cidr::parse("203.0.113.0/24"));
    set.allow(*Cidr::parse("192.168.0.10"));
    set.finish();
    return set;
}

Answer checked(const Question& question, const Packet& response, const ResponseRules& rules = {}) {
    Answer answer;
    REQUIRE(check_response(question, 0x1234, response, rules, answer) == ResponseError::None);
    return answer;
}

ResponseError refusal(const Question& question, const Packet& response) {
    Answer answer;
    const ResponseError error = check_response(question, 0x1234, response, {}, answer);
    if (error != ResponseError::None) {
        CHECK(answer.wire.empty());
        CHECK(answer.lifetime == 0);
    }
    return error;
}

Question ask(std::string_view qname, Type type = Type::A) {
    return query(qname, type).question;
}

/// The reply that a client gets.
Seen reply(const Answer& answer, const Query& query, const Age& age = {}, std::size_t limit = max_message_size) {
    std::vector<std::uint8_t> out(limit);
    const std::size_t size = write_answer(answer.view(), query, age, out, limit);
    REQUIRE(size > 0);
    return see(std::span(out).first(size));
}

Packet https_record(const Packet& params) {
    return hex("0001 00") + params;
}

/// www.example.com CNAME web.example.net, whose A follows; RRSIGs with it, compressed as BIND does; OPT last.
const Packet chain_response =
    hex("1234 81a0 0001 0003 0000 0001 | 03 777777 07 6578616d706c65 03 636f6d 00 0001 0001 |"
        "c00c 0005 0001 00000e10 0011 03 776562 07 6578616d706c65 03 6e6574 00 |"
        "c02d 0001 0001 00000078 0004 5db8d822 |"
        "c02d 002e 0001 00000078 0017 0001 08 02 00000078 60000000 5f000000 1234 00 deadbeef |"
        "00 0029 04d0 00008000 0000");

}  // namespace

TEST_CASE("A good response becomes an answer without its OPT") {
    const Answer answer = checked(ask("www.example.com"), chain_response);
    CHECK(answer.wire.size() == chain_response.size() - opt_size);
    CHECK(answer.ttls.size() == 3);
    CHECK(answer.lifetime == 120);
    CHECK(answer.authenticated);
    CHECK_FALSE(answer.negative);
    CHECK(answer.unrelated_count == 0);
    const Seen seen = see(answer.wire);
    CHECK_FALSE(seen.has_opt);
    CHECK(seen.addresses() == std::vector<std::string>{"93.184.216.34"});
    CHECK(resolved_addresses(answer.view()).at(0).address == Ipv4(93, 184, 216, 34));
    CHECK(resolved_addresses(answer.view()).at(0).ttl == 120);
}

TEST_CASE("No truncation of a response is taken for a whole one") {
    for (const Packet& packet : {chain_response, Packet(Builder(0x1234, nxdomain)
                                                            .question("a.example", Type::Mx)
                                                            .authority("example", Type::Soa, 60, soa("example", 30))
                                                            .done())}) {
        const Question question = packet == chain_response ? ask("www.example.com") : ask("a.example", Type::Mx);
        every_truncation(packet, [&](Bytes bytes) {
            Answer answer;
            CHECK(check_response(question, 0x1234, bytes, {}, answer) != ResponseError::None);
            CHECK(answer.lifetime == 0);
        });
    }
}

TEST_CASE("Responses to other questions or with other ids are refused") {
    const Question question = ask("www.example.com");
    Answer answer;
    CHECK(check_response(question, 0x1235, chain_response, {}, answer) == ResponseError::WrongId);
    CHECK(refusal(ask("www.example.org"), chain_response) == ResponseError::WrongQuestion);
    CHECK(refusal(ask("ww.example.com"), chain_response) == ResponseError::WrongQuestion);
    CHECK(refusal(ask("www.example.com", Type::Aaaa), chain_response) == ResponseError::WrongQuestion);
    CHECK(refusal(ask("www.example.com.a"), chain_response) == ResponseError::WrongQuestion);
    CHECK(refusal(question, Builder(0x1234, noerror).question("www.example.com", Type::A, Class::Chaos)) ==
          ResponseError::WrongQuestion);
    CHECK(refusal(question, Builder(0x1234, noerror)) == ResponseError::WrongQuestion);
    CHECK(refusal(question,
                  Builder(0x1234, noerror).question("www.example.com", Type::A).question("www.example.com", Type::A)) ==
          ResponseError::WrongQuestion);
    CHECK(refusal(question, Builder(0x1234, 0x0100).question("www.example.com", Type::A)) ==
          ResponseError::NotAResponse);
    CHECK(refusal(question, Builder(0x1234, 0xa180).question("www.example.com", Type::A)) ==
          ResponseError::NotAResponse);
    CHECK(refusal(question, hex("1234 8180 0001")) == ResponseError::TooShort);
    CHECK(refusal(ask("WWW.EXAMPLE.COM"), chain_response) == ResponseError::None);
}

TEST_CASE("Counts and lengths that lie are malformed") {
    const Question question = ask("a.example");
    const auto base = [] { return Builder(0x1234, noerror).question("a.example", Type::A); };
    CHECK(refusal(question, base().set(6, 1)) == ResponseError::Malformed);
    CHECK(refusal(question, base().set(10, 0xffff)) == ResponseError::Malformed);
    CHECK(refusal(question, base().answer("a.example", Type::A, 1, hex("010203"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().answer("a.example", Type::A, 1, hex("0102030405"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().answer("a.example", Type::Aaaa, 1, hex("01020304"))) == ResponseError::Malformed);
    // A CNAME with a byte too many, an MX without a name, an SOA that is short, a pointer loop in RDATA.
    CHECK(refusal(question, base().answer("a.example", Type::Cname, 1, hex("016200 00"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().answer("a.example", Type::Mx, 1, hex("0001"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().authority("example", Type::Soa, 1, hex("00 00 0000"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().answer("a.example", Type::Cname, 1, hex("c030"))) == ResponseError::Malformed);
    CHECK(refusal(question, base().opt().opt()) == ResponseError::Malformed);
    CHECK(refusal(question, base().record(1, ".", Type::Opt, 0, {}, Class{512})) == ResponseError::Malformed);
}

TEST_CASE("Bytes after the last record are cut off") {
    const Answer answer = checked(ask("www.example.com"), chain_response + hex("6162636465"));
    CHECK(answer.wire.size() == chain_response.size() - opt_size);
}

TEST_CASE("Answer records outside the chain of CNAMEs are dropped wherever they stand") {
    const Answer answer = checked(ask("a.example"), Builder(0x1234, noerror)
                                                        .question("a.example", Type::A)
                                                        .answer("www.bank.example", Type::A, 300, a("6.6.6.6"))
                                                        .answer("a.example", Type::Cname, 300, target("b.example"))
                                                        .answer("b.example", Type::A, 300, a("1.2.3.4"))
                                                        .answer("c.example", Type::A, 5, a("6.6.6.7")));
    CHECK(answer.unrelated_count == 2);
    const Seen seen = see(answer.wire);
    CHECK(seen.addresses() == std::vector<std::string>{"1.2.3.4"});
    CHECK(seen.items.size() == 2);
    CHECK(answer.lifetime == 300);  // what was dropped has no say
    CHECK(answer.ttls.size() == 2);
}

TEST_CASE("A chain in the wrong order is followed all the same") {
    const Answer answer = checked(ask("a.example"), Builder(0x1234, noerror)
                                                        .question("a.example", Type::A)
                                                        .answer("d.example", Type::A, 30, a("1.2.3.4"))
                                                        .answer("c.example", Type::Cname, 30, target("d.example"))
                                                        .answer("b.example", Type::Cname, 30, target("c.example"))
                                                        .answer("a.example", Type::Cname, 30, target("b.example")));
    CHECK(answer.unrelated_count == 0);
    CHECK_FALSE(answer.negative);
    CHECK(see(answer.wire).items.size() == 4);
}

TEST_CASE("A loop of CNAMEs ends") {
    const Answer answer = checked(ask("a.example"), Builder(0x1234, noerror)
                                                        .question("a.example", Type::A)
                                                        .answer("b.example", Type::Cname, 30, target("a.example"))
                                                        .answer("a.example", Type::Cname, 30, target("b.example")));
    CHECK(answer.negative);
    CHECK(answer.lifetime == 0);
}

TEST_CASE("A DNAME and its signature belong to the question below it") {
    const Answer answer =
        checked(ask("x.old.example"), Builder(0x1234, noerror)
                                          .question("x.old.example", Type::A)
                                          .answer("old.example", Type::Dname, 60, target("new.example"))
                                          .answer("old.example", Type::Rrsig, 60, hex("0027 0802 00000000"))
                                          .answer("x.old.example", Type::Cname, 60, target("x.new.example"))
                                          .answer("x.new.example", Type::A, 60, a("1.2.3.4"))
                                          .answer("evil.example", Type::Dname, 60, target("new.example")));
    CHECK(answer.unrelated_count == 1);
    CHECK(see(answer.wire).items.size() == 4);
}

TEST_CASE("A CNAME that was asked for is not followed") {
    const Answer answer =
        checked(ask("a.example", Type::Cname), Builder(0x1234, noerror)
                                                   .question("a.example", Type::Cname)
                                                   .answer("a.example", Type::Cname, 60, target("b.example"))
                                                   .answer("b.example", Type::Cname, 60, target("c.example")));
    CHECK(answer.unrelated_count == 1);
    CHECK_FALSE(answer.negative);
    CHECK(answer.lifetime == 60);
}

TEST_CASE("An OPT in the middle of the additional section is taken out and nothing else") {
    const Answer answer =
        checked(ask("a.example", Type::Mx), Builder(0x1234, noerror)
                                                .question("a.example", Type::Mx)
                                                .answer("a.example", Type::Mx, 60, hex("000a") + target("mx.a.example"))
                                                .opt(4096, 0, hex("000f 0002 0000"))
                                                .additional("mx.a.example", Type::A, 60, a("1.2.3.4"))
                                                .additional("mx.a.example", Type::Aaaa, 60, aaaa("2001:db8::1")));
    const Seen seen = see(answer.wire);
    CHECK_FALSE(seen.has_opt);
    REQUIRE(seen.items.size() == 3);
    CHECK(seen.items[1].owner == "mx.a.example");
    CHECK(seen.addresses() == std::vector<std::string>{"1.2.3.4", "2001:db8::1"});
    CHECK(rdata_name(Bytes(answer.wire).subspan(0), Type::A) != "none");
}

TEST_CASE("The extended code of an OPT becomes part of the answer's code") {
    const Answer answer =
        checked(ask("a.example"), Builder(0x1234, 0x8187).question("a.example", Type::A).opt(1232, 0x01000000));
    CHECK(answer.rcode == Rcode{23});
    CHECK(reply(answer, edns_query("a.example")).rcode == Rcode{23});
    CHECK(reply(answer, query("a.example")).rcode == Rcode::ServFail);
}

TEST_CASE("Errors are taken with and without their question and never kept") {
    for (const std::uint16_t rcode : std::initializer_list<std::uint16_t>{1, 2, 4, 5}) {
        const auto flags = static_cast<std::uint16_t>(0x8180 | rcode);
        for (const Packet& packet :
             {Builder(0x1234, flags).done(), Builder(0x1234, flags).question("a.example", Type::A).done()}) {
            const Answer answer = checked(ask("a.example"), packet);
            CHECK(answer.rcode == static_cast<Rcode>(rcode));
            CHECK(answer.lifetime == 0);
            CHECK(reply(answer, query("A.example")).rcode == static_cast<Rcode>(rcode));
            CHECK(reply(answer, query("A.example")).qname == "A.example");
        }
    }
    CHECK(refusal(ask("a.example"), Builder(0x1234, nxdomain)) == ResponseError::WrongQuestion);
}

TEST_CASE("A truncated response says so and is not kept even when it is cut in a record") {
    Packet packet =
        Builder(0x1234, 0x8380).question("a.example", Type::A).answer("a.example", Type::A, 60, a("1.2.3.4"));
    packet.resize(packet.size() - 3);
    const Answer answer = checked(ask("a.example"), packet);
    CHECK(answer.truncated);
    CHECK(answer.lifetime == 0);
    CHECK(see(answer.wire).items.empty());
}

TEST_CASE("A negative answer lives as long as its SOA says") {
    const auto response = [](std::uint16_t flags, const char* zone, std::uint32_t ttl, std::uint32_t minimum) {
        return Builder(0x1234, flags)
            .question("no.a.example", Type::A)
            .authority(zone, Type::Soa, ttl, soa("ns.example", minimum));
    };
    const Question question = ask("no.a.example");
    CHECK(checked(question, response(nxdomain, "a.example", 3600, 300)).lifetime == 300);
    CHECK(checked(question, response(nxdomain, "a.example", 60, 300)).lifetime == 60);
    CHECK(checked(question, response(noerror, "example", 3600, 300)).lifetime == 300);
    CHECK(checked(question, response(noerror, "example", 3600, 300)).negative);
    CHECK(checked(question, response(nxdomain, "a.example", 3600, 0)).lifetime == 0);
    CHECK(checked(question, response(nxdomain, "other.example", 3600, 300)).lifetime == 0);  // not its zone
    CHECK(checked(question, Builder(0x1234, nxdomain).question("no.a.example", Type::A)).lifetime == 0);
    // A referral: no data, no SOA.
    CHECK(checked(question, Builder(0x1234, noerror)
                                .question("no.a.example", Type::A)
                                .authority("example", Type::Ns, 3600, target("ns.example")))
              .lifetime == 0);
}

TEST_CASE("A CNAME to a name without data is negative and lives by the shorter of both") {
    const Answer answer = checked(ask("a.example"), Builder(0x1234, noerror)
                                                        .question("a.example", Type::A)
                                                        .answer("a.example", Type::Cname, 20, target("b.test.example"))
                                                        .authority("test.example", Type::Soa, 60, soa("x", 60)));
    CHECK(answer.negative);
    CHECK(answer.lifetime == 20);
}

TEST_CASE("TTL zero is not kept and very long ones are capped also with the top bit set") {
    const auto with_ttl = [](std::uint32_t ttl) {
        return Builder(0x1234, noerror).question("a.example", Type::A).answer("a.example", Type::A, ttl, a("1.2.3.4"));
    };
    CHECK(checked(ask("a.example"), with_ttl(0)).lifetime == 0);
    const auto shown = [](const Answer& answer) { return see(answer.wire).items.at(0).ttl; };
    for (const std::uint32_t ttl : {0x7fffffffU, 0x80000000U, 0xffffffffU, 604801U}) {
        const Answer answer = checked(ask("a.example"), with_ttl(ttl));
        CHECK(answer.lifetime == 604800);
        CHECK(shown(answer) == 604800);
        CHECK(checked(ask("a.example"), with_ttl(ttl), {nullptr, 3600}).lifetime == 3600);
    }
    CHECK(shown(checked(ask("a.example"), with_ttl(604800))) == 604800);
    // The answer that lost records is written anew; what is left of it is capped just so.
    const PrefixSet set = blocked_networks();
    const Answer answer = checked(ask("a.example"),
                                  Builder(0x1234, noerror)
                                      .question("a.example", Type::A)
                                      .answer("a.example", Type::A, 0xffffffff, a("192.168.0.1"))
                                      .answer("a.example", Type::A, 0xfffffffe, a("8.8.8.8"))
                                      .answer("a.example", Type::A, 7, a("8.8.4.4")),
                                  {&set});
    CHECK(shown(answer) == 604800);
    CHECK(see(answer.wire).items.at(1).ttl == 7);
}

TEST_CASE("Addresses in blocked networks are taken out and reported") {
    const PrefixSet set = blocked_networks();
    const Answer answer = checked(ask("a.example"),
                                  Builder(0x1234, 0x81a0)
                                      .question("a.example", Type::A)
                                      .answer("a.example", Type::A, 600, a("192.168.0.1"))
                                      .answer("a.example", Type::A, 600, a("8.8.8.8"))
                                      .answer("a.example", Type::A, 600, a("192.168.0.10"))
                                      .answer("a.example", Type::A, 600, a("203.0.113.9")),
                                  {&set});
    CHECK(see(answer.wire).addresses() == std::vector<std::string>{"8.8.8.8", "192.168.0.10"});
    CHECK(answer.removed_count == 2);
    REQUIRE(answer.removed.size() == 2);
    CHECK(std::get<Ipv4>(answer.removed[0].address) == Ipv4(192, 168, 0, 1));
    CHECK(answer.removed[0].owner == name("a.example"));
    CHECK_FALSE(answer.authenticated);
    CHECK_FALSE(answer.negative);
    CHECK(answer.lifetime == 60);
}

TEST_CASE("When nothing is left the answer is NODATA with its CNAME") {
    const PrefixSet set = blocked_networks();
    const Answer answer = checked(ask("a.example"),
                                  Builder(0x1234, noerror)
                                      .question("a.example", Type::A)
                                      .answer("a.example", Type::Cname, 600, target("b.example"))
                                      .answer("b.example", Type::A, 600, a("127.0.0.1"))
                                      .answer("b.example", Type::Rrsig, 600, hex("0001 0802"))
                                      .answer("b.example", Type::Rrsig, 600, hex("0010 0802")),
                                  {&set});
    const Seen seen = see(answer.wire);
    CHECK(seen.rcode == Rcode::NoError);
    REQUIRE(seen.items.size() == 2);
    CHECK(seen.items[0].type == Type::Cname);
    CHECK(seen.items[1].rdata[1] == 0x10);  // the signature of something else
    CHECK(answer.negative);
}

TEST_CASE("Every form of a blocked IPv4 address and every local IPv6 address is taken out") {
    const PrefixSet set = blocked_networks();
    for (const char* bad :
         {"::ffff:192.168.1.1", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1:c0a8:1:100::", "2002:c0a8:0101::1",
          "::", "::1", "fd00::1", "fc00::1", "fe80::1", "fec0::1", "ff02::1", "::ffff:203.0.113.1"}) {
        CAPTURE(bad);
        const Answer answer = checked(
            ask("a.example", Type::Aaaa),
            Builder(0x1234, noerror).question("a.example", Type::Aaaa).answer("a.example", Type::Aaaa, 60, aaaa(bad)),
            {&set});
        CHECK(answer.removed_count == 1);
        CHECK(see(answer.wire).items.empty());
    }
    for (const char* good : {"2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "::ffff:192.168.0.10"}) {
        CAPTURE(good);
        CHECK(checked(ask("a.example", Type::Aaaa),
                      Builder(0x1234, noerror)
                          .question("a.example", Type::Aaaa)
                          .answer("a.example", Type::Aaaa, 60, aaaa(good)),
                      {&set})
                  .removed_count == 0);
    }
}

TEST_CASE("Hints of HTTPS and SVCB records and additional addresses are judged too") {
    const PrefixSet set = blocked_networks();
    const Packet good = https_record(hex("0001 0003 026832 | 0004 0004 08080808"));
    const Packet bad4 = https_record(hex("0001 0003 026832 | 0004 0008 08080808 c0a80001"));
    const Packet bad6 = https_record(hex("0006 0010 fd000000000000000000000000000001"));
    const Answer answer = checked(ask("a.example", Type::Https),
                                  Builder(0x1234, noerror)
                                      .question("a.example", Type::Https)
                                      .answer("a.example", Type::Https, 60, bad4)
                                      .answer("a.example", Type::Https, 60, good)
                                      .answer("a.example", Type::Https, 60, bad6)
                                      .additional("x.example", Type::A, 60, a("10.1.1.1"))
                                      .additional("x.example", Type::Svcb, 60, bad4),
                                  {&set});
    CHECK(answer.removed_count == 4);
    const Seen seen = see(answer.wire);
    REQUIRE(seen.items.size() == 1);
    CHECK(seen.items[0].rdata == good);
}

TEST_CASE("More removed records than are listed are still counted") {
    const PrefixSet set = blocked_networks();
    Builder builder = Builder(0x1234, noerror).question("a.example", Type::A);
    for (int i = 0; i < 50; ++i) builder.answer("a.example", Type::A, 60, a("10.0.0." + std::to_string(i)));
    const Answer answer = checked(ask("a.example"), builder, {&set});
    CHECK(answer.removed_count == 50);
    CHECK(answer.removed.size() == Answer::max_removed);
}

TEST_CASE("Records of the class that was asked for pass, of any class when any was") {
    Answer answer;
    const auto response = [](Class klass) {
        return Builder(0x1234, 0x8180)
            .question("a.example", Type::A, klass)
            .record(1, "a.example", Type::A, 60, a("192.0.2.1"))
            .record(1, "a.example", Type::A, 60, hex("03 616263 00 0001"), Class::Chaos)
            .record(1, "a.example", Type::Txt, 60, hex("01 61"), Class::Hesiod)
            .done();
    };
    const auto counted = [&](Class klass) {
        Question question = query("a.example").question;
        question.klass = klass;
        REQUIRE(check_response(question, 0x1234, response(klass), {}, answer) == ResponseError::None);
        return answer.wire[7];
    };
    CHECK(counted(Class::In) == 1);
    CHECK(counted(Class::Hesiod) == 1);
    CHECK(counted(Class::Any) == 3);
    PrefixSet blocked;
    blocked.block(*Cidr::parse("192.0.2.0/24"));
    blocked.finish();
    Question any = query("a.example").question;
    any.klass = Class::Any;
    REQUIRE(check_response(any, 0x1234, response(Class::Any), {&blocked}, answer) == ResponseError::None);
    CHECK(answer.wire[7] == 2);
    CHECK(answer.removed_count == 1);
}

TEST_CASE("Unknown types and their bytes pass unchanged through a rewrite") {
    const PrefixSet set = blocked_networks();
    const Packet blob = hex("c00c 00 ff 0102030405");  // looks like a pointer and is none (RFC 3597 section 4)
    const Answer answer = checked(ask("a.example", Type{65280}),
                                  Builder(0x1234, noerror)
                                      .question("a.example", Type{65280})
                                      .answer("a.example", Type{65280}, 60, blob)
                                      .answer("a.example", Type::Srv, 60, hex("000000000050") + target("t.example"))
                                      .answer("a.example", Type::A, 60, a("10.0.0.1")),
                                  {&set});
    const Seen seen = see(answer.wire);
    REQUIRE(seen.items.size() == 2);
    CHECK(seen.items[0].rdata == blob);
    CHECK(seen.items[1].rdata == hex("000000000050") + target("t.example"));  // never compressed in SRV
}

TEST_CASE("A reply has the client's id and case and aged TTLs and AD only when asked") {
    const Answer answer = checked(ask("www.example.com"), chain_response);
    Query asked = query("wWw.Example.COM");
    asked.id = 0x7777;
    Seen seen = reply(answer, asked, {.seconds = 100, .ttl = {}, .cached = true, .ede = {}});
    CHECK(seen.id == 0x7777);
    CHECK(seen.qname == "wWw.Example.COM");
    CHECK(seen.items[0].owner == "wWw.Example.COM");
    CHECK(seen.items[0].ttl == 3500);
    CHECK(seen.items[1].ttl == 20);
    CHECK_FALSE(seen.ad());
    CHECK_FALSE(seen.has_opt);
    CHECK(seen.count(Record::Section::Answer) == 3);
    asked.authentic_data = true;
    CHECK(reply(answer, asked).ad());
    seen = reply(answer, edns_query("www.example.com", Type::A, true), {.seconds = 1000});
    CHECK(seen.ad());
    CHECK(seen.has_opt);
    CHECK(seen.dnssec_ok);
    CHECK(seen.items[1].ttl == 0);
}

TEST_CASE("AA is repeated on a fresh answer and not from a cache") {
    const Answer answer =
        checked(ask("a.example"),
                Builder(0x1234, 0x8580).question("a.example", Type::A).answer("a.example", Type::A, 60, a("1.2.3.4")));
    CHECK(reply(answer, query("a.example")).aa());
    CHECK_FALSE(reply(answer, query("a.example"), {.seconds = 0, .ttl = {}, .cached = true, .ede = {}}).aa());
}

TEST_CASE("An answer one byte too large is truncated and one that fits is not") {
    Builder builder = Builder(0x1234, nxdomain).question("a.example", Type::A);
    for (int i = 0; i < 30; ++i) builder.authority("a.example", Type::Txt, 60, hex("0161"));
    const Answer answer = checked(ask("a.example"), builder);
    const Query asked = edns_query("a.example");
    const std::size_t exact = answer.wire.size() + opt_size;
    CHECK_FALSE(reply(answer, asked, {}, exact).tc());
    const Seen cut = reply(answer, asked, {}, exact - 1);
    CHECK(cut.tc());
    CHECK(cut.items.empty());
    CHECK(cut.rcode == Rcode::NxDomain);
    CHECK(cut.has_opt);
    CHECK_FALSE(reply(answer, query("a.example"), {}, answer.wire.size()).tc());
    // An Extended DNS Error is left out rather than the answer.
    const Age stale{.seconds = 0, .ttl = 30, .cached = true, .ede = Ede::StaleAnswer};
    CHECK_FALSE(reply(answer, asked, stale, exact).tc());
    CHECK(reply(answer, asked, stale, exact + 6).ede == 3);
}

TEST_CASE("A response of 64 kilobytes is checked and answered over TCP") {
    Builder builder = Builder(0x1234, noerror).question("a.example", Type::Txt);
    const Packet text = Packet{255} + Packet(255, 'x');
    for (int i = 0; i < 230; ++i) builder.answer("a.example", Type::Txt, 60, text);
    const Packet packet = builder;
    REQUIRE(packet.size() > 60000);
    const Answer answer = checked(ask("a.example", Type::Txt), packet);
    CHECK(reply(answer, query("a.example", Type::Txt)).items.size() == 230);
    CHECK(reply(answer, query("a.example", Type::Txt), {}, 1232).tc());
}

TEST_CASE("The largest message goes over TCP without its OPT rather than truncated") {
    Builder builder = Builder(0x1234, noerror).question("a.example", Type::Txt);
    const Packet head = builder;
    const std::size_t fixed = 11 + 10;  // of a record: owner, type, class, TTL and length
    builder.answer("a.example", Type::Txt, 60, Packet(max_message_size - head.size() - fixed, 'x'));
    const Packet packet = builder;
    REQUIRE(packet.size() == max_message_size);
    const Answer answer = checked(ask("a.example", Type::Txt), packet);
    const Seen seen = reply(answer, edns_query("a.example", Type::Txt));
    CHECK_FALSE(seen.tc());
    CHECK_FALSE(seen.has_opt);
    CHECK(seen.items.size() == 1);
}

TEST_CASE("A walk refuses more than one question") {
    const Packet packet = Builder(0x1234, noerror).question("a", Type::A).question("b", Type::A);
    RecordWalk walk(packet);
    CHECK(walk.next() == nullptr);
    CHECK_FALSE(walk.ok());
}
