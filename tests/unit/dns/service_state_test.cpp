// What changes while the service runs, and what it tells about itself.

#include "tests/unit/dns/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace vmrouter::dns::test;
using namespace std::chrono_literals;

TEST_CASE("a reconfiguration in flight answers those who wait") {
    Lab lab(2);
    const auto other = lab.config.upstreams[1];
    lab.config.upstreams.pop_back();
    lab.config.routes = {{*Name::parse("corp.example"), {other}}};
    lab.server(1).be_silent();
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({.name = "a.corp.example"}));
    lab.run(50ms);
    CHECK(lab.service->counters().outstanding == 1);
    lab.config.routes.clear();
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.answer(guest, 500ms)) == 2);
    CHECK(lab.service->counters().outstanding == 0);
}

TEST_CASE("an answer that comes after its name got a way of its own is not kept, nor joined") {
    Lab lab(2);
    const auto other = lab.config.upstreams[1];
    lab.config.upstreams.pop_back();
    lab.server(0).be_slow(300ms);
    lab.start();
    Guest early{lab.port};
    early.send(make_query({.name = "a.corp.example", .id = 1}));
    Guest elsewhere{lab.port};
    elsewhere.send(make_query({.name = "a.example", .id = 2}));
    lab.run(50ms);
    lab.config.routes = {{*Name::parse("corp.example"), {other}}};
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask({.name = "a.corp.example"})) == 0);
    CHECK(lab.server(1).questions == 1);
    CHECK(lab.service->counters().outstanding == 2);
    CHECK(id(lab.answer(early)) == 1);
    CHECK(id(lab.answer(elsewhere)) == 2);
    CHECK(lab.service->counters().outstanding == 0);
    lab.ask({.name = "a.corp.example"});
    lab.ask({.name = "a.example"});
    CHECK(lab.server(0).questions == 2);
    CHECK(lab.server(1).questions == 1);
}

TEST_CASE("new upstreams make the cache forget and other changes do not") {
    Lab lab(2);
    const auto other = lab.config.upstreams[1];
    lab.config.upstreams.pop_back();
    lab.start();
    lab.ask();
    lab.config.local.own_name = "gateway";
    lab.service->reconfigure(lab.config);
    lab.ask();
    CHECK(lab.server(0).questions == 1);
    CHECK(!lab.service->set_upstreams(lab.config.upstreams));
    CHECK(lab.service->set_upstreams({other}));
    lab.ask();
    CHECK(lab.server(1).questions == 1);
}

TEST_CASE("statistics names report the upstreams") {
    Lab lab;
    lab.start();
    lab.ask();
    const auto packet = lab.ask({.name = "servers.bind", .type = Type::Txt, .klass = Class::Chaos});
    CHECK(answers(packet) == 1);
    const std::string text{packet.begin(), packet.end()};
    CHECK(text.find("127.0.0.1#") != std::string::npos);
    CHECK(rcode(lab.ask({.name = "version.bind", .type = Type::Txt, .klass = Class::Chaos})) == 5);
}

TEST_CASE("an exporter's seven questions are answered in one message") {
    Lab lab;
    lab.start();
    lab.ask();
    Packet packet = make_query({.name = "cachesize.bind", .type = Type::Txt, .klass = Class::Chaos});
    for (const char* name : {"hits.bind", "servers.bind"}) {
        const auto more = make_query({.name = name, .type = Type::Txt, .klass = Class::Chaos});
        packet.insert(packet.end(), more.begin() + 12, more.end());
        ++packet[5];
    }
    Guest guest{lab.port};
    guest.send(packet);
    const auto reply = lab.answer(guest);
    CHECK(rcode(reply) == 0);
    CHECK(answers(reply) == 3);
    CHECK(std::string{reply.begin(), reply.end()}.find("127.0.0.1#") != std::string::npos);
    Stream stream{lab.port};
    stream.send(framed(packet));
    CHECK(answers(lab.answer(stream)) == 3);
}

TEST_CASE("ports that are taken are an error that says so") {
    const auto first = open_udp_socket(our_address, "lo", 0);
    REQUIRE(first);
    const auto second = open_udp_socket(our_address, "lo", port_of(first->get()));
    REQUIRE(!second);
    CHECK(second.error().hint.find("another DNS server") != std::string::npos);
    FileDescriptor wildcard{::socket(AF_INET, SOCK_DGRAM, 0)};
    const auto any = address(Ipv4{}, 0);
    REQUIRE(::bind(wildcard.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0);
    CHECK(!open_udp_socket(our_address, "lo", port_of(wildcard.get())));
    CHECK(!open_udp_socket(our_address, "no-such-if", 0));
}

TEST_CASE("the listeners can be replaced while questions are out") {
    Lab lab;
    lab.server().be_slow(100ms);
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({}));
    Stream stream{lab.port};
    stream.send(framed(make_query({.name = "tcp.example.com"})));
    lab.run(30ms);
    auto [udp, tcp] = lab.open_sockets();
    lab.service->replace_sockets(std::move(udp), std::move(tcp));
    lab.run(150ms);
    stream.receive();
    CHECK(stream.closed);
    CHECK(answers(lab.ask()) == 1);
    Stream again{lab.port};
    again.send(framed(make_query({})));
    CHECK(answers(lab.answer(again)) == 1);
    CHECK(lab.service->counters().outstanding == 0);
}

TEST_CASE("upstreams and guests are told about") {
    Lab lab{2};
    lab.server(0).be_silent();
    lab.start();
    CHECK(lab.service->upstreams()[1].rtt == 0ms);
    CHECK(lab.service->guests().empty());
    CHECK(answers(lab.ask()) == 1);
    CHECK(answers(lab.ask({.name = "b.example.com"})) == 1);
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    other.send(make_query({.name = "c.example.com"}));
    CHECK(answers(lab.answer(other)) == 1);

    const auto upstreams = lab.service->upstreams();
    REQUIRE(upstreams.size() == 2);
    CHECK(upstreams[0].health != Health::Up);
    CHECK(!upstreams[0].since_answer);
    CHECK(upstreams[0].answers == 0);
    CHECK(upstreams[1].health == Health::Up);
    CHECK(upstreams[1].queries == 3);
    CHECK(upstreams[1].answers == 3);
    CHECK(upstreams[1].failures == 0);
    REQUIRE(upstreams[1].since_answer);
    CHECK(*upstreams[1].since_answer < 5s);
    CHECK(upstreams[1].rtt > 0ms);
    CHECK(lab.run_until([&] { return lab.service->upstreams()[0].failures == 1; }, 8s));  // silence is only known late

    const auto guests = lab.service->guests();
    REQUIRE(guests.size() == 2);
    CHECK(guests[0].guest == Ipv4{127, 0, 66, 2});
    CHECK(guests[0].queries == 2);
    CHECK(guests[1].queries == 1);
    CHECK(guests[1].outstanding == 0);
}

TEST_CASE("the name that a guest resolved to an address is remembered, wherever the answer came from") {
    Lab lab;
    lab.start();
    const Ipv4 guest{127, 0, 66, 2};
    const Ipv4 address{192, 0, 2, 1};
    CHECK(!lab.service->name_for(guest, address));
    lab.ask({.name = "one.example.com"});
    REQUIRE(lab.service->name_for(guest, address));
    CHECK(to_string(lab.service->name_for(guest, address)->name) == "one.example.com");
    CHECK(!lab.service->name_for(Ipv4{127, 0, 66, 3}, address));
    lab.ask({.name = "two.example.com"});
    lab.ask({.name = "one.example.com"});  // from the cache
    CHECK(to_string(lab.service->name_for(guest, address)->name) == "one.example.com");
    CHECK(lab.service->name_for(guest, address)->ago < 5s);
    lab.ask({.name = "vm1.vm.internal"});
    CHECK(to_string(lab.service->name_for(guest, Ipv4{127, 0, 66, 2})->name) == "vm1.vm.internal");
}
