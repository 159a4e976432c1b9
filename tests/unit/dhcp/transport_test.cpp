#include "dhcp/transport.hpp"

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>
#include <asio/io_context.hpp>
#include <cerrno>
#include <initializer_list>

#include "src/base/checksum.hpp"
#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

const MacAddress guest{{0x02, 0, 0, 0, 0, 7}};

struct Udp {
    MacAddress to = MacAddress::broadcast();
    MacAddress from = guest;
    Ipv4 source{};
    Ipv4 destination{255, 255, 255, 255};
    std::uint16_t source_port = 68;
    std::uint16_t destination_port = 67;
    std::uint16_t fragment = 0;
    std::uint8_t protocol = 17;
    std::string payload = "hello";
};

std::vector<std::uint8_t> frame(const Udp& udp) {
    std::vector<std::uint8_t> bytes(14 + 20 + 8 + udp.payload.size());
    Writer writer(bytes);
    writer.bytes(udp.to.bytes);
    writer.bytes(udp.from.bytes);
    writer.u16(0x0800);
    writer.u16(0x4500);
    writer.u16(static_cast<std::uint16_t>(bytes.size() - 14));
    writer.u16(1);
    writer.u16(udp.fragment);
    writer.u8(64);
    writer.u8(udp.protocol);
    writer.u16(0);
    writer.u32(udp.source.value);
    writer.u32(udp.destination.value);
    writer.patch_u16(24, internet_checksum(writer.written().subspan(14)));
    writer.u16(udp.source_port);
    writer.u16(udp.destination_port);
    writer.u16(static_cast<std::uint16_t>(8 + udp.payload.size()));
    writer.u16(0);
    writer.text(udp.payload);
    return bytes;
}

/// Opens a raw socket that only sends.
FileDescriptor sender(const std::string& interface) {
    return std::move(*open_probe_socket(if_nametoindex(interface.c_str())));
}

void send_all(const FileDescriptor& fd, const std::vector<std::uint8_t>& bytes) {
    REQUIRE(send_frame(fd.get(), bytes) == 0);
}

struct Heard {
    std::string payload;
    bool checksum_done = false;
    unsigned port = 0;
};

/// One receive(), as values.
std::vector<Heard> receive(asio::io_context& io, Transport& transport, Milliseconds limit = Milliseconds{5000}) {
    std::vector<Heard> heard;
    const auto once = [&]() -> asio::awaitable<void> {
        const auto frames = co_await transport.receive();
        for (const auto& one : frames) {
            const std::size_t header = std::min<std::size_t>(42, one.bytes.size());
            heard.push_back({std::string(one.bytes.begin() + static_cast<std::ptrdiff_t>(header), one.bytes.end()),
                             one.checksum_done, one.port});
        }
    };
    finish(io, once(), limit);
    return heard;
}

/// A bridge br0 with ports pNAME, each a cable to a guest gNAME, that forward: a port drops what comes earlier.
void make_bridge(std::initializer_list<std::string> names) {
    shell("ip link add br0 type bridge forward_delay 0 && ip link set br0 up");
    for (const auto& name : names) {
        shell("ip link add p" + name + " type veth peer name g" + name);
        shell("ip link set p" + name + " master br0 up && ip link set g" + name + " up");
        shell("for i in $(seq 500); do bridge link show dev p" + name +
              " | grep -q 'state forwarding' && exit; sleep 0.01; done; exit 1");
    }
}

}  // namespace

TEST_CASE("Only DHCP and answers to our pings reach the server") {
    in_namespace([] {
        plug_cable();
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("near")));
        const auto far = sender("far");
        send_all(far, frame({.destination_port = 53, .payload = "dns"}));
        send_all(far, frame({.source_port = 1000, .destination_port = 68, .payload = "not from a server"}));
        send_all(far, frame({.fragment = 1, .payload = "fragment"}));
        send_all(far, frame({.protocol = 6, .payload = "tcp"}));
        auto arp = frame({});
        arp[13] = 6;
        send_all(far, arp);
        auto echo = frame({.source_port = 0, .destination_port = 0, .protocol = 1, .payload = "other identifier"});
        send_all(far, echo);

        send_all(far, frame({.payload = "request"}));
        send_all(far, frame({.source_port = 67, .destination_port = 68, .payload = "server"}));
        echo = frame({.source_port = 0, .protocol = 1, .payload = "pong"});
        echo[38] = 0x76;
        echo[39] = 0x6d;
        send_all(far, echo);
        const auto heard = receive(io, transport);
        REQUIRE(heard.size() == 3);
        CHECK(heard[0].payload == "request");
        CHECK(heard[0].checksum_done);
        CHECK(heard[1].payload == "server");
        CHECK(heard[2].payload == "pong");
    });
}

TEST_CASE("Frames with a VLAN tag and for other hosts are left out") {
    in_namespace([] {
        plug_cable();
        shell("ip link set near promisc on");
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("near")));
        auto tagged = frame({.payload = "tagged"});  // a tag with VLAN 0 is none (IEEE 802.1Q), the kernel removes it
        const std::vector<std::uint8_t> tag{0x81, 0, 0, 5};
        tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
        send_all(sender("far"), tagged);
        send_all(sender("far"), frame({.to = MacAddress{{2, 9, 9, 9, 9, 9}}, .payload = "other"}));
        send_all(sender("far"), frame({.payload = "plain"}));
        const auto heard = receive(io, transport);
        REQUIRE(heard.size() == 1);
        CHECK(heard[0].payload == "plain");
    });
}

TEST_CASE("A checksum that the sender left to hardware is said to be unfinished") {
    in_namespace([] {
        plug_cable();
        shell("ip addr add 10.9.9.2/24 dev far");
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("near")));
        const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        const int on = 1;
        REQUIRE(setsockopt(socket.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on) == 0);
        REQUIRE(setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, "far", 3) == 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(67);
        to.sin_addr.s_addr = INADDR_BROADCAST;
        REQUIRE(sendto(socket.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 1);
        const auto heard = receive(io, transport);
        REQUIRE(heard.size() == 1);
        CHECK_FALSE(heard[0].checksum_done);
    });
}

TEST_CASE("The bridge port that a request came from is told") {
    in_namespace([] {
        make_bridge({"a", "b", "c"});
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("br0")));
        transport.add_port(if_nametoindex("pa"), std::move(*open_port_socket(if_nametoindex("pa"))));
        transport.add_port(if_nametoindex("pb"), std::move(*open_port_socket(if_nametoindex("pb"))));
        const auto a = sender("ga");
        const auto b = sender("gb");
        const auto c = sender("gc");
        const MacAddress bridge = transport.sockets().mac;
        for (int round = 0; round < 4; ++round) {
            // Renewals are sent to the bridge's own address, which is not the port's.
            const MacAddress to = round % 2 == 0 ? MacAddress::broadcast() : bridge;
            send_all(a, frame({.to = to, .payload = "from a"}));
            send_all(b, frame({.to = to, .payload = "from b"}));
            send_all(c, frame({.to = to, .payload = "from c"}));
            std::vector<Heard> heard;
            while (heard.size() < 3)
                for (auto& one : receive(io, transport)) heard.push_back(std::move(one));
            for (const auto& one : heard) {
                const unsigned expected = one.payload == "from a"   ? if_nametoindex("pa")
                                          : one.payload == "from b" ? if_nametoindex("pb")
                                                                    : 0;  // nobody watches that port
                CHECK(one.port == expected);
            }
        }
        transport.remove_port(if_nametoindex("pa"));
        send_all(a, frame({.payload = "from a"}));
        CHECK(receive(io, transport).at(0).port == 0);
    });
}

TEST_CASE("A frame that the bridge dropped names no port for a later one of the same bytes") {
    in_namespace([] {
        make_bridge({"a", "b"});
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("br0")));
        transport.add_port(if_nametoindex("pa"), std::move(*open_port_socket(if_nametoindex("pa"))));
        transport.add_port(if_nametoindex("pb"), std::move(*open_port_socket(if_nametoindex("pb"))));
        shell("bridge link set dev pa state 1");  // listening: the port sees the frame, the bridge does not
        send_all(sender("ga"), frame({.payload = "same"}));
        io.run_for(Milliseconds{20});
        send_all(sender("gb"), frame({.payload = "same"}));
        const auto heard = receive(io, transport);
        REQUIRE(heard.size() == 1);
        CHECK(heard[0].port == if_nametoindex("pb"));
    });
}

TEST_CASE("Another server behind a port is heard once and even when the bridge drops it") {
    in_namespace([] {
        make_bridge({"a"});
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("br0")));
        transport.add_port(if_nametoindex("pa"), std::move(*open_port_socket(if_nametoindex("pa"))));
        const auto offer = frame({.source_port = 67, .destination_port = 68, .payload = "offer"});
        const auto rogue = sender("ga");
        send_all(rogue, offer);
        auto heard = receive(io, transport);
        REQUIRE(heard.size() == 1);
        CHECK(heard[0].port == if_nametoindex("pa"));

        shell("bridge link set dev pa state 1");
        Udp to_a_guest{.to = MacAddress{{2, 8, 8, 8, 8, 8}}, .payload = "offer"};
        to_a_guest.source_port = 67;
        to_a_guest.destination_port = 68;
        send_all(rogue, frame(to_a_guest));
        heard = receive(io, transport);
        REQUIRE(heard.size() == 1);
        CHECK(heard[0].payload == "offer");
        CHECK(heard[0].port == if_nametoindex("pa"));
    });
}

TEST_CASE("An interface that goes away is reported and new sockets go on") {
    in_namespace([] {
        plug_cable();
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("near")));
        shell("ip link del near");
        CHECK(receive(io, transport).empty());
        CHECK(transport.take_error().what.find("cannot receive DHCP packets: ") == 0);
        CHECK(transport.take_error().what.empty());

        plug_cable();
        std::vector<Heard> heard;
        const auto wait = [&]() -> asio::awaitable<void> {
            const auto frames = co_await transport.receive();
            CHECK(frames.size() == 1);
        };
        const auto renew = [&]() -> asio::awaitable<void> {
            co_await sleep_for(io, Milliseconds{20});
            transport.replace_sockets(std::move(*open_sockets("near")));
            send_all(sender("far"), frame({}));
        };
        asio::co_spawn(io, renew(), [](std::exception_ptr) {});
        finish(io, wait());
    });
}

TEST_CASE("An error that lasts is told once and looked at less and less often") {
    asio::io_context io;
    std::array<int, 2> pipe_ends{};
    REQUIRE(pipe2(pipe_ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
    const FileDescriptor writer(pipe_ends[1]);
    REQUIRE(write(writer.get(), "x", 1) == 1);  // readable for ever, and no socket: every receive fails
    Sockets sockets;
    sockets.interface = "near";
    sockets.packet = FileDescriptor(pipe_ends[0]);
    Transport transport(io.get_executor(), std::move(sockets));

    int errors = 0;
    int told = 0;
    const auto serve = [&]() -> asio::awaitable<void> {
        for (;;) {
            const auto frames = co_await transport.receive();
            CHECK(frames.empty());
            const Error error = transport.take_error();
            if (error.what.empty() && errors == 0) co_return;  // closed
            ++errors;
            if (!error.what.empty()) ++told;
            if (errors > 100) co_return;
        }
    };
    asio::co_spawn(io, serve(), [](std::exception_ptr) {});
    io.run_for(Milliseconds{600});
    CHECK(errors >= 2);
    CHECK(errors <= 5);  // 0, 50, 150, 350 ms
    CHECK(told == 1);
}

TEST_CASE("A transport that is closed ends its receive") {
    in_namespace([] {
        plug_cable();
        asio::io_context io;
        Transport transport(io.get_executor(), std::move(*open_sockets("near")));
        const auto close = [&]() -> asio::awaitable<void> {
            co_await sleep_for(io, Milliseconds{10});
            transport.close();
        };
        asio::co_spawn(io, close(), [](std::exception_ptr) {});
        CHECK(receive(io, transport).empty());
        CHECK(transport.take_error().what.empty());
    });
}

TEST_CASE("The socket on port 67 keeps the kernel from answering for us and is never woken") {
    in_namespace([] {
        plug_cable();
        shell("ip addr add 10.9.9.1/24 dev near");
        shell("ip neigh add 10.9.9.77 lladdr 02:00:00:00:00:07 dev near");
        shell("sysctl -qw net.ipv4.icmp_ratelimit=0");
        const FileDescriptor all(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(0x0800)));
        const auto far = sender("far");
        MacAddress near_mac;
        {
            const auto sockets = open_sockets("near");
            REQUIRE(sockets);
            near_mac = sockets->mac;
        }
        Udp renewal{.to = near_mac, .source = Ipv4(10, 9, 9, 77), .destination = Ipv4(10, 9, 9, 1)};
        const auto icmp_answer_within = [&](Milliseconds limit) {
            const auto end = std::chrono::steady_clock::now() + limit;
            std::uint8_t buffer[2048];
            do {
                while (recv(all.get(), buffer, sizeof buffer, 0) > 0)
                    if (buffer[23] == 1) return true;
                std::this_thread::sleep_for(Milliseconds{5});
            } while (std::chrono::steady_clock::now() < end);
            return false;
        };
        send_all(far, frame(renewal));
        CHECK(icmp_answer_within(Milliseconds{5000}));  // nobody listens: "port unreachable"
        const auto udp = open_udp_discard_socket("near");
        REQUIRE(udp);
        send_all(far, frame(renewal));
        CHECK_FALSE(icmp_answer_within(Milliseconds{100}));
        char byte = 0;
        CHECK(recv(udp->get(), &byte, 1, MSG_DONTWAIT) == -1);

        const auto second = open_udp_discard_socket("near");
        REQUIRE_FALSE(second);
        CHECK(second.error().what.find("cannot listen on UDP port 67: ") == 0);
        CHECK(second.error().where == "near");
        CHECK(open_udp_discard_socket("far"));  // other interfaces are free
    });
}

TEST_CASE("An interface that does not exist is an error that names it") {
    const auto sockets = open_sockets("nosuch0");
    REQUIRE_FALSE(sockets);
    CHECK(sockets.error().where == "nosuch0");
}
