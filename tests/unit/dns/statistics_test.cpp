// The names of dnsmasq's statistics, which its exporters ask for in class CHAOS.

#include "tests/unit/dns/local_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

TEST_CASE("CHAOS is refused but for dnsmasq's statistics") {
    LocalLab f;
    f.servers = {{"192.168.0.1#53", 12, 3}, {"9.9.9.9#53", 0, 0}};
    const auto chaos = [&](std::string_view text, Type type = Type::Txt) {
        return f.ask(query(text, type, Class::Chaos));
    };
    const auto strings = [&](std::string_view text) {
        const Said said = chaos(text);
        CHECK(said.verdict == Verdict::Statistics);
        REQUIRE(said.seen.items.size() == 1);
        return std::string(said.seen.items[0].rdata.begin(), said.seen.items[0].rdata.end());
    };
    CHECK(strings("cachesize.bind") == "\00510000");
    CHECK(strings("Insertions.BIND") == "\0010");
    CHECK(strings("evictions.bind") == "\0010");
    CHECK(strings("misses.bind") == "\0010");
    CHECK(strings("hits.bind") == "\0010");
    CHECK(strings("auth.bind") == "\0010");
    CHECK(strings("servers.bind") ==
          "\023192.168.0.1#53 12 3\016"
          "9.9.9.9#53 0 0");
    for (const char* secret :
         {"version.bind", "hostname.bind", "authors.bind", "id.server", "version.server", "bind", "x.cachesize.bind"})
        CHECK(chaos(secret).rcode() == Rcode::Refused);
    CHECK(chaos("cachesize.bind", Type::A).rcode() == Rcode::Refused);
    CHECK(chaos("pi.vm.internal").rcode() == Rcode::Refused);
    CHECK(f.ask("cachesize.bind", Type::Txt).verdict == Verdict::Forward);
    f.servers.clear();
    const Said none = chaos("servers.bind");
    CHECK(none.rcode() == Rcode::NoError);
    CHECK(none.seen.items.empty());
}

TEST_CASE("All statistics are answered in one message as exporters ask for them") {
    LocalLab f;
    f.servers = {{"192.168.0.1#53", 12, 3}};
    f.ask("x.example");
    const auto names_asked = {"cachesize.bind", "insertions.bind", "evictions.bind", "misses.bind",
                              "hits.bind",      "auth.bind",       "servers.bind"};
    const auto ask_all = [&](const Packet& packet, std::size_t limit = 512) {
        Query asked;
        REQUIRE(parse_query(packet, asked) == Parsed::Reject);
        Packet out(limit);
        out.resize(f.local->answer_statistics(packet, asked, out, limit));
        return out;
    };
    Builder all(0x1234, 0x0100);
    for (const char* one : names_asked) all.question(one, Type::Txt, Class::Chaos);
    const Packet reply = ask_all(all);
    REQUIRE(reply.size() > 12);
    CHECK(Packet(reply.begin(), reply.begin() + 12) == hex("1234 8580 0007 0007 0000 0000"));
    // The questions as they came, then the answers in their order, each with the name of its question.
    const Packet asked = all.done();
    CHECK(std::equal(asked.begin() + 12, asked.end(), reply.begin() + 12));
    const std::string text(reply.begin() + static_cast<std::ptrdiff_t>(asked.size()), reply.end());
    std::size_t at = 0;
    for (const char* one : names_asked) {
        const Packet wire = target(one);
        const auto found = text.find(std::string(wire.begin(), wire.end()), at);
        CHECK(found == at);
        at = text.find("bind", found) + 5 + 10 + static_cast<std::uint8_t>(text[text.find("bind", found) + 14]);
    }
    CHECK(at == text.size());
    CHECK(text.find("\005"
                    "10000") != std::string::npos);
    CHECK(text.find("192.168.0.1#53 12 3") != std::string::npos);

    CHECK(ask_all(Builder(all).opt()).size() == reply.size() + 11);
    CHECK(see(ask_all(all, 200)).flags == 0x8380);  // truncated when there is no room
    CHECK(ask_all(Builder(all).question("version.bind", Type::Txt, Class::Chaos)).empty());
    CHECK(ask_all(Builder(all).question("www.example", Type::A)).empty());
    CHECK(ask_all(Builder().question("a", Type::A).question("b", Type::A)).empty());
    CHECK(ask_all(Builder()).empty());
    for (std::size_t size = 12; size < asked.size(); ++size) {
        const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
        std::copy_n(asked.begin(), size, exact.get());
        Query cut;
        REQUIRE(parse_query({exact.get(), size}, cut) == Parsed::Reject);
        Packet out(512);
        CHECK(f.local->answer_statistics({exact.get(), size}, cut, out, 512) == 0);
    }
}
