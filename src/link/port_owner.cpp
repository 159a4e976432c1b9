#include "src/link/port_owner.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <map>
#include <memory>
#include <string_view>

#include "src/base/file.hpp"
#include "src/base/ip6.hpp"
#include "src/base/text.hpp"

namespace vmrouter::link {
namespace {

constexpr std::string_view kTcpListen = "0A";

struct Socket {
    std::string inode;
    std::string address;
};

std::optional<std::uint32_t> hex32(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// /proc/net prints each 32-bit word of an address as a number of this machine.
std::optional<std::vector<std::uint8_t>> address_bytes(std::string_view hex) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t at = 0; at + 8 <= hex.size(); at += 8) {
        const auto word = hex32(hex.substr(at, 8));
        if (!word) return std::nullopt;
        const auto raw = std::bit_cast<std::array<std::uint8_t, 4>>(*word);
        bytes.insert(bytes.end(), raw.begin(), raw.end());
    }
    return bytes;
}

/// The text form when a socket on these bytes keeps us from binding `wanted`; nullopt when it does not.
std::optional<std::string> conflicting(const std::vector<std::uint8_t>& bytes, Ipv4 wanted) {
    if (bytes.size() == 4) {
        const Ipv4 address{bytes[0], bytes[1], bytes[2], bytes[3]};
        if (address != wanted && !address.is_unspecified() && !wanted.is_unspecified()) return std::nullopt;
        return to_string(address);
    }
    if (bytes.size() != 16) return std::nullopt;
    Ipv6 address;
    std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    const bool everywhere = address == Ipv6{};
    const bool mapped = bytes[10] == 0xff && address.embedded_ipv4() == wanted;
    if (!everywhere && !mapped) return std::nullopt;
    return "[" + to_string(address) + "]";
}

/// Lines are "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode ...", separated by runs of
/// spaces.
std::vector<std::string_view> columns(std::string_view line) {
    auto parts = split(line, ' ');
    std::erase_if(parts, [](std::string_view part) { return part.empty(); });
    return parts;
}

std::optional<Socket> parse_socket(std::string_view line, bool tcp, Ipv4 wanted, std::uint16_t port) {
    const auto parts = columns(line);
    if (parts.size() < 10 || (tcp && parts[3] != kTcpListen)) return std::nullopt;
    const auto local = split(parts[1], ':');
    if (local.size() != 2 || hex32(local[1]) != port) return std::nullopt;
    const auto bytes = address_bytes(local[0]);
    if (!bytes) return std::nullopt;
    const auto address = conflicting(*bytes, wanted);
    if (!address) return std::nullopt;
    return Socket{std::string(parts[9]), *address + ":" + std::to_string(port)};
}

struct CloseFolder {
    void operator()(DIR* folder) const { closedir(folder); }
};

std::vector<std::string> entries(const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, CloseFolder> folder(opendir(path.c_str()));
    if (!folder) return names;
    while (const dirent* entry = readdir(folder.get())) names.emplace_back(&entry->d_name[0]);
    return names;
}

/// "socket:[12345]" -> "12345".
std::string socket_inode(const std::string& link) {
    std::array<char, 64> target{};
    const auto length = readlink(link.c_str(), target.data(), target.size());
    const std::string_view text(target.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    if (!text.starts_with("socket:[") || !text.ends_with("]")) return {};
    return std::string(text.substr(8, text.size() - 9));
}

std::string program_of(const std::string& process) {
    const auto name = read_file(process + "/comm", 4096);
    return name ? escape(trim(*name)) : std::string("?");  // a process names itself
}

}  // namespace

std::vector<PortOwner> port_owners(Protocol protocol, Ipv4 address, std::uint16_t port) {
    const bool tcp = protocol == Protocol::Tcp;
    std::map<std::string, std::string> wanted;  // inode -> address
    for (const char* file : tcp ? std::array{"tcp", "tcp6"} : std::array{"udp", "udp6"}) {
        const auto table = read_file("/proc/thread-self/net/" + std::string(file));
        if (!table) continue;
        for (const auto line : split(*table, '\n')) {
            if (auto socket = parse_socket(line, tcp, address, port)) wanted.emplace(socket->inode, socket->address);
        }
    }
    std::vector<PortOwner> owners;
    if (wanted.empty()) return owners;
    for (const auto& name : entries("/proc")) {
        const auto pid = parse_number(name, INT32_MAX);
        if (!pid) continue;
        const std::string process = "/proc/" + name;
        for (const auto& fd : entries(process + "/fd")) {
            const auto held = wanted.find(socket_inode(process + "/fd/" + fd));
            if (held == wanted.end()) continue;
            PortOwner owner{static_cast<pid_t>(*pid), program_of(process), held->second};
            if (std::find(owners.begin(), owners.end(), owner) == owners.end()) owners.push_back(std::move(owner));
        }
    }
    if (owners.empty()) {
        for (const auto& [inode, place] : wanted) owners.push_back({0, {}, place});
    }
    return owners;
}

std::string describe(const std::vector<PortOwner>& owners) {
    std::string text;
    for (const PortOwner& owner : owners) {
        if (!text.empty()) text += ", ";
        const std::string who = owner.pid == 0 ? "a process that cannot be seen from here"
                                               : owner.program + " (pid " + std::to_string(owner.pid) + ")";
        text += who + " holds " + owner.address;
    }
    return text;
}

}  // namespace vmrouter::link
