#include "dns/cache.hpp"

#include <catch2/catch.hpp>

#include "dns/policy.hpp"
#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

namespace {

const Monotonic start{1000h};

Answer answer_of(const Question& question, const Packet& response) {
    Answer answer;
    REQUIRE(check_response(question, 0x1234, response, {}, answer) == ResponseError::None);
    return answer;
}

/// A cache and the few things that tests do with it.
struct Fixture {
    Cache cache;
    explicit Fixture(CacheLimits limits = {}) : cache(limits) {}

    void store_a(const Query& query, std::string_view address, std::uint32_t ttl, Monotonic now = start) {
        const std::string owner = to_string(query.question.name);
        cache.store(query.question,
                    answer_of(query.question,
                              Builder(0x1234, 0x81a0).question(owner, Type::A).answer(owner, Type::A, ttl, a(address))),
                    now);
    }
    void store_nxdomain(const Query& query, std::uint32_t minimum, Monotonic now = start) {
        const std::string owner = to_string(query.question.name);
        cache.store(query.question,
                    answer_of(query.question, Builder(0x1234, 0x8183)
                                                  .question(owner, query.question.type)
                                                  .authority("example", Type::Soa, 100000, soa("ns.example", minimum))),
                    now);
    }
    std::optional<Seen> find(const Query& query, Monotonic now = start, std::size_t limit = 65535) {
        std::vector<std::uint8_t> out(limit);
        const std::size_t size = cache.answer(query, Suffixes(query.question.name), now, out, limit);
        if (size == 0) return std::nullopt;
        return see(std::span(out).first(size));
    }
    std::optional<Seen> find_stale(const Query& query, Monotonic now) {
        std::vector<std::uint8_t> out(65535);
        const std::size_t size = cache.answer_stale(query, query.question.name.hash(), now, out, out.size());
        if (size == 0) return std::nullopt;
        return see(std::span(out).first(size));
    }
};

Question with(Question question, bool dnssec_ok, bool checking_disabled, bool recursion_desired = true) {
    question.dnssec_ok = dnssec_ok;
    question.checking_disabled = checking_disabled;
    question.recursion_desired = recursion_desired;
    return question;
}

}  // namespace

TEST_CASE("A kept answer ages to the second and ends with its TTL") {
    Fixture f;
    Query asked = query("www.a.example");
    f.store_a(asked, "1.2.3.4", 100);
    asked = query("WWW.a.Example");
    asked.id = 99;
    CHECK(f.find(asked)->items.at(0).ttl == 100);
    CHECK(f.find(asked, start + 999ms)->items.at(0).ttl == 100);
    CHECK(f.find(asked, start + 1s)->items.at(0).ttl == 99);
    const auto seen = f.find(asked, start + 99s);
    REQUIRE(seen);
    CHECK(seen->items.at(0).ttl == 1);
    CHECK(seen->id == 99);
    CHECK(seen->qname == "WWW.a.Example");
    CHECK_FALSE(f.find(asked, start + 100s));
    CHECK(f.cache.statistics().hits == 4);
    CHECK(f.cache.statistics().misses == 1);
    CHECK(f.cache.statistics().insertions == 1);
}

TEST_CASE("Names types and the flags DO and CD are kept apart") {
    Fixture f;
    const Query asked = query("a.example");
    f.store_a(asked, "1.2.3.4", 100);
    CHECK(f.find(asked));
    CHECK_FALSE(f.find(query("b.example")));
    CHECK_FALSE(f.find(query("a.example", Type::Aaaa)));
    CHECK_FALSE(f.find(edns_query("a.example", Type::A, true)));
    Query other = asked;
    other.question = with(asked.question, false, true);
    CHECK_FALSE(f.find(other));
    CHECK(f.find(edns_query("a.example")));
    // A question without RD may be answered from here, but what came for one is never kept.
    other.question = with(asked.question, false, false, false);
    CHECK(f.find(other));
    f.cache.flush();
    f.store_a(other, "1.2.3.4", 100);
    CHECK(f.cache.size() == 0);
}

TEST_CASE("Long TTLs are capped and shown as capped") {
    Fixture f;
    const Query asked = query("a.example");
    f.store_a(asked, "1.2.3.4", 1'000'000);
    CHECK(f.find(asked)->items.at(0).ttl == 86400);
    CHECK(f.find(asked, start + 86399s)->items.at(0).ttl == 1);
    CHECK_FALSE(f.find(asked, start + 86400s));
    const Query nothing = query("no.example");
    f.store_nxdomain(nothing, 100000);
    CHECK(f.find(nothing)->items.at(0).ttl == 10800);
    CHECK_FALSE(f.find(nothing, start + 10800s));
}

TEST_CASE("An NXDOMAIN speaks for every type of its name and shows the SOA minimum") {
    Fixture f;
    f.store_nxdomain(query("no.example", Type::A), 300);
    const auto seen = f.find(query("NO.example", Type::Mx), start + 10s);
    REQUIRE(seen);
    CHECK(seen->rcode == Rcode::NxDomain);
    CHECK(seen->items.at(0).type == Type::Soa);
    CHECK(seen->items.at(0).ttl == 290);
    CHECK_FALSE(f.find(edns_query("no.example", Type::A, true)));
}

TEST_CASE("An NXDOMAIN speaks for the names below it") {
    Fixture f;
    const Query asked = query("no.example");
    f.store_a(query("kept.no.example"), "192.0.2.1", 600);
    f.cache.store(asked.question,
                  answer_of(asked.question, Builder(0x1234, 0x8183)
                                                .question("no.example", Type::A)
                                                .authority("example", Type::Soa, 300, soa("ns.no.example", 300))
                                                .authority("nm.example", Type::Nsec, 300, target("np.example"))),
                  start);
    const auto seen = f.find(query("A.b.NO.example", Type::Txt), start + 10s);
    REQUIRE(seen);
    CHECK(seen->rcode == Rcode::NxDomain);
    CHECK(seen->qname == "A.b.NO.example");
    REQUIRE(seen->items.size() == 2);
    CHECK(seen->items[0].owner == "example");
    CHECK(seen->items[0].ttl == 290);
    CHECK(seen->items[1].owner == "nm.example");
    CHECK_FALSE(f.find(query("ano.example")));
    CHECK_FALSE(f.find(query("example")));
    CHECK_FALSE(f.find(edns_query("a.no.example", Type::A, true)));
    CHECK(f.find(query("kept.no.example"))->addresses() == std::vector<std::string>{"192.0.2.1"});
    CHECK_FALSE(f.find(query("a.no.example"), start + 300s));
    f.cache.flush_negative();
    CHECK_FALSE(f.find(query("a.no.example")));
}

TEST_CASE("An NXDOMAIN says nothing of a zone below it that is asked elsewhere") {
    Fixture f;
    f.store_nxdomain(query("example", Type::Ns), 300);
    const Query below = query("www.corp.example");
    std::vector<std::uint8_t> out(512);
    // The route is for corp.example, suffix 1 of the name: what is said of "example", suffix 2, came from others.
    CHECK(f.cache.answer(below, Suffixes(below.question.name), start, out, 512, 1) == 0);
    CHECK(f.cache.answer(below, Suffixes(below.question.name), start, out, 512, 2) > 0);
    f.store_nxdomain(query("corp.example"), 300);
    CHECK(f.cache.answer(below, Suffixes(below.question.name), start, out, 512, 1) > 0);
}

TEST_CASE("Classes other than IN are not kept nor answered") {
    Fixture f;
    f.store_a(query("a.example"), "192.0.2.1", 300);
    CHECK(f.find(query("a.example")));
    CHECK_FALSE(f.find(query("a.example", Type::A, Class::Hesiod)));
    CHECK_FALSE(f.find_stale(query("a.example", Type::A, Class::Any), start));
}

TEST_CASE("An NXDOMAIN at the end of a CNAME is about another name") {
    Fixture f;
    const Query asked = query("a.example");
    f.cache.store(asked.question,
                  answer_of(asked.question, Builder(0x1234, 0x8183)
                                                .question("a.example", Type::A)
                                                .answer("a.example", Type::Cname, 60, target("gone.example"))
                                                .authority("example", Type::Soa, 60, soa("x", 60))),
                  start);
    CHECK(f.find(asked)->rcode == Rcode::NxDomain);
    CHECK_FALSE(f.find(query("a.example", Type::Mx)));
}

TEST_CASE("No data is kept for its type alone") {
    Fixture f;
    const Query asked = query("a.example", Type::Aaaa);
    f.cache.store(asked.question,
                  answer_of(asked.question, Builder(0x1234, 0x8180)
                                                .question("a.example", Type::Aaaa)
                                                .authority("example", Type::Soa, 60, soa("x", 30))),
                  start);
    CHECK(f.find(asked));
    CHECK(f.find(asked)->items.at(0).ttl == 30);
    CHECK_FALSE(f.find(query("a.example")));
}

TEST_CASE("What must not be kept is not kept") {
    Fixture f;
    const Query asked = query("a.example");
    f.store_a(asked, "1.2.3.4", 0);
    for (const std::uint16_t flags : std::initializer_list<std::uint16_t>{0x8182, 0x8185, 0x8380})
        f.cache.store(asked.question, answer_of(asked.question, Builder(0x1234, flags).question("a.example", Type::A)),
                      start);
    Question chaos = asked.question;
    chaos.klass = Class::Chaos;
    Answer answer = answer_of(
        asked.question,
        Builder(0x1234, 0x8180).question("a.example", Type::A).answer("a.example", Type::A, 60, a("1.2.3.4")));
    f.cache.store(chaos, answer, start);
    CHECK(f.cache.size() == 0);
    CHECK(f.cache.bytes() == 0);
    Cache none({.entries = 0});
    none.store(asked.question, answer, start);
    CHECK(none.size() == 0);
}

TEST_CASE("A second answer replaces the first") {
    Fixture f;
    const Query asked = query("a.example");
    f.store_a(asked, "1.2.3.4", 100);
    f.store_a(asked, "5.6.7.8", 100, start + 50s);
    CHECK(f.cache.size() == 1);
    const auto seen = f.find(asked, start + 120s);
    REQUIRE(seen);
    CHECK(seen->addresses() == std::vector<std::string>{"5.6.7.8"});
    CHECK(seen->items.at(0).ttl == 30);
}

TEST_CASE("The least recently used answer goes first when entries run out") {
    Fixture f({.entries = 3});
    for (const char* text : {"a.example", "b.example", "c.example"}) f.store_a(query(text), "1.2.3.4", 100);
    CHECK(f.find(query("a.example")));
    f.store_a(query("d.example"), "1.2.3.4", 100);
    CHECK(f.cache.size() == 3);
    CHECK(f.find(query("a.example")));
    CHECK_FALSE(f.find(query("b.example")));
    CHECK(f.find(query("c.example")));
    CHECK(f.find(query("d.example")));
    CHECK(f.cache.statistics().evictions == 1);
    // What had ended anyway is no eviction.
    f.store_a(query("e.example"), "1.2.3.4", 100, start + 200s);
    CHECK(f.cache.statistics().evictions == 1);
}

TEST_CASE("The cache stays within its bytes and large answers stay out") {
    Fixture f({.entries = 1000, .bytes = 20000});
    Packet text = Packet{200} + Packet(200, 'x');
    const auto store = [&](const std::string& owner, int records) {
        const Query asked = query(owner, Type::Txt);
        Builder builder = Builder(0x1234, 0x8180).question(owner, Type::Txt);
        for (int i = 0; i < records; ++i) builder.answer(owner, Type::Txt, 60, text);
        f.cache.store(asked.question, answer_of(asked.question, builder), start);
    };
    for (int i = 0; i < 200; ++i) {
        store("n" + std::to_string(i) + ".example", 4);
        CHECK(f.cache.bytes() <= 20000);
    }
    CHECK(f.cache.size() >= 15);
    CHECK(f.cache.size() < 25);
    const std::size_t before = f.cache.size();
    store("large.example", 40);
    CHECK(f.cache.size() == before);
    CHECK_FALSE(f.find(query("large.example", Type::Txt)));
}

TEST_CASE("Ten thousand names that differ in a digit all find room") {
    // Chains are bounded, so a hash that puts such names together would lose some.
    for (const char* form : {"www%.example.com", "%.cdn.example.net", "host-%", "aaaaaaaaaaaaaaaaaaaaaa%"}) {
        Fixture f;
        const auto numbered = [form](int i) {
            std::string text = form;
            return text.replace(text.find('%'), 1, std::to_string(i));
        };
        for (int i = 0; i < 10000; ++i) f.store_a(query(numbered(i)), "1.2.3.4", 100);
        CHECK(f.cache.size() == 10000);
        CHECK(f.cache.statistics().evictions == 0);
    }
}

TEST_CASE("A cache that is too small keeps the newest") {
    Fixture f({.entries = 4096});
    for (int i = 0; i < 10000; ++i) f.store_a(query("n" + std::to_string(i)), "1.2.3.4", 100);
    CHECK(f.cache.size() == 4096);
    for (int i = 0; i < 10000; ++i) CHECK(f.find(query("n" + std::to_string(i))).has_value() == (i >= 10000 - 4096));
}

TEST_CASE("Stale answers are served for a day with a short TTL and a mark") {
    Fixture f;
    const Query asked = edns_query("a.example");
    f.store_a(asked, "1.2.3.4", 100);
    CHECK(f.find_stale(asked, start + 50s)->items.at(0).ttl == 50);
    CHECK_FALSE(f.find_stale(asked, start + 50s)->ede);
    CHECK_FALSE(f.find(asked, start + 100s));
    const auto seen = f.find_stale(asked, start + 100s);
    REQUIRE(seen);
    CHECK(seen->items.at(0).ttl == 30);
    CHECK(seen->ede == 3);
    CHECK(f.find_stale(asked, start + 100s + 86399s));
    CHECK_FALSE(f.find_stale(asked, start + 100s + 86400s));
    CHECK(f.cache.statistics().stale == 2);
    CHECK_FALSE(f.find_stale(edns_query("b.example"), start));
    f.store_nxdomain(edns_query("no.example"), 10);
    CHECK(f.find_stale(edns_query("no.example", Type::Mx), start + 20s)->ede == 19);
}

TEST_CASE("Of two answers that have ended the later one counts") {
    Fixture f;
    const Query asked = query("a.example");
    f.store_a(asked, "1.2.3.4", 10);
    f.store_nxdomain(asked, 300, start + 20s);
    CHECK(f.find(asked, start + 30s)->rcode == Rcode::NxDomain);
    CHECK(f.find_stale(asked, start + 30s)->rcode == Rcode::NxDomain);
    CHECK(f.find_stale(asked, start + 1000s)->rcode == Rcode::NxDomain);
    f.store_a(asked, "1.2.3.4", 10, start + 2000s);
    CHECK(f.find_stale(asked, start + 3000s)->rcode == Rcode::NoError);
}

TEST_CASE("Flushing forgets everything or the negative or one zone") {
    Fixture f;
    f.store_a(query("www.corp.example"), "1.2.3.4", 100);
    f.store_a(query("corp.example"), "1.2.3.4", 100);
    f.store_a(query("notcorp.example"), "1.2.3.4", 100);
    f.store_nxdomain(query("no.example"), 100);
    f.cache.flush_negative();
    CHECK_FALSE(f.find(query("no.example")));
    CHECK(f.cache.size() == 3);
    f.cache.flush(name("CORP.example"));
    CHECK(f.cache.size() == 1);
    CHECK(f.find(query("notcorp.example")));
    f.cache.flush();
    CHECK(f.cache.size() == 0);
    CHECK(f.cache.bytes() == 0);
    CHECK_FALSE(f.find(query("notcorp.example")));
    f.store_a(query("notcorp.example"), "1.2.3.4", 100);
    CHECK(f.find(query("notcorp.example")));
}

TEST_CASE("Entries are used again after they were freed") {
    Fixture f({.entries = 8});
    for (int round = 0; round < 100; ++round) {
        for (int i = 0; i < 12; ++i) f.store_a(query("n" + std::to_string(i)), "1.2.3.4", 100);
        if (round % 3 == 0) f.cache.flush_negative();
        if (round % 7 == 0) f.cache.flush(name("n9"));
        CHECK(f.cache.size() <= 8);
    }
    std::size_t found = 0;
    for (int i = 0; i < 12; ++i) found += f.find(query("n" + std::to_string(i))) ? 1 : 0;
    CHECK(found == f.cache.size());
}
