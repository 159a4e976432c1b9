#include "dns/service.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>

#include "tests/support/scripted_upstream.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

namespace {

// Guests of these tests are 127.0.66.2 and following; we are 127.0.66.1 on the loopback device.
constexpr Ipv4 our_address{127, 0, 66, 1};

class FakeNames final : public Names {
public:
    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override {
        const auto found = guests.find(std::string{label});
        return found == guests.end() ? std::nullopt : std::optional{Guest{found->second, false}};
    }
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override {
        for (const auto& [name, where] : guests) {
            if (where == address) return name;
        }
        return {};
    }
    std::map<std::string, Ipv4> guests{{"vm1", Ipv4{127, 0, 66, 2}}};
};

class FakeObserver final : public Observer {
public:
    [[nodiscard]] bool wants_queries() const override { return true; }
    void answered(const QueryEvent& event) override {
        events.push_back(to_string(event.client) + (event.tcp ? " tcp " : " ") + to_string(event.question.name) + " " +
                         to_string(event.question.type) + " " + to_string(event.rcode) + " " +
                         std::string{to_string(event.source)});
    }
    void upstream_changed(const Endpoint&, Health, Health now) override { health.push_back(now); }
    void removed(Ipv4 client, const dns::Question& question, const Answer&) override {
        rebound.push_back(to_string(client) + " " + to_string(question.name));
    }
    bool resolved(const Name&, std::span<const ResolvedAddress> addresses, std::function<void()> then) override {
        for (const auto& one : addresses) reached.push_back(one.address);
        if (!slow) return true;
        held.push_back(std::move(then));
        return false;
    }
    std::vector<std::string> events;
    std::vector<Health> health;
    std::vector<std::string> rebound;
    std::vector<Ipv4> reached;
    std::vector<std::function<void()>> held;
    bool slow = false;
};

sockaddr_in address(Ipv4 ip, std::uint16_t port) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(ip.value);
    return in;
}

std::uint16_t port_of(int fd) {
    sockaddr_in in{};
    socklen_t size = sizeof in;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
    return ntohs(in.sin_port);
}

struct Ask {
    std::string name = "www.example.com";
    Type type = Type::A;
    std::uint16_t id = 7;
    bool edns = false;
    std::uint16_t udp_size = 1232;
    Class klass = Class::In;
};

Packet make_query(const Ask& ask) {
    Packet packet(600);
    Writer writer{packet};
    writer.u16(ask.id);
    writer.u16(0x0100);
    writer.u16(1);
    writer.u32(0);
    writer.u16(ask.edns ? 1 : 0);
    writer.bytes(Name::parse(ask.name)->wire());
    writer.u16(static_cast<std::uint16_t>(ask.type));
    writer.u16(static_cast<std::uint16_t>(ask.klass));
    if (ask.edns) {
        writer.u8(0);
        writer.u16(41);
        writer.u16(ask.udp_size);
        writer.u32(0);
        writer.u16(0);
    }
    packet.resize(writer.position());
    return packet;
}

Packet framed(Packet packet) {
    packet.insert(packet.begin(),
                  {static_cast<std::uint8_t>(packet.size() >> 8), static_cast<std::uint8_t>(packet.size())});
    return packet;
}

int rcode(const Packet& packet) {
    return packet.size() > 3 ? packet[3] & 15 : -1;
}
int id(const Packet& packet) {
    return packet.size() > 1 ? packet[0] << 8 | packet[1] : -1;
}
int answers(const Packet& packet) {
    return packet.size() > 7 ? packet[6] << 8 | packet[7] : -1;
}

/// A guest's UDP socket.
class Guest {
public:
    explicit Guest(std::uint16_t server_port, Ipv4 ip = Ipv4{127, 0, 66, 2})
        : fd_(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
        const auto own = address(ip, 0);
        REQUIRE(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
        const auto server = address(our_address, server_port);
        REQUIRE(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) == 0);
        const int size = 4 << 20;
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    }
    void send(const Packet& packet) { ::send(fd_.get(), packet.data(), packet.size(), 0); }
    std::optional<Packet> receive() {
        Packet packet(65536);
        const auto size = ::recv(fd_.get(), packet.data(), packet.size(), 0);
        if (size < 0) return std::nullopt;
        packet.resize(static_cast<std::size_t>(size));
        return packet;
    }

private:
    FileDescriptor fd_;
};

/// A guest's TCP connection.
class Stream {
public:
    explicit Stream(std::uint16_t server_port, Ipv4 ip = Ipv4{127, 0, 66, 2}) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        const auto own = address(ip, 0);
        ::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own);
        const auto server = address(our_address, server_port);
        connected = ::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof server) == 0;
    }
    ssize_t send(const Packet& packet) {
        return ::send(fd_.get(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    void finish() { ::shutdown(fd_.get(), SHUT_WR); }
    /// The next whole message, if it has come.
    std::optional<Packet> receive() {
        std::array<std::uint8_t, 65536> buffer;
        while (true) {
            const auto size = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
            if (size == 0 || (size < 0 && errno != EAGAIN)) closed = true;
            if (size <= 0) break;
            in_.insert(in_.end(), buffer.begin(), buffer.begin() + size);
        }
        if (in_.size() < 2) return std::nullopt;
        const auto size = static_cast<std::size_t>(in_[0] << 8 | in_[1]);
        if (in_.size() < size + 2) return std::nullopt;
        Packet packet(in_.begin() + 2, in_.begin() + 2 + static_cast<std::ptrdiff_t>(size));
        in_.erase(in_.begin(), in_.begin() + 2 + static_cast<std::ptrdiff_t>(size));
        return packet;
    }
    bool connected = false;
    bool closed = false;

private:
    FileDescriptor fd_;
    Packet in_;
};

struct Lab {
    asio::io_context io;
    SystemRandom random;
    FakeNames names;
    FakeObserver observer;
    std::vector<std::unique_ptr<ScriptedUpstream>> servers;
    ServiceConfig config;
    std::optional<Service> service;
    std::uint16_t port = 0;

    explicit Lab(std::size_t upstreams = 1) {
        for (std::size_t i = 0; i < upstreams; ++i) {
            servers.push_back(std::make_unique<ScriptedUpstream>(io));
            config.upstreams.push_back(servers.back()->endpoint);
        }
        config.local.domain = *Name::parse("vm.internal");
        config.local.segment = Cidr{our_address, 24};
        config.local.own_name = "router";
    }
    void start() {
        auto udp = open_udp_socket(our_address, "lo", 0);
        REQUIRE(udp);
        port = port_of(udp->get());
        auto tcp = open_tcp_socket(our_address, "lo", port);
        REQUIRE(tcp);
        service.emplace(io.get_executor(), std::move(*udp), std::move(*tcp), config, names, observer, random);
        PrefixSet blocked = always_blocked();
        blocked.finish();
        service->set_blocked(blocked);
        service->start();
        run(20ms);  // the loop probes
    }
    ScriptedUpstream& server(std::size_t i = 0) { return *servers[i]; }
    void run(std::chrono::milliseconds time) {
        io.restart();
        io.run_for(time);
    }
    template <class Condition>
    bool run_until(Condition condition, std::chrono::milliseconds limit = 6000ms) {
        const auto end = Steady::now() + limit;
        io.restart();
        while (Steady::now() < end) {
            if (condition()) return true;
            io.run_one_for(20ms);
        }
        return false;
    }
    template <class Socket>
    Packet answer(Socket& socket, std::chrono::milliseconds limit = 6000ms) {
        std::optional<Packet> packet;
        run_until([&] { return (packet = socket.receive()).has_value(); }, limit);
        return packet.value_or(Packet{});
    }
    Packet ask(const Ask& what = {}) {
        Guest guest{port};
        guest.send(make_query(what));
        return answer(guest);
    }
};

}  // namespace

TEST_CASE("a query is forwarded once and then answered from the cache with its TTL aged") {
    Lab lab;
    lab.start();
    const auto first = lab.ask({.name = "Www.Example.COM", .id = 99});
    CHECK(id(first) == 99);
    CHECK(answers(first) == 1);
    CHECK(std::memcmp(first.data() + 13, "Www", 3) == 0);
    const auto second = lab.ask({.name = "wWW.example.com", .id = 100});
    CHECK(id(second) == 100);
    CHECK(std::memcmp(second.data() + 13, "wWW", 3) == 0);
    CHECK(lab.server().questions == 1);
    const auto counters = lab.service->counters();
    CHECK(counters.queries == 2);
    CHECK(counters.cached == 1);
    CHECK(counters.forwarded == 1);
    CHECK(lab.observer.events == std::vector<std::string>{"127.0.66.2 Www.Example.COM A NOERROR upstream",
                                                          "127.0.66.2 wWW.example.com A NOERROR cache"});
}

TEST_CASE("guests and special names are answered here") {
    Lab lab;
    lab.start();
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
    CHECK(answers(lab.ask({.name = "vm1.vm.internal"})) == 1);
    CHECK(answers(lab.ask({.name = "2.66.0.127.in-addr.arpa", .type = Type::Ptr})) == 1);
    CHECK(rcode(lab.ask({.name = "nobody.vm.internal"})) == 3);
    CHECK(rcode(lab.ask({.name = "printer"})) == 3);
    CHECK(rcode(lab.ask({.name = "1.1.168.192.in-addr.arpa", .type = Type::Ptr})) == 3);
    CHECK(lab.server().questions == 0);
    CHECK(lab.service->counters().local == 6);
}

TEST_CASE("the same question asked by many is asked upstream once and each gets its own case") {
    Lab lab;
    lab.server().be_slow(100ms);
    lab.start();
    std::vector<std::unique_ptr<Guest>> guests;
    for (int i = 0; i < 20; ++i) {
        guests.push_back(std::make_unique<Guest>(lab.port, Ipv4{127, 0, 66, static_cast<std::uint8_t>(2 + i)}));
        guests.back()->send(
            make_query({.name = i % 2 ? "WWW.example.com" : "www.EXAMPLE.com", .id = static_cast<std::uint16_t>(i)}));
    }
    for (int i = 0; i < 20; ++i) {
        const auto packet = lab.answer(*guests[static_cast<std::size_t>(i)]);
        CHECK(id(packet) == i);
        CHECK(std::memcmp(packet.data() + 13, i % 2 ? "WWW" : "www", 3) == 0);
    }
    CHECK(lab.server().questions == 1);
    CHECK(lab.service->counters().merged == 19);
}

TEST_CASE("A and AAAA from one port at once are both answered") {
    Lab lab;
    lab.server().be_slow(30ms);
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({.type = Type::A, .id = 1}));
    guest.send(make_query({.type = Type::Aaaa, .id = 2}));
    guest.send(make_query({.type = Type::A, .id = 1}));  // an impatient client: one answer
    std::vector<int> ids{id(lab.answer(guest)), id(lab.answer(guest))};
    std::sort(ids.begin(), ids.end());
    CHECK(ids == std::vector<int>{1, 2});
    CHECK(lab.answer(guest, 200ms).empty());
}

TEST_CASE("a question that nobody answers ends in SERVFAIL within three seconds and at once without upstreams") {
    Lab lab;
    lab.server().be_silent();
    lab.start();
    auto begin = Steady::now();
    const auto packet = lab.ask({.edns = true});
    CHECK(rcode(packet) == 2);
    CHECK(Steady::now() - begin < 3000ms);

    lab.service->set_upstreams({});
    begin = Steady::now();
    CHECK(rcode(lab.ask()) == 2);
    CHECK(Steady::now() - begin < 100ms);

    lab.server().answer_with(0);
    lab.service->set_upstreams(lab.config.upstreams);
    CHECK(rcode(lab.ask()) == 0);
}

TEST_CASE("while all upstreams are down old answers are served and say so") {
    Lab lab;
    lab.config.cache.stale_ttl = 30;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        packet[packet.size() - 7] = 1;  // TTL 0x00000101..: shortened below
        packet[packet.size() - 10] = packet[packet.size() - 9] = packet[packet.size() - 8] = 0;
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    REQUIRE(rcode(lab.ask()) == 0);
    lab.server().die();
    lab.run(1100ms);
    const auto begin = Steady::now();
    const auto stale = lab.ask({.edns = true});
    CHECK(rcode(stale) == 0);
    CHECK(answers(stale) == 1);
    CHECK(Steady::now() - begin < 200ms);
    CHECK(lab.service->counters().stale == 1);
    CHECK(rcode(lab.ask({.name = "never.example"})) == 2);

    lab.config.serve_stale = false;
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask()) == 2);
}

TEST_CASE("an answer that points into a blocked network is taken out and told") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query);
        if (!packet.empty() && packet[7] == 1) {
            packet[packet.size() - 4] = 192;
            packet[packet.size() - 3] = 168;
        }
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    const auto packet = lab.ask({.name = "rebind.example"});
    CHECK(rcode(packet) == 0);
    CHECK(answers(packet) == 0);
    CHECK(lab.observer.rebound == std::vector<std::string>{"127.0.66.2 rebind.example"});
    CHECK(lab.service->counters().rebound == 1);

    lab.config.rebind_protection = false;
    lab.service->reconfigure(lab.config);
    lab.service->flush_cache();
    CHECK(answers(lab.ask({.name = "rebind.example"})) == 1);
}

TEST_CASE("names of a route are asked there and nowhere else") {
    Lab lab(2);
    const auto other = lab.config.upstreams[1];
    lab.config.upstreams.pop_back();
    lab.config.routes = {{*Name::parse("corp.example"), {other}}};
    lab.start();
    lab.ask({.name = "a.corp.example"});
    CHECK(lab.server(0).questions == 0);
    CHECK(lab.server(1).questions == 1);
    lab.ask({.name = "b.example"});
    CHECK(lab.server(0).questions == 1);

    lab.server(1).die();
    CHECK(rcode(lab.ask({.name = "c.corp.example"})) == 2);
    lab.config.routes[0].upstreams.clear();
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask({.name = "a.corp.example"})) == 2);  // and what was cached by the old way is forgotten
    CHECK(lab.server(0).questions == 1);

    lab.config.routes.clear();
    lab.service->reconfigure(lab.config);
    CHECK(rcode(lab.ask({.name = "a.corp.example"})) == 0);
    CHECK(lab.server(0).questions == 2);
}

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

TEST_CASE("nobody but guests is answered") {
    Lab lab;
    lab.start();
    for (const auto stranger : {Ipv4{127, 0, 0, 1}, Ipv4{127, 0, 67, 2}, Ipv4{127, 0, 66, 0}, Ipv4{127, 0, 66, 255}}) {
        if (stranger == Ipv4{127, 0, 66, 255}) continue;  // the kernel does not let us send from it
        Guest guest{lab.port, stranger};
        guest.send(make_query({.name = "vm1"}));
        CHECK(lab.answer(guest, 100ms).empty());
        Stream stream{lab.port, stranger};
        stream.send(framed(make_query({.name = "vm1"})));
        CHECK(lab.answer(stream, 100ms).empty());
        CHECK(stream.closed);
    }
    CHECK(lab.service->counters().foreign == 3);
    Guest host{lab.port, our_address};
    host.send(make_query({.name = "vm1"}));
    CHECK(answers(lab.answer(host)) == 1);
    lab.config.host_lookup = false;
    lab.service->reconfigure(lab.config);
    host.send(make_query({.name = "vm1"}));
    CHECK(lab.answer(host, 100ms).empty());
}

TEST_CASE("malformed queries get FORMERR and responses get silence") {
    Lab lab;
    lab.start();
    Guest guest{lab.port};
    auto response = make_query({});
    response[2] |= 0x80;
    guest.send(response);
    guest.send(Packet{1, 2, 3});
    guest.send(Packet(5000));
    CHECK(lab.answer(guest, 100ms).empty());
    auto two = make_query({.id = 5});
    two[5] = 2;
    guest.send(two);
    const auto formerr = lab.answer(guest);
    CHECK(rcode(formerr) == 1);
    CHECK(id(formerr) == 5);
    auto notify = make_query({});
    notify[2] = 0x20;
    guest.send(notify);
    CHECK(rcode(lab.answer(guest)) == 4);
    CHECK(lab.server().questions == 0);
}

TEST_CASE("a large answer is truncated over UDP and whole over TCP") {
    Lab lab;
    lab.server().script = [](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        if (is_health_probe(asked.query)) return ScriptedUpstream::Answer{make_response(asked.query, 0, false)};
        auto packet = make_response(asked.query, 0, false);
        if (!asked.tcp) {
            packet[2] |= 2;
            return ScriptedUpstream::Answer{packet};
        }
        const int count = 4000;  // A records of 16 bytes: 64,000
        packet[6] = count >> 8;
        packet[7] = count & 255;
        for (int i = 0; i < count; ++i)
            for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 8, i >> 8, i & 255, 1})
                packet.push_back(static_cast<std::uint8_t>(byte));
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    const auto over_udp = lab.ask({.name = "big.example"});
    CHECK((over_udp[2] & 2) != 0);
    CHECK(answers(over_udp) == 0);
    Stream stream{lab.port};
    stream.send(framed(make_query({.name = "big.example"})));
    const auto over_tcp = lab.answer(stream);
    CHECK(over_tcp.size() > 64000);
    CHECK(answers(over_tcp) == 4000);
}

TEST_CASE("queries on one TCP connection are answered as they are ready") {
    Lab lab;
    lab.server().script = [](const auto& asked) {
        Name name;
        std::size_t position = 12;
        name.read_uncompressed(asked.query, position);
        return ScriptedUpstream::Answer{make_response(asked.query), name.first_label() == "slow" ? 200ms : 0ms};
    };
    lab.start();
    Stream stream{lab.port};
    Packet all;
    for (const auto& packet : {make_query({.name = "slow.example", .id = 1}),
                               make_query({.name = "fast.example", .id = 2}), make_query({.name = "vm1", .id = 3})}) {
        const auto one = framed(packet);
        all.insert(all.end(), one.begin(), one.end());
    }
    stream.send(all);
    stream.finish();  // the client has said all it will: answers still come
    CHECK(id(lab.answer(stream)) == 3);
    CHECK(id(lab.answer(stream)) == 2);
    CHECK(id(lab.answer(stream)) == 1);
    REQUIRE(lab.run_until([&] { return !stream.receive() && stream.closed; }, 1000ms));
}

TEST_CASE("more queries than a connection may have out are answered one after the other") {
    Lab lab;
    lab.config.tcp.pipelined = 16;
    lab.server().be_slow(20ms);
    lab.start();
    Stream stream{lab.port};
    Packet all;
    for (int i = 0; i < 60; ++i) {
        const auto one =
            framed(make_query({.name = "n" + std::to_string(i) + ".example", .id = static_cast<std::uint16_t>(i)}));
        all.insert(all.end(), one.begin(), one.end());
    }
    stream.send(all);
    lab.run_until([&] { return lab.server().questions > 0; });
    CHECK(lab.server().questions <= 16);
    std::set<int> seen;
    for (int i = 0; i < 60; ++i) seen.insert(id(lab.answer(stream, 1000ms)));
    CHECK(seen.size() == 60);
    CHECK(!seen.contains(-1));
}

TEST_CASE("a query may come in single bytes") {
    Lab lab;
    lab.start();
    Stream stream{lab.port};
    for (const auto byte : framed(make_query({.name = "vm1", .id = 77}))) {
        stream.send({byte});
        lab.run(1ms);
    }
    CHECK(id(lab.answer(stream)) == 77);
}

TEST_CASE("idle and half-written connections change nothing for others and end by themselves") {
    Lab lab;
    lab.config.tcp.idle = 400ms;
    lab.start();
    std::vector<std::unique_ptr<Stream>> idle;
    for (int i = 0; i < 100; ++i) {
        idle.push_back(std::make_unique<Stream>(lab.port, Ipv4{127, 0, 66, static_cast<std::uint8_t>(100 + i % 10)}));
        if (i % 2) idle.back()->send({0, 40, 1, 2, 3});
    }
    lab.run(50ms);
    const auto begin = Steady::now();
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
    Stream other{lab.port};
    other.send(framed(make_query({.name = "new.example"})));
    CHECK(answers(lab.answer(other)) == 1);
    CHECK(Steady::now() - begin < 200ms);
    REQUIRE(lab.run_until(
        [&] {
            return std::all_of(idle.begin(), idle.end(),
                               [](auto& stream) { return !stream->receive() && stream->closed; });
        },
        3000ms));
}

TEST_CASE("bytes that trickle in do not keep a connection") {
    Lab lab;
    lab.config.tcp.idle = 300ms;
    lab.start();
    Stream stream{lab.port};
    const auto begin = Steady::now();
    const auto query = framed(Packet(200));
    for (std::size_t i = 0; i < query.size() && !stream.closed; ++i) {
        stream.send({query[i]});
        lab.run(20ms);
        stream.receive();
    }
    CHECK(stream.closed);
    CHECK(Steady::now() - begin < 1500ms);
}

TEST_CASE("a guest has so many connections and its oldest idle one makes room") {
    Lab lab;
    lab.config.tcp.per_guest = 4;
    lab.start();
    std::vector<std::unique_ptr<Stream>> streams;
    for (int i = 0; i < 6; ++i) {
        streams.push_back(std::make_unique<Stream>(lab.port));
        lab.run(10ms);
    }
    int closed = 0;
    for (auto& stream : streams) stream->receive(), closed += stream->closed ? 1 : 0;
    CHECK(closed == 2);
    CHECK(streams[0]->closed);
    CHECK(streams[1]->closed);
    streams[5]->send(framed(make_query({.name = "vm1"})));
    CHECK(answers(lab.answer(*streams[5])) == 1);
    Stream neighbour{lab.port, Ipv4{127, 0, 66, 9}};
    neighbour.send(framed(make_query({.name = "vm1"})));
    CHECK(answers(lab.answer(neighbour)) == 1);
}

TEST_CASE("a client that does not read is stopped and cut off") {
    Lab lab;
    lab.config.tcp.stalled = 300ms;
    lab.server().script = [](const auto& asked) {
        auto packet = make_response(asked.query, 0, false);
        if (!asked.tcp) {
            packet[2] |= 2;
            return ScriptedUpstream::Answer{packet};
        }
        packet[6] = 0xf, packet[7] = 0xa0;
        for (int i = 0; i < 4000; ++i)
            for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 8, i >> 8, i & 255, 1})
                packet.push_back(static_cast<std::uint8_t>(byte));
        return ScriptedUpstream::Answer{packet};
    };
    lab.start();
    {
        Stream first{lab.port};
        first.send(framed(make_query({.name = "big.example"})));
        REQUIRE(lab.answer(first).size() > 60000);
    }
    Stream greedy{lab.port};
    const auto query = framed(make_query({.name = "big.example"}));
    std::size_t asked = 0;
    for (int i = 0; i < 400; ++i) {
        if (greedy.send(query) == static_cast<ssize_t>(query.size())) ++asked;
        lab.run(1ms);
    }
    CHECK(asked > 100);
    CHECK(lab.service->counters().cached < 250);  // it is not even read further
    lab.run(600ms);
    CHECK(greedy.send(query) < 0);
    CHECK(answers(lab.ask({.name = "vm1"})) == 1);
}

TEST_CASE("a message that is too long for a query ends its connection") {
    Lab lab;
    lab.start();
    Stream stream{lab.port};
    stream.send({0xff, 0xff, 1, 2, 3});
    REQUIRE(lab.run_until([&] { return !stream.receive() && stream.closed; }, 1000ms));
}

TEST_CASE("one guest's unanswerable questions do not cost the others theirs") {
    Lab lab;
    lab.config.admission.outstanding = 400;
    lab.config.admission.share = 50;
    lab.server().script = [](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        Name name;
        std::size_t position = 12;
        name.read_uncompressed(asked.query, position);
        if (to_string(name).ends_with("dead.example")) return std::nullopt;
        return ScriptedUpstream::Answer{make_response(asked.query)};
    };
    lab.start();
    Guest greedy{lab.port};
    for (int i = 0; i < 1000; ++i) {
        greedy.send(make_query({.name = "n" + std::to_string(i) + ".dead.example"}));
        if (i % 50 == 0) lab.run(1ms);
    }
    lab.run(50ms);
    CHECK(lab.service->counters().outstanding <= 201);
    CHECK(lab.service->counters().over_limit >= 750);
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    for (int i = 0; i < 20; ++i) {
        const auto begin = Steady::now();
        other.send(make_query({.name = "m" + std::to_string(i) + ".example"}));
        CHECK(answers(lab.answer(other)) == 1);
        CHECK(Steady::now() - begin < 200ms);
    }
}

TEST_CASE("a guest that floods does not take the others' place in the queue") {
    Lab lab;
    lab.config.admission.crowded_per_second = 500;
    lab.config.admission.crowded_burst = 500;
    lab.start();
    lab.ask();
    Guest other{lab.port, Ipv4{127, 0, 66, 3}};
    other.send(make_query({}));
    CHECK(answers(lab.answer(other)) == 1);
    Guest loud{lab.port};
    const auto flood = [&] {
        const auto query = make_query({});
        for (int i = 0; i < 30000; ++i) loud.send(query);  // more than the socket's buffer takes
    };
    const auto counters = [&] { return lab.service->counters(); };
    flood();  // the kernel tells of it with what it takes next, once a good part of its buffer is free again
    REQUIRE(lab.run_until([&] { return counters().queries > 10000; }));
    flood();
    REQUIRE(lab.run_until([&] { return counters().lost > 0; }));
    flood();
    lab.run_until([&] { return counters().over_limit > 12000; });
    CHECK(counters().over_limit > 12000);
    other.send(make_query({}));
    CHECK(answers(lab.answer(other, 2000ms)) == 1);
}

TEST_CASE("answers are held until their addresses may be reached") {
    Lab lab;
    lab.config.hold_for_addresses = true;
    lab.observer.slow = true;
    lab.start();
    Guest guest{lab.port};
    guest.send(make_query({}));
    CHECK(lab.answer(guest, 150ms).empty());
    REQUIRE(lab.observer.held.size() == 1);
    CHECK(lab.observer.reached == std::vector<Ipv4>{Ipv4{192, 0, 2, 1}});
    lab.observer.held[0]();
    CHECK(answers(lab.answer(guest)) == 1);

    guest.send(make_query({}));  // from the cache, too
    CHECK(lab.answer(guest, 100ms).empty());
    REQUIRE(lab.observer.held.size() == 2);
    Stream stream{lab.port};
    stream.send(framed(make_query({})));
    stream.finish();
    CHECK(lab.answer(stream, 100ms).empty());
    REQUIRE(lab.observer.held.size() == 3);
    lab.observer.held[2]();
    CHECK(answers(lab.answer(stream)) == 1);
    lab.observer.slow = false;
    guest.send(make_query({}));
    CHECK(answers(lab.answer(guest)) == 1);

    const auto late = lab.observer.held[1];
    lab.service.reset();
    late();  // nobody is there any more
}

TEST_CASE("a loop through ourselves is noticed and not entered") {
    Lab lab(2);
    // The first "resolver" forwards everything to us, as a host whose resolver asks us does.
    lab.server(0).script = [&](const auto& asked) -> std::optional<ScriptedUpstream::Answer> {
        Guest back{lab.port, our_address};
        back.send(asked.query);
        return std::nullopt;
    };
    lab.start();
    lab.run(100ms);
    CHECK(lab.service->counters().loops == 1);
    CHECK(lab.service->upstreams()[0].health == Health::Loop);
    CHECK(answers(lab.ask()) == 1);
    CHECK(lab.server(0).questions == 0);
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

TEST_CASE("a question of another class goes upstream and is not mixed up with IN") {
    Lab lab;
    lab.start();
    CHECK(answers(lab.ask()) == 1);
    lab.server().answer_with(5);
    CHECK(rcode(lab.ask({.klass = Class::Hesiod})) == 5);
    REQUIRE(lab.server().questions == 2);
    const auto& asked = lab.server().log[1];
    CHECK(asked[asked.size() - 12] == 4);  // the class, before our OPT
    CHECK(answers(lab.ask()) == 1);
    CHECK(lab.server().questions == 2);
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
    auto udp = open_udp_socket(our_address, "lo", 0);
    REQUIRE(udp);
    lab.port = port_of(udp->get());
    auto tcp = open_tcp_socket(our_address, "lo", lab.port);
    REQUIRE(tcp);
    lab.service->replace_sockets(std::move(*udp), std::move(*tcp));
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
