#include "src/link/sysctl.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::link {
namespace {

constexpr std::size_t kValueLimit = 4096;

std::string full_path(const std::string& path) {
    return "/proc/sys/" + path;
}

std::string conf4(std::string_view interface, std::string_view key) {
    return "net/ipv4/conf/" + std::string(interface) + "/" + std::string(key);
}

std::string conf6(std::string_view interface, std::string_view key) {
    return "net/ipv6/conf/" + std::string(interface) + "/" + std::string(key);
}

}  // namespace

std::vector<Sysctl> segment_sysctls(std::string_view segment, bool check_sources) {
    std::vector<Sysctl> wanted{
        // No IPv6 towards guests: no address of ours, no router advertisement taken, no neighbour discovery.
        {conf6(segment, "disable_ipv6"), "1", true},
        {conf6(segment, "accept_ra"), "0", true},
        // ARP: answer for our address only, ask from it only, and never for others.
        {conf4(segment, "arp_ignore"), "1", false},
        {conf4(segment, "arp_announce"), "2", false},
        {conf4(segment, "proxy_arp"), "0", false},
        {conf4(segment, "proxy_arp_pvlan"), "0", true},
        // Nobody on the segment tells us where to send, and we tell nobody; 127/8 stays on loopback.
        {conf4(segment, "accept_redirects"), "0", false},
        {conf4(segment, "secure_redirects"), "0", false},
        {conf4(segment, "send_redirects"), "0", false},
        {conf4(segment, "accept_source_route"), "0", false},
        {conf4(segment, "accept_local"), "0", false},
        {conf4(segment, "route_localnet"), "0", false},
        {conf4(segment, "bootp_relay"), "0", false},
        // Source checks look the way back up with the packet's mark, or the guard rules would stop guests that reach
        // each other through us (hairpins).
        {conf4(segment, "src_valid_mark"), "1", false},
    };
    if (check_sources) wanted.push_back({conf4(segment, "rp_filter"), "1", false});
    return wanted;
}

Sysctl port_silence(std::string_view port) {
    return {conf6(port, "disable_ipv6"), "1", true};
}

std::vector<Sysctl> segment_forwarding(std::string_view segment) {
    return {{conf4(segment, "forwarding"), "1", false}};
}

std::vector<Sysctl> uplink_sysctls(std::string_view uplink) {
    return {{conf4(uplink, "src_valid_mark"), "1", false}, {conf4(uplink, "forwarding"), "1", false}};
}

Result<std::string> read_sysctl(const std::string& path) {
    auto value = read_file(full_path(path), kValueLimit);
    if (!value) return value;
    return std::string(trim(*value));
}

Result<void> write_sysctl(const std::string& path, std::string_view value) {
    return write_sysctl(path, value, [] { return true; });
}

Result<void> write_sysctl(const std::string& path, std::string_view value, const std::function<bool()>& still_holds) {
    FileDescriptor file(open(full_path(path).c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) return Failure{system_error("cannot open the kernel setting", errno, full_path(path))};
    if (!still_holds()) return Failure{Error{"the interface has changed meanwhile", full_path(path), {}}};
    const std::string line = std::string(value) + "\n";
    if (const int failed = write_all(file.get(), line); failed != 0)
        return Failure{system_error("cannot set the kernel setting to " + std::string(value), failed, full_path(path))};
    return {};
}

std::string_view interface_in(std::string_view path) {
    for (const std::string_view prefix : {"net/ipv4/conf/", "net/ipv6/conf/"}) {
        if (!path.starts_with(prefix)) continue;
        path.remove_prefix(prefix.size());
        return path.substr(0, path.find('/'));
    }
    return {};
}

bool sysctl_exists(const std::string& path) {
    return access(full_path(path).c_str(), F_OK) == 0;
}

}  // namespace vmrouter::link
