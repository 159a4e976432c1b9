#include "dns/blocklist.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/dns/builders.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;

namespace {

std::optional<std::size_t> find(const Blocklist& list, std::string_view text) {
    const Name asked = name(text);
    return list.find(Suffixes(asked));
}

}  // namespace

TEST_CASE("Patterns say whether a name itself or what is below it is meant") {
    const auto itself = DomainPattern::parse("Ads.example.");
    REQUIRE(itself);
    CHECK(itself->itself);
    CHECK_FALSE(itself->below);
    const auto below = DomainPattern::parse("*.ads.example");
    REQUIRE(below);
    CHECK_FALSE(below->itself);
    CHECK(below->below);
    CHECK(below->name == name("ads.example"));
    const auto both = DomainPattern::parse(".ads.example");
    REQUIRE(both);
    CHECK(both->itself);
    CHECK(both->below);
    for (const char* bad : {"", ".", "*", "*.", "a.*.b", "*ads.example", "**.a", "..a", "a..b"})
        CHECK_FALSE(DomainPattern::parse(bad));
}

TEST_CASE("A list in hosts form or with one name a line is read and odd lines are counted") {
    Blocklist list;
    CHECK(list.add_hosts("# Title: a list\r\n"
                         "127.0.0.1 localhost\n"
                         "::1 ip6-localhost ip6-loopback\n"
                         "0.0.0.0 0.0.0.0\n"
                         "\n"
                         "0.0.0.0 ads.example Tracker.example # why\r\n"
                         ":: six.example\n"
                         "plain.example\n"
                         "*.wild.example\n"
                         ".both.example\n"
                         "! a comment of another kind\n"
                         "0.0.0.0\n"
                         "0.0.0.0 a..b fine.example\n"
                         "last.example") == 2);
    list.finish();
    for (const char* blocked : {"ads.example", "tracker.EXAMPLE", "six.example", "plain.example", "both.example",
                                "fine.example", "last.example"}) {
        CAPTURE(blocked);
        CHECK(find(list, blocked) == 0);
    }
    CHECK(find(list, "x.wild.example") == 1);
    CHECK(find(list, "y.x.wild.example") == 2);
    CHECK(find(list, "x.both.example") == 1);
    for (const char* fine : {"localhost", "ip6-loopback", "wild.example", "x.ads.example", "example", "a", "0.0.0.0"})
        CHECK_FALSE(find(list, fine));
}

TEST_CASE("An unfinished or empty list finds nothing") {
    Blocklist list;
    CHECK_FALSE(find(list, "a"));
    list.add(*DomainPattern::parse("a"));
    CHECK_FALSE(find(list, "a"));
    list.finish();
    CHECK(find(list, "a") == 0);
    Blocklist empty;
    empty.finish();
    CHECK_FALSE(find(empty, "a"));
    CHECK_FALSE(empty.find(Suffixes(Name{})));
}

TEST_CASE("A list of a million names takes about nine bytes a name and finds all and only them") {
    std::string text;
    text.reserve(32'000'000);
    for (int i = 0; i < 1'000'000; ++i) text += "0.0.0.0 ads" + std::to_string(i) + ".example.com\n";
    Blocklist list;
    CHECK(list.add_hosts(text) == 0);
    CHECK(list.add_hosts(text.substr(0, text.rfind('\n', 1'000'000))) == 0);  // some of them twice
    std::size_t pieces = 1;
    while (list.finish_some()) ++pieces;
    CHECK(pieces > 500);
    CHECK(list.size() == 1'000'000);
    CHECK(list.bytes() < 9'000'000);
    for (int i = 0; i < 1'000'000; i += 997) CHECK(find(list, "ads" + std::to_string(i) + ".example.com") == 0);
    for (int i = 0; i < 1000; ++i) CHECK_FALSE(find(list, "ad" + std::to_string(i) + ".example.com"));
}
