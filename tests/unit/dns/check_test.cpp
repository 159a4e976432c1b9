// Is this the response to what was asked, and what of it is an answer?

#include "tests/unit/dns/check_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

ResponseError refusal(const Question& question, const Packet& response) {
    Answer answer;
    const ResponseError error = check_response(question, 0x1234, response, {}, answer);
    if (error != ResponseError::None) {
        CHECK(answer.wire.empty());
        CHECK(answer.lifetime == 0);
    }
    return error;
}

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
