// An answer as a client gets it: id, case, aged TTLs, flags, and what fits.

#include "tests/unit/dns/check_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

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
