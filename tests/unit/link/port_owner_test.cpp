#include "src/link/port_owner.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "tests/unit/link/namespace.hpp"

namespace {

using namespace vmrouter;
using namespace vmrouter::link;

/// A socket bound to `address`:5353, in the current namespace.
FileDescriptor bound(int type, const char* address) {
    FileDescriptor socket(::socket(AF_INET, type, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(5353);
    inet_pton(AF_INET, address, &name.sin_addr);
    const void* bytes = &name;
    REQUIRE(bind(socket.get(), static_cast<const sockaddr*>(bytes), sizeof name) == 0);
    if (type == SOCK_STREAM) REQUIRE(listen(socket.get(), 1) == 0);
    return socket;
}

FileDescriptor bound6() {
    FileDescriptor socket(::socket(AF_INET6, SOCK_DGRAM, 0));
    sockaddr_in6 name{};
    name.sin6_family = AF_INET6;
    name.sin6_port = htons(5353);
    const void* bytes = &name;
    REQUIRE(bind(socket.get(), static_cast<const sockaddr*>(bytes), sizeof name) == 0);
    return socket;
}

std::vector<PortOwner> owners(Protocol protocol, const char* address) {
    return port_owners(protocol, *Ipv4::parse(address), 5353);
}

}  // namespace

TEST_CASE("the process that holds an address and port is named with its pid") {
    IN_NAMESPACE;
    REQUIRE(test::run("ip link set lo up"));
    CHECK(owners(Protocol::Udp, "127.0.0.1").empty());
    const auto socket = bound(SOCK_DGRAM, "127.0.0.1");
    const auto found = owners(Protocol::Udp, "127.0.0.1");
    REQUIRE(found.size() == 1);
    CHECK(found[0] == PortOwner{getpid(), "unit_link", "127.0.0.1:5353"});
    CHECK(describe(found) == "unit_link (pid " + std::to_string(getpid()) + ") holds 127.0.0.1:5353");
    CHECK(owners(Protocol::Tcp, "127.0.0.1").empty());
    CHECK(owners(Protocol::Udp, "127.0.0.2").empty());
    CHECK(port_owners(Protocol::Udp, Ipv4{127, 0, 0, 1}, 53).empty());
}

TEST_CASE("a socket on every address stands in the way of each") {
    IN_NAMESPACE;
    {
        const auto socket = bound(SOCK_STREAM, "0.0.0.0");
        REQUIRE(owners(Protocol::Tcp, "192.168.100.1").size() == 1);
        CHECK(owners(Protocol::Tcp, "192.168.100.1")[0].address == "0.0.0.0:5353");
    }
    const auto socket = bound6();
    REQUIRE(owners(Protocol::Udp, "192.168.100.1").size() == 1);
    CHECK(owners(Protocol::Udp, "192.168.100.1")[0].address == "[::]:5353");
}

TEST_CASE("nobody is described as nothing and an unseen process by its address") {
    CHECK(describe({}).empty());
    CHECK(describe({{0, "", "0.0.0.0:53"}}) == "a process that cannot be seen from here holds 0.0.0.0:53");
}
