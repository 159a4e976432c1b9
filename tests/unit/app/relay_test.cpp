#include "src/relay.hpp"

#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <list>

using namespace vmrouter;
using asio::ip::tcp;
using asio::ip::udp;

namespace {

constexpr Ipv4 guest_address{127, 0, 0, 2};

asio::ip::address_v4 to_asio(Ipv4 address) {
    return asio::ip::address_v4{address.value};
}

/// Runs the loop until `done` says so; fails after ten seconds.
template <class Done>
void run_until(asio::io_context& io, Done done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (!done()) {
        REQUIRE(std::chrono::steady_clock::now() < end);
        io.restart();
        io.run_one_for(std::chrono::milliseconds{20});
    }
}

/// A listener of ours, a guest's service behind it, and the relay between them.
struct TcpScene {
    TcpScene() : service(io, tcp::endpoint(to_asio(guest_address), 0)) {
        tcp::acceptor listener(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        listener.listen(512);
        entry = listener.local_endpoint();
        relay.emplace(
            io.get_executor(), FileDescriptor(listener.release()), [this] { return target; },
            service.local_endpoint().port());
    }
    /// A client's connection to the relay, and what the guest gets of it.
    tcp::socket connect() {
        tcp::socket client(io);
        client.connect(entry);
        return client;
    }
    tcp::socket accept() {
        tcp::socket accepted(io);
        bool is_there = false;
        service.async_accept(accepted, [&is_there](asio::error_code failed) { is_there = !failed; });
        run_until(io, [&is_there] { return is_there; });
        return accepted;
    }
    /// All that comes until the other side ends.
    std::string read_all(tcp::socket& socket) {
        std::string text;
        bool is_over = false;
        asio::async_read(socket, asio::dynamic_buffer(text),
                         [&is_over](asio::error_code, std::size_t) { is_over = true; });
        run_until(io, [&is_over] { return is_over; });
        return text;
    }

    asio::io_context io{1};
    tcp::acceptor service;
    tcp::endpoint entry;
    std::optional<Ipv4> target = guest_address;
    std::optional<TcpRelay> relay;
};

struct UdpScene {
    UdpScene() : guest(io, udp::endpoint(to_asio(guest_address), 0)) {
        udp::socket socket(io, udp::endpoint(asio::ip::address_v4::loopback(), 0));
        entry = socket.local_endpoint();
        relay.emplace(
            io.get_executor(), FileDescriptor(socket.release()), [this] { return target; },
            guest.local_endpoint().port());
    }
    udp::socket peer() { return udp::socket(io, udp::endpoint(asio::ip::address_v4::loopback(), 0)); }
    std::string receive(udp::socket& socket, udp::endpoint& from) {
        std::array<char, 64> buffer;
        std::optional<std::size_t> got;
        socket.async_receive_from(asio::buffer(buffer), from,
                                  [&got](asio::error_code failed, std::size_t size) { got = failed ? 0 : size; });
        run_until(io, [&got] { return got.has_value(); });
        return {buffer.data(), *got};
    }

    asio::io_context io{1};
    udp::socket guest;
    udp::endpoint entry;
    std::optional<Ipv4> target = guest_address;
    std::optional<UdpRelay> relay;
};

}  // namespace

TEST_CASE("A connection is carried both ways, and a half-closed one to its end") {
    TcpScene scene;
    auto client = scene.connect();
    asio::write(client, asio::buffer(std::string("question")));
    client.shutdown(tcp::socket::shutdown_send);
    auto guest = scene.accept();
    CHECK(scene.read_all(guest) == "question");
    asio::write(guest, asio::buffer(std::string("answer")));
    guest.close();
    CHECK(scene.read_all(client) == "answer");
}

TEST_CASE("Much at once arrives whole and in order") {
    TcpScene scene;
    auto client = scene.connect();
    auto guest = scene.accept();
    std::string sent;
    for (int i = 0; sent.size() < 300000; ++i) sent += std::to_string(i) + ' ';
    bool is_sent = false;
    asio::async_write(client, asio::buffer(sent), [&](asio::error_code failed, std::size_t) {
        is_sent = !failed;
        client.shutdown(tcp::socket::shutdown_send);
    });
    CHECK(scene.read_all(guest) == sent);
    CHECK(is_sent);
}

TEST_CASE("A connection to a guest without an address, or that refuses, is closed") {
    TcpScene scene;
    scene.target = std::nullopt;
    auto client = scene.connect();
    CHECK(scene.read_all(client) == "");

    scene.target = guest_address;
    scene.service.close();
    auto refused = scene.connect();
    CHECK(scene.read_all(refused) == "");
}

TEST_CASE("The end of a relay is the end of its connections and of its listener") {
    TcpScene scene;
    auto client = scene.connect();
    auto guest = scene.accept();
    scene.relay.reset();
    CHECK(scene.read_all(client) == "");
    CHECK(scene.read_all(guest) == "");
    asio::error_code failed;
    tcp::socket late(scene.io);
    late.connect(scene.entry, failed);
    CHECK(failed == asio::error::connection_refused);
}

TEST_CASE("One connection more than the relay carries is closed, and a place that becomes free is used") {
    TcpScene scene;
    std::list<tcp::socket> clients;
    std::list<tcp::socket> guests;
    for (int i = 0; i < 256; ++i) {
        clients.push_back(scene.connect());
        guests.push_back(scene.accept());
    }
    auto one_more = scene.connect();
    CHECK(scene.read_all(one_more) == "");

    clients.pop_front();
    CHECK(scene.read_all(guests.front()) == "");
    guests.pop_front();
    run_until(scene.io, [&scene] { return scene.io.poll_one() == 0; });
    clients.push_back(scene.connect());
    guests.push_back(scene.accept());
    CHECK(guests.size() == 256);
}

TEST_CASE("A datagram reaches the guest, and the answer the peer that asked") {
    UdpScene scene;
    auto first = scene.peer();
    auto second = scene.peer();
    udp::endpoint from_first;
    udp::endpoint from_second;
    first.send_to(asio::buffer(std::string("one")), scene.entry);
    CHECK(scene.receive(scene.guest, from_first) == "one");
    second.send_to(asio::buffer(std::string("two")), scene.entry);
    CHECK(scene.receive(scene.guest, from_second) == "two");
    CHECK(from_first != from_second);

    scene.guest.send_to(asio::buffer(std::string("to two")), from_second);
    scene.guest.send_to(asio::buffer(std::string("to one")), from_first);
    udp::endpoint from;
    CHECK(scene.receive(first, from) == "to one");
    CHECK(from == scene.entry);
    CHECK(scene.receive(second, from) == "to two");

    first.send_to(asio::buffer(std::string("again")), scene.entry);  // the same session
    udp::endpoint again;
    CHECK(scene.receive(scene.guest, again) == "again");
    CHECK(again == from_first);
}

TEST_CASE("A datagram for a guest without an address is dropped, and the next one goes through") {
    UdpScene scene;
    auto peer = scene.peer();
    scene.target = std::nullopt;
    peer.send_to(asio::buffer(std::string("lost")), scene.entry);
    run_until(scene.io, [&scene] { return scene.io.poll() == 0; });
    scene.target = guest_address;
    peer.send_to(asio::buffer(std::string("found")), scene.entry);
    udp::endpoint from;
    CHECK(scene.receive(scene.guest, from) == "found");
}

TEST_CASE("When the guest moves the next datagram of the same peer goes to where it is") {
    UdpScene scene;
    auto peer = scene.peer();
    udp::endpoint from;
    peer.send_to(asio::buffer(std::string("first")), scene.entry);
    CHECK(scene.receive(scene.guest, from) == "first");

    constexpr Ipv4 moved{127, 0, 0, 3};
    udp::socket other(scene.io, udp::endpoint(to_asio(moved), scene.guest.local_endpoint().port()));
    scene.target = moved;
    peer.send_to(asio::buffer(std::string("second")), scene.entry);
    CHECK(scene.receive(other, from) == "second");
    other.send_to(asio::buffer(std::string("answer")), from);
    CHECK(scene.receive(peer, from) == "answer");
}
