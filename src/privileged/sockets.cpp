#include "src/privileged/local.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "conf/forms.hpp"
#include "dns/transport.hpp"
#include "src/link/port_owner.hpp"

namespace vmrouter {
namespace {

/// A socket error for a port, completed with the name of the process that has it.
Error name_owner(Error error, int errnum, link::Protocol protocol, Ipv4 address, std::uint16_t port) {
    if (errnum != EADDRINUSE) return error;
    const auto owners = link::describe(link::port_owners(protocol, address, port));
    if (!owners.empty()) {
        error.what += " (" + owners + ")";
        error.hint = "stop that program, or have it listen on its own addresses only";
    }
    return error;
}

}  // namespace

Result<dhcp::Sockets> LocalPrivileged::open_dhcp_sockets() {
    const auto& name = plan_.segment->name;
    auto sockets = dhcp::open_sockets(name);
    if (sockets) return sockets;
    auto error = std::move(sockets).error();
    const auto owners = link::describe(link::port_owners(link::Protocol::Udp, plan_.segment->address.address, 67));
    if (!owners.empty()) {
        error.what += " (" + owners + ")";
        error.hint = "stop that DHCP server, or set dhcp.enabled = false";
    }
    return Failure{std::move(error)};
}

Result<FileDescriptor> LocalPrivileged::open_dns_udp_socket() {
    auto socket = dns::open_udp_socket(plan_.segment->address.address, plan_.segment->name);
    if (socket) return socket;
    return Failure{
        name_owner(std::move(socket).error(), errno, link::Protocol::Udp, plan_.segment->address.address, 53)};
}

Result<FileDescriptor> LocalPrivileged::open_dns_tcp_socket() {
    auto socket = dns::open_tcp_socket(plan_.segment->address.address, plan_.segment->name);
    if (socket) return socket;
    return Failure{
        name_owner(std::move(socket).error(), errno, link::Protocol::Tcp, plan_.segment->address.address, 53)};
}

Result<FileDescriptor> LocalPrivileged::open_relay_socket(firewall::Protocol protocol, Ipv4 address,
                                                          std::uint16_t port) {
    const bool tcp = protocol == firewall::Protocol::Tcp;
    const auto where = to_string(protocol) + "/" + to_string(address) + ":" + std::to_string(port);
    FileDescriptor socket(::socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Failure{system_error("cannot open a socket", errno, where)};
    const int on = 1;
    if (tcp) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(address.value);
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 ||
        (tcp && listen(socket.get(), 64) != 0)) {
        const int failed = errno;
        return Failure{name_owner(system_error("cannot listen for a published port", failed, where), failed,
                                  tcp ? link::Protocol::Tcp : link::Protocol::Udp, address, port)};
    }
    return socket;
}

Result<FileDescriptor> LocalPrivileged::open_metrics_socket(const conf::Endpoint& endpoint) {
    const std::string where = "control.metrics " + to_string(endpoint);
    sockaddr_storage name{};
    socklen_t size = sizeof(sockaddr_in);
    if (const auto* v4 = std::get_if<Ipv4>(&endpoint.address)) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(endpoint.port);
        in.sin_addr.s_addr = htonl(v4->value);
        std::memcpy(&name, &in, sizeof in);
    } else {
        sockaddr_in6 in6{};
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(endpoint.port);
        const auto& bytes = std::get<Ipv6>(endpoint.address).bytes;
        std::copy(bytes.begin(), bytes.end(), in6.sin6_addr.s6_addr);
        std::memcpy(&name, &in6, sizeof in6);
        size = sizeof in6;
    }
    FileDescriptor socket(::socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return Failure{system_error("cannot open a socket", errno, where)};
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), size) == 0 && listen(socket.get(), 8) == 0)
        return socket;
    const int failed = errno;
    auto error =
        system_error("cannot listen for the metrics", failed, where, "choose an address of this host and a free port");
    if (const auto* v4 = std::get_if<Ipv4>(&endpoint.address))
        error = name_owner(std::move(error), failed, link::Protocol::Tcp, *v4, endpoint.port);
    return Failure{std::move(error)};
}

}  // namespace vmrouter
