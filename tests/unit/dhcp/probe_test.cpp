#include "dhcp/probe.hpp"

#include <net/if.h>

#include <algorithm>
#include <asio/io_context.hpp>
#include <map>

#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

const MacAddress ours{{0x02, 0, 0, 0, 0, 1}};
const MacAddress squatter{{0x02, 0, 0, 0, 0, 2}};
const MacAddress client{{0x02, 0, 0, 0, 0, 3}};
const Ipv4 free_address(192, 168, 100, 50);
const Ipv4 taken(192, 168, 100, 60);

/// Two ends of a cable; the prober at one, whoever answers at the other.
struct Cable {
    explicit Cable(Milliseconds patience = Prober::usual_patience) {
        plug_cable();
        near = if_nametoindex("near");
        far_socket = std::move(*open_probe_socket(if_nametoindex("far")));
        prober.emplace(io.get_executor(), std::move(*open_probe_socket(near)), ours, random, patience);
    }
    ~Cable() { prober->close(); }

    /// ARP from the far end.
    void speak(const MacAddress& mac, Ipv4 sender, Ipv4 target, std::uint8_t operation) {
        std::vector<std::uint8_t> frame = arp_probe(mac, target);
        frame[21] = operation;
        for (int i = 0; i < 4; ++i)
            frame[static_cast<std::size_t>(28 + i)] = static_cast<std::uint8_t>(sender.value >> (24 - 8 * i));
        REQUIRE(send_frame(far_socket.get(), frame) == 0);
    }
    asio::awaitable<void> speak_later(Milliseconds delay, MacAddress mac, Ipv4 sender) {
        co_await sleep_for(io, delay);
        speak(mac, sender, Ipv4(192, 168, 100, 1), 2);
    }
    /// Collects events until there are `count`, with the time of each in milliseconds.
    std::vector<ProbeEvent> wait(std::size_t count, Milliseconds limit = Milliseconds{20000}) {
        std::vector<ProbeEvent> all;
        const auto start = std::chrono::steady_clock::now();
        const auto collect = [&]() -> asio::awaitable<void> {
            while (all.size() < count) {
                const auto some = co_await prober->events();
                for (const auto& event : some) all.push_back(event);
                took = std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now() - start);
            }
        };
        finish(io, collect(), limit);
        return all;
    }

    asio::io_context io;
    SystemRandom random;
    unsigned near = 0;
    FileDescriptor far_socket;
    std::optional<Prober> prober;
    Milliseconds took{0};
};

}  // namespace

TEST_CASE("An address that nobody answers for is silent after a tenth of a second") {
    in_namespace([] {
        Cable cable;
        REQUIRE(cable.prober->start(free_address, client));
        const auto events = cable.wait(1);
        CHECK(events == std::vector<ProbeEvent>{{ProbeEvent::Kind::Silent, free_address, std::nullopt}});
        CHECK(cable.took >= Milliseconds{99});
        CHECK(cable.took < 5 * Prober::usual_patience);  // the machine may be busy
        // The question was really asked, as a probe.
        FrameBatch heard(16);
        REQUIRE(heard.receive(cable.far_socket.get()) == 0);
        REQUIRE(heard.frames().size() == 1);
        CHECK(parse_arp(heard.frames()[0].bytes) == ArpPacket{true, ours, Ipv4{}, free_address});
    });
}

TEST_CASE("A squatter that takes 80 ms to answer is found") {
    CHECK(Prober::usual_patience == Milliseconds{100});
    in_namespace([] {
        Cable cable(Milliseconds{10000});  // the squatter may be held up for longer than 20 ms
        REQUIRE(cable.prober->start(taken, client));
        asio::co_spawn(cable.io, cable.speak_later(Milliseconds{80}, squatter, taken), [](std::exception_ptr) {});
        const auto events = cable.wait(1);
        CHECK(events == std::vector<ProbeEvent>{{ProbeEvent::Kind::Answered, taken, squatter}});
        CHECK(cable.took < Milliseconds{10000});  // not waited for to the end
    });
}

TEST_CASE("An answer that has arrived counts although it is read after the time is over") {
    in_namespace([] {
        Cable cable(Milliseconds{20});
        REQUIRE(cable.prober->start(taken, client));
        cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 2);
        std::this_thread::sleep_for(Milliseconds{60});  // the server is busy with something else
        CHECK(cable.wait(1) == std::vector<ProbeEvent>{{ProbeEvent::Kind::Answered, taken, squatter}});
    });
}

TEST_CASE("Probes of forty addresses run side by side") {
    in_namespace([] {
        Cable cable;
        for (std::uint8_t i = 0; i < 40; ++i) REQUIRE(cable.prober->start(Ipv4(192, 168, 100, i), std::nullopt));
        cable.speak(squatter, Ipv4(192, 168, 100, 7), Ipv4(192, 168, 100, 1), 2);
        const auto events = cable.wait(40);
        CHECK(cable.took < 10 * Prober::usual_patience);  // one after the other: 40
        CHECK(std::count_if(events.begin(), events.end(),
                            [](const auto& event) { return event.kind == ProbeEvent::Kind::Answered; }) == 1);
        CHECK(events[0] == ProbeEvent{ProbeEvent::Kind::Answered, Ipv4(192, 168, 100, 7), squatter});
    });
}

TEST_CASE("The client that asks may use the address already and a stranger may not be about to") {
    in_namespace([] {
        Cable cable;
        REQUIRE(cable.prober->start(taken, client));
        cable.speak(client, taken, Ipv4(192, 168, 100, 1), 1);
        CHECK(cable.wait(1)[0].kind == ProbeEvent::Kind::Silent);

        REQUIRE(cable.prober->start(taken, client));
        cable.speak(squatter, Ipv4{}, taken, 1);  // its own probe, RFC 5227
        CHECK(cable.wait(1)[0] == ProbeEvent{ProbeEvent::Kind::Answered, taken, squatter});
    });
}

TEST_CASE("An address on offer is watched and its late user reported once") {
    in_namespace([] {
        Cable cable;
        cable.prober->watch(taken, client);
        cable.speak(client, taken, Ipv4(192, 168, 100, 1), 1);
        cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 1);
        cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 1);
        const auto events = cable.wait(1);
        CHECK(events == std::vector<ProbeEvent>{{ProbeEvent::Kind::Late, taken, squatter}});
        cable.prober->watch(taken, client);
        cable.prober->unwatch(taken);
        cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 1);
        REQUIRE(cable.prober->start(free_address, client));
        CHECK(cable.wait(1)[0].address == free_address);
    });
}

TEST_CASE("A prober that waits for nothing is not woken by the ARP of the segment") {
    in_namespace([] {
        Cable cable;
        cable.io.poll();
        for (int i = 0; i < 10; ++i) cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 1);
        CHECK(cable.io.run_for(Milliseconds{20}) == 0);
        cable.prober->watch(free_address, client);
        cable.speak(squatter, taken, Ipv4(192, 168, 100, 1), 1);
        CHECK(cable.io.run_one_for(Milliseconds{5000}) > 0);
    });
}

TEST_CASE("Only the answer that brings the cookie back ends an ICMP probe") {
    in_namespace([] {
        Cable cable;
        const auto request = cable.prober->start_through(squatter, Ipv4(192, 168, 100, 1), taken);
        REQUIRE_FALSE(request.empty());
        auto reply = request;
        std::copy_n(request.begin() + 30, 4, reply.begin() + 26);  // from the address that was asked
        reply[34] = 0;                                             // echo reply; the checksum follows (RFC 1624)
        reply[36] = static_cast<std::uint8_t>(request[36] + 8);
        if (reply[36] < 8) ++reply[37];
        auto forged = reply;
        forged[45] ^= 1;
        forged[47] ^= 1;
        cable.prober->on_echo_reply(forged);
        cable.prober->on_echo_reply(reply);
        CHECK(cable.wait(1)[0] == ProbeEvent{ProbeEvent::Kind::Answered, taken, std::nullopt});

        REQUIRE_FALSE(cable.prober->start_through(squatter, Ipv4(192, 168, 100, 1), taken).empty());
        cable.prober->on_echo_reply(reply);  // of the earlier probe
        CHECK(cable.wait(1)[0].kind == ProbeEvent::Kind::Silent);
    });
}

TEST_CASE("The number of probes at once is bounded") {
    in_namespace([] {
        Cable cable;
        for (std::uint32_t i = 0; i < Prober::most; ++i)
            REQUIRE(cable.prober->start(Ipv4(0x0a000001 + i), std::nullopt));
        CHECK(cable.prober->start(Ipv4(0x0a000001), std::nullopt));  // runs already
        CHECK_FALSE(cable.prober->start(Ipv4(0x0b000001), std::nullopt));
    });
}
