// Addresses in blocked networks are taken out of answers, in whatever record and form they come.

#include "tests/unit/dns/check_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

Packet https_record(const Packet& params) {
    return hex("0001 00") + params;
}

}  // namespace

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
