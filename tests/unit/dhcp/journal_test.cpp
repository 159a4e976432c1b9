#include "dhcp/journal.hpp"

#include <catch2/catch.hpp>

#include "src/base/text.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

Lease lease(std::uint8_t last, std::string name = "vm1") {
    Lease result;
    result.address = Ipv4(192, 168, 100, last);
    result.hardware = HardwareAddress(*MacAddress::parse("52:54:00:12:34:56"));
    result.client_id = {0xff, 0x0a, 0x0b, 0x0c};
    result.name = std::move(name);
    result.expires = Time{Milliseconds{1795346423123}};
    result.last_seen = Time{Seconds{1795342823}};
    return result;
}

/// What a file keeps of a lease.
Lease as_read(Lease lease) {
    lease.supplied_missing = true;
    return lease;
}

std::string sample() {
    Lease reserved = lease(24, "web");
    reserved.name_reserved = true;
    reserved.expires.reset();
    reserved.client_id.clear();
    return journal_header() + journal_line(lease(23)) + journal_line(reserved) +
           journal_removal(Ipv4(192, 168, 100, 23));
}

}  // namespace

TEST_CASE("A journal line holds a lease and its check value") {
    CHECK(journal_line(lease(23)) ==
          "+ 192.168.100.23 bound 1795346423123 52:54:00:12:34:56 ff0a0b0c vm1 1795342823 11af02f4\n");
    Lease relayed = lease(23);
    relayed.supplied.relay = Ipv4(192, 168, 100, 66);
    CHECK(journal_line(relayed).find(" vm1 1795342823 192.168.100.66 ") != std::string::npos);
    CHECK(parse_journal(journal_header() + journal_line(relayed)).records.at(0).lease == as_read(relayed));
    CHECK(journal_removal(Ipv4(192, 168, 100, 23)) == "- 192.168.100.23 5846cfb9\n");
    CHECK(journal_header() == "vmrouter-journal 1 30664cef\n");
}

TEST_CASE("One exchange appends at most 150 bytes") {
    Lease largest = lease(200, std::string(20, 'n'));
    largest.client_id.assign(19, 0xff);  // a DUID with its IAID, what Linux guests send
    CHECK(journal_line(largest).size() <= 150);
}

TEST_CASE("What is written to a journal is read back") {
    Lease odd = lease(25, "");
    odd.state = LeaseState::Declined;
    odd.hardware = HardwareAddress(6, Bytes(odd.hardware.bytes).first(8));
    Lease anonymous = lease(26, "");
    anonymous.hardware = HardwareAddress(1, Bytes{});
    const auto content = parse_journal(sample() + journal_line(odd) + journal_line(anonymous));
    CHECK(content.complete);
    CHECK(content.bad.empty());
    REQUIRE(content.records.size() == 5);
    CHECK(content.records[0] == JournalRecord{Ipv4(192, 168, 100, 23), as_read(lease(23))});
    CHECK(content.records[1].lease->name == "web");
    CHECK(content.records[1].lease->name_reserved);
    CHECK_FALSE(content.records[1].lease->expires);
    CHECK(content.records[2] == JournalRecord{Ipv4(192, 168, 100, 23), std::nullopt});
    CHECK(content.records[3].lease == as_read(odd));
    CHECK(content.records[4].lease == as_read(anonymous));
}

TEST_CASE("A journal that is cut at any byte loses nothing but the line that was cut") {
    const std::string whole = sample();
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        const auto content = parse_journal(whole.substr(0, size));
        std::size_t lines = 0;
        for (std::size_t i = 0; i < size; ++i) lines += whole[i] == '\n' ? 1 : 0;
        // A line without its newline is whole all the same.
        const bool whole_line = size > 0 && size < whole.size() && whole[size] == '\n';
        const bool torn = size > 0 && whole[size - 1] != '\n' && !whole_line;
        CHECK(content.bad.size() == (torn ? 1 : 0));
        if (torn) {
            CHECK(content.bad[0].number == lines + 1);
            CHECK(content.bad[0].why == "the line ends before its end");
        }
        lines += whole_line ? 1 : 0;
        CHECK(content.complete == (lines > 0));
        CHECK(content.records.size() == (lines == 0 ? 0 : lines - 1));
    }
}

TEST_CASE("A journal with one bit wrong loses that line alone") {
    const std::string whole = sample();
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            const auto content = parse_journal(damaged);
            REQUIRE(content.bad.size() >= 1);
            REQUIRE(content.bad.size() <= 2);  // a newline that came or went makes two lines of one, or one of two
            REQUIRE(content.records.size() + (content.complete ? 1 : 0) >= 2);
        }
    }
}

TEST_CASE("Foreign lines and zeros in a journal are kept with their numbers") {
    const auto content =
        parse_journal(journal_header() + "hello\n" + std::string(5000, '\0') + "\n" + journal_line(lease(23)) + "\n");
    CHECK(content.records.size() == 1);
    REQUIRE(content.bad.size() == 3);
    CHECK(content.bad[0] == BadLine{2, "hello", "the check value is wrong"});
    CHECK(content.bad[1].number == 3);
    CHECK(content.bad[1].text.size() == 4096);
    CHECK(content.bad[2] == BadLine{5, "", "the check value is wrong"});
}

TEST_CASE("Offers are not written and an offer over an ended lease ends it on disk") {
    AppliedChange offered;
    offered.cause = Cause::Offer;
    offered.address = Ipv4(192, 168, 100, 23);
    offered.after = lease(23);
    offered.after->state = LeaseState::Offered;
    AppliedChange bound = offered;
    bound.cause = Cause::Bind;
    bound.before = offered.after;
    bound.after = lease(23);
    AppliedChange released;
    released.cause = Cause::Release;
    released.address = bound.address;
    released.before = bound.after;
    const std::vector<AppliedChange> changes{offered, bound, released};
    CHECK(journal_lines(changes) == journal_line(lease(23)) + journal_removal(bound.address));
}
