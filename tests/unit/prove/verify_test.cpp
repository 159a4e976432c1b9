#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/commands/verify_rules.hpp"
#include "src/commands/verify_session.hpp"

using namespace vmrouter;
using namespace vmrouter::proof;

namespace {

const MacAddress alice{{2, 0, 0, 0, 0, 1}};
const MacAddress router{{2, 0, 0, 0, 0, 9}};
const Path path{alice, router, Ipv4{192, 168, 100, 5}, Ipv4{198, 51, 100, 10}};

Situation laptop() {
    Situation s;
    s.subject.interface = "virbr10";
    s.subject.address = *Cidr::parse("192.168.100.1/24");
    s.subject.uplinks = {"eth0"};
    s.subject.gateways = {Ipv4{192, 168, 1, 1}};
    s.subject.lan = {*Cidr::parse("192.168.1.0/24"), *Cidr::parse("203.0.113.0/24")};
    s.subject.domain = "vm.internal";
    s.router = router;
    s.first = {alice, Ipv4{192, 168, 100, 5}};
    s.second = Host{{{2, 0, 0, 0, 0, 2}}, Ipv4{192, 168, 100, 6}};
    s.neighbours = {{"eth0", Ipv4{192, 168, 1, 50}}, {"eth1", Ipv4{203, 0, 113, 50}}};
    s.host_addresses = {{"eth0", Ipv4{192, 168, 1, 2}}};
    s.services = {{true, 22}, {true, 8080}, {false, 5353}};
    s.target = Ipv4{198, 51, 100, 10};
    s.session = 1000;
    s.outside = "eth0";
    s.outside_address = Ipv4{192, 168, 1, 2};
    return s;
}

/// What an isolating machine makes of each probe.
Outcome as_wanted(const Probe& probe) {
    Outcome out;
    out.sent = true;
    switch (probe.expect) {
        case Expect::Answer:
        case Expect::Redirect:
            out.reply = Reply::Kind::Data;
            break;
        case Expect::Leaves:
            out.seen = {{Sighting::Where::Left, "eth0", Ipv4{192, 168, 1, 2}}};
            break;
        case Expect::Reaches:
            out.seen = {{probe.from == From::Guest ? Sighting::Where::Second : Sighting::Where::First, {}, {}}};
            break;
        case Expect::Machine:
            out.seen = {{Sighting::Where::Machine, {}, {}}};
            break;
        case Expect::Nothing:
            break;
    }
    return out;
}

std::vector<Outcome> outcomes_of(const std::vector<Probe>& probes) {
    std::vector<Outcome> outcomes;
    for (const auto& probe : probes) outcomes.push_back(as_wanted(probe));
    return outcomes;
}

std::size_t find(const std::vector<Probe>& probes, const std::string& group, const std::string& what) {
    const auto found = std::find_if(probes.begin(), probes.end(), [&](const Probe& one) {
        return one.group == group && one.what.find(what) != std::string::npos;
    });
    REQUIRE(found != probes.end());
    return static_cast<std::size_t>(found - probes.begin());
}

Row row_of(const std::vector<Row>& rows, const Probe& probe) {
    const auto found = std::find_if(
        rows.begin(), rows.end(), [&](const Row& row) { return row.group == probe.group && row.tried == probe.what; });
    REQUIRE(found != rows.end());
    return *found;
}

}  // namespace

TEST_CASE("A token is found in every kind of frame, also behind tags") {
    const auto text = token_text(0xcafe0001);
    const Bytes payload{reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
    const auto udp = udp_frame(path, 40000, 9, payload);
    CHECK(find_token(Bytes(udp).subspan(14), ethertype_ip4).text == 0xcafe0001);
    CHECK(find_token(Bytes(udp).subspan(14), ethertype_ip4).source == path.source);
    CHECK(find_token(Bytes(icmp_frame(path, 8, 1, 1, payload)).subspan(14), ethertype_ip4).text == 0xcafe0001);
    CHECK(find_token(Bytes(tcp_frame(path, 1, 2, 0xcafe0001, 0, tcp_flag::syn)).subspan(14), ethertype_ip4).sequence ==
          0xcafe0001);
    CHECK_FALSE(
        find_token(Bytes(tcp_frame(path, 1, 2, 0xcafe0001, 0, tcp_flag::reset)).subspan(14), ethertype_ip4).sequence);
    CHECK(find_token(Bytes(tagged(udp, {0x88a8, 0x8100})).subspan(14), 0x88a8).text == 0xcafe0001);
    CHECK(find_token(Bytes(arp_frame(alice, router, {2, alice, {}, router, {}}, 0xcafe0001)).subspan(14), ethertype_arp)
              .text == 0xcafe0001);
    CHECK_FALSE(find_token({}, ethertype_ip4).text);
}

TEST_CASE("Answers are told apart by the port that the probe came from; nothing runs past the end") {
    const Ipv4 guest{192, 168, 100, 5};
    const Path back{router, alice, path.destination, guest};
    const auto syn_ack = tcp_frame(back, 80, 40001, 7, 8, tcp_flag::syn | tcp_flag::ack);
    CHECK(parse_reply(Bytes(syn_ack).subspan(14), guest)->kind == Reply::Kind::SynAck);
    CHECK(parse_reply(Bytes(syn_ack).subspan(14), guest)->port == 40001);
    CHECK(parse_reply(Bytes(syn_ack).subspan(14), guest)->service == 80);
    const auto reset = tcp_frame(back, 80, 40001, 7, 8, tcp_flag::reset);
    CHECK(parse_reply(Bytes(reset).subspan(14), guest)->kind == Reply::Kind::Reset);
    const auto probe = udp_frame(path, 40002, 9, {});
    const auto error = icmp_frame(back, 3, 0, 0, Bytes(probe).subspan(14));
    CHECK(parse_reply(Bytes(error).subspan(14), guest)->kind == Reply::Kind::Error);
    CHECK(parse_reply(Bytes(error).subspan(14), guest)->port == 40002);
    CHECK_FALSE(parse_reply(Bytes(error).subspan(14), Ipv4{192, 168, 100, 6}));
    for (const auto* frame : {&syn_ack, &reset, &error})
        for (std::size_t size = 0; size + 14 < frame->size(); ++size) {
            const std::vector<std::uint8_t> part(frame->begin() + 14,
                                                 frame->begin() + 14 + static_cast<std::ptrdiff_t>(size));
            static_cast<void>(parse_reply(part, guest));
            static_cast<void>(find_token(part, ethertype_ip4));
            static_cast<void>(find_token(part, ethertype_ip6));
            static_cast<void>(parse_arp(part));
        }
}

TEST_CASE("A DNS answer's addresses are read, and truncated ones are none") {
    // id, QR RD RA, 1 question, 1 answer; www.example.net A -> 198.51.100.10, by pointer
    const auto hex = parse_hex(
        "1234 8180 0001 0001 0000 0000 03 777777 07 6578616d706c65 03 6e6574 00 0001 0001"
        "c00c 0001 0001 0000012c 0004 c633640a");
    REQUIRE(hex);
    const auto& answer = *hex;
    REQUIRE(parse_dns(answer));
    CHECK(parse_dns(answer)->id == 0x1234);
    CHECK(parse_dns(answer)->addresses == std::vector{Ipv4{198, 51, 100, 10}});
    for (std::size_t size = 0; size < answer.size(); ++size)
        CHECK_FALSE(
            parse_dns(std::vector<std::uint8_t>(answer.begin(), answer.begin() + static_cast<std::ptrdiff_t>(size))));
    CHECK(dns_query(1, "a..b").empty());
    CHECK(dns_query(1, std::string(64, 'a')).empty());
}

TEST_CASE("Everything that the issue names is tried, and nothing surprises on a machine that isolates") {
    const auto s = laptop();
    const auto probes = make_probes(s);
    const auto rows = judge(s, probes, outcomes_of(probes));
    for (const char* group :
         {"internet", "DNS", "LAN", "this machine", "IPv6", "forged", "guests", "layer 2", "outside"})
        CHECK(std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.group == group; }));
    for (const auto& row : rows) {
        INFO(row.group << ' ' << row.tried << ": " << row.happened);
        CHECK(row.verdict == Verdict::Ok);
    }
}

TEST_CASE("Whatever shows up where it should not is a surprise, wherever it shows up") {
    const auto s = laptop();
    const auto probes = make_probes(s);
    for (std::size_t i = 0; i < probes.size(); ++i) {
        if (probes[i].expect != Expect::Nothing) continue;
        auto outcomes = outcomes_of(probes);
        const bool guest = probes[i].from == From::Guest;
        outcomes[i].seen = {guest ? Sighting{Sighting::Where::Left, "eth1", Ipv4{203, 0, 113, 2}}
                                  : Sighting{Sighting::Where::First, {}, {}}};
        INFO(probes[i].group << ' ' << probes[i].what);
        CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Surprise);
        outcomes[i].seen = {};
        if (!guest) continue;
        outcomes[i].reply = Reply::Kind::SynAck;
        CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Surprise);
        outcomes[i].reply = Reply::Kind::Reset;
        CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Ok);
        outcomes[i].sent = false;
        CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Unproven);
    }
}

TEST_CASE("Whatever must get through and does not is a surprise") {
    const auto s = laptop();
    const auto probes = make_probes(s);
    for (std::size_t i = 0; i < probes.size(); ++i) {
        if (probes[i].expect == Expect::Nothing || probes[i].control) continue;
        auto outcomes = outcomes_of(probes);
        for (std::size_t j = 0; j < probes.size(); ++j)
            if (probes[j].group == probes[i].group && probes[j].what == probes[i].what) outcomes[j] = {true, {}, {}};
        INFO(probes[i].group << ' ' << probes[i].what);
        CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Surprise);
    }
}

TEST_CASE("A guest's own address outside, and a way that is no uplink, are surprises") {
    const auto s = laptop();
    const auto probes = make_probes(s);
    const auto i = find(probes, "internet", "UDP");
    auto outcomes = outcomes_of(probes);
    outcomes[i].seen = {{Sighting::Where::Left, "eth0", s.first.address}};
    CHECK(row_of(judge(s, probes, outcomes), probes[i]).happened.find("own address") != std::string::npos);
    CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Surprise);
    outcomes[i].seen = {{Sighting::Where::Left, "eth1", Ipv4{203, 0, 113, 2}}};
    CHECK(row_of(judge(s, probes, outcomes), probes[i]).verdict == Verdict::Surprise);
}

TEST_CASE("Silence from outside proves nothing when the control is not seen") {
    const auto s = laptop();
    const auto probes = make_probes(s);
    auto outcomes = outcomes_of(probes);
    const auto control = find(probes, "outside", "control");
    outcomes[control].seen = {};
    const auto rows = judge(s, probes, outcomes);
    CHECK(row_of(rows, probes[control]).verdict == Verdict::Unproven);
    CHECK(row_of(rows, probes[find(probes, "outside", "to a guest")]).verdict == Verdict::Unproven);
}

TEST_CASE("The configuration turns what is expected") {
    auto s = laptop();
    s.subject.internet = false;
    CHECK(make_probes(s)[0].expect == Expect::Nothing);
    s = laptop();
    s.subject.isolate_guests = true;
    auto probes = make_probes(s);
    CHECK(probes[find(probes, "guests", "guest to guest")].expect == Expect::Nothing);
    s = laptop();
    s.subject.open_ports = {"tcp/8080"};
    probes = make_probes(s);
    CHECK(probes[find(probes, "this machine", "opened")].name == "tcp/8080");
    s = laptop();
    s.subject.allow = {*Cidr::parse("192.168.1.50/32")};
    probes = make_probes(s);
    for (const auto& probe : probes)
        if (probe.group == "LAN") CHECK(probe.target != Ipv4{192, 168, 1, 50});
    s.subject.lan_blocked = false;
    probes = make_probes(s);
    CHECK(std::none_of(probes.begin(), probes.end(), [](const Probe& one) { return one.what == "192.168.1.0/24"; }));
}

TEST_CASE("What an instance says of itself survives the control socket") {
    auto subject = laptop().subject;
    subject.instance = "virbr10";
    subject.settings = {{"net/ipv4/conf/virbr10/forwarding", "1", false}};
    subject.ruleset = "table inet x {\n}\n";
    subject.upstreams = {"192.168.0.1:53"};
    const auto back = subject_from_json(to_json(subject));
    REQUIRE(back);
    CHECK(*back == subject);
    CHECK_FALSE(subject_from_json(nlohmann::json{{"instance", 7}}));
    CHECK_FALSE(subject_from_json(nlohmann::json::array()));
}

TEST_CASE("A missing, an added, a moved rule and another set are told, each by its place") {
    const Listing wanted{
        "inet t",
        "table inet t {\n\tchain a {\n\t\tip daddr 10.0.0.0/8 drop\n\t\taccept\n\t}\n\tchain b {\n\t\tdrop\n\t}\n}",
        {{"vm_lan", "\"10.0.0.0\"\n"}}};
    CHECK(compare_tables({wanted}, {wanted}).front().verdict == Verdict::Ok);
    auto found = wanted;
    found.rules.replace(found.rules.find("\t\tip daddr"), 26, "");
    auto rows = compare_tables({wanted}, {found});
    REQUIRE(rows.size() == 1);
    CHECK(rows[0].tried == "inet t chain a");
    CHECK(rows[0].happened == "line 1 is missing: ip daddr 10.0.0.0/8 drop");
    found = wanted;
    found.rules.insert(found.rules.find("\t\taccept"), "\t\tip saddr 1.2.3.4 accept\n");
    CHECK(compare_tables({wanted}, {found})[0].happened == "somebody added: ip saddr 1.2.3.4 accept");
    found = wanted;
    found.rules =
        "table inet t {\n\tchain a {\n\t\taccept\n\t\tip daddr 10.0.0.0/8 drop\n\t}\n\tchain b {\n\t\tdrop\n\t}\n}";
    CHECK(compare_tables({wanted}, {found})[0].happened == "the order is another one");
    found = wanted;
    found.sets[0].second = "";
    CHECK(compare_tables({wanted}, {found})[0].tried == "inet t set vm_lan");
    CHECK(compare_tables({wanted}, {Listing{"inet t", "", {}}}).size() == 2);
}

TEST_CASE("Services and neighbours are read from /proc") {
    const auto tcp = services_of(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1\n"
        "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2\n"
        "   2: 0201A8C0:C001 0101A8C0:01BB 01 00000000:00000000 00:00000000 00000000     0        0 3\n",
        true);
    CHECK(tcp == std::vector<Service>{{true, 22}});
    const auto places = neighbours_of(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.1.50     0x1         0x2         52:54:00:00:00:50     *        eth0\n"
        "192.168.1.77     0x1         0x0         00:00:00:00:00:00     *        eth0\n");
    REQUIRE(places.size() == 1);
    CHECK(places[0].address == Ipv4{192, 168, 1, 50});
    CHECK(places[0].interface == "eth0");
}
