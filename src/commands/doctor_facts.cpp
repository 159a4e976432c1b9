#include "src/commands/doctor_facts.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dhcp/frame.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/message.hpp"
#include "dns/resolv.hpp"
#include "firewall/foreign.hpp"
#include "firewall/nft.hpp"
#include "src/address_choice.hpp"
#include "src/base/file.hpp"
#include "src/base/random.hpp"
#include "src/base/text.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/verify_frames.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/control.hpp"
#include "src/instance_lock.hpp"
#include "src/link/host.hpp"
#include "src/link/sysctl.hpp"
#include "src/link/veth.hpp"
#include "src/managers/managers.hpp"
#include "src/managers/obstacles.hpp"
#include "src/managers/processes.hpp"
#include "src/state.hpp"

namespace vmrouter::diagnosis {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using proof::Subject;
using std::chrono::milliseconds;

constexpr milliseconds patience{1000};
constexpr Ipv4 usual_address{192, 168, 100, 1};

/// What an instance would enforce, as far as a configuration says it.
Subject subject_of(const conf::Config& config, const Folders& folders) {
    Plan plan;
    plan.instance = conf::instance_name(config);
    plan.policy.mark = config.firewall.mark;
    plan.leases_file = config.dhcp.leases_file.value_or(folders.state + "/" + plan.instance + "/leases");
    plan.hosts_file = config.dhcp.hosts_file.value_or(folders.state + "/" + plan.instance + "/hostsfile");
    if (!conf::segment_name(config).empty()) {
        plan.segment.emplace();
        plan.segment->name = conf::segment_name(config);
        plan.segment->is_bridge = config.network.bridge.has_value();
        plan.segment->address = config.network.address.value_or(Cidr{});
    }
    if (config.firewall.uplink)
        for (const auto& name : *config.firewall.uplink) plan.uplinks.push_back({name, 0, {}, 0});
    return proof::subject_of(plan, config);
}

void take(Facts& facts, const Subject& subject) {
    facts.segment = subject.interface;
    facts.is_bridge = subject.bridge;
    if (subject.address.length != 0 && !subject.address.address.is_unspecified()) facts.address = subject.address;
    facts.internet = subject.internet;
    facts.dhcp = subject.dhcp;
    facts.dns = subject.dns;
    facts.isolate = subject.isolate_guests;
    facts.publishes = subject.publishes;
    if (subject.uplinks_named) facts.uplinks = subject.uplinks;
}

std::optional<Subject> ask(const std::string& socket, Facts& facts) {
    auto client = ControlClient::connect(socket);
    if (!client) {
        facts.answers = false;
        return std::nullopt;
    }
    client->limit_wait(patience);
    const auto answer = client->request({{"command", "enforced"}});
    facts.answers = answer.has_value();
    return answer ? proof::subject_from_json(*answer) : std::nullopt;
}

bool is_busy(int type, Ipv4 address, std::uint16_t port, const std::string& device) {
    const FileDescriptor socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    if (!socket) return false;
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    if (type == SOCK_STREAM) setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(socket.get(), SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), static_cast<socklen_t>(device.size()));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(port);
    name.sin_addr.s_addr = htonl(address.value);
    return bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0 && errno == EADDRINUSE;
}

/// Who keeps us from our ports. Tried, not looked up: a socket that is held to another interface is in nobody's way.
void look_at_ports(Facts& facts) {
    if (facts.running) return;  // it has them
    const std::string device = facts.host.find(facts.segment) != nullptr ? facts.segment : "lo";
    const Ipv4 address = facts.address ? facts.address->address : usual_address;
    for (const auto& [type, protocol] :
         {std::pair{int{SOCK_DGRAM}, link::Protocol::Udp}, std::pair{int{SOCK_STREAM}, link::Protocol::Tcp}}) {
        if (!facts.dns || !is_busy(type, address, 53, device)) continue;
        for (auto& owner : link::port_owners(protocol, address, 53))
            if (std::none_of(facts.port53.begin(), facts.port53.end(),
                             [&](const auto& one) { return one.pid == owner.pid && one.pid != 0; }))
                facts.port53.push_back(std::move(owner));
    }
    if (facts.dhcp && is_busy(SOCK_DGRAM, {}, 67, device))
        facts.port67 = link::port_owners(link::Protocol::Udp, {}, 67);
}

/// Asks all servers at once; those that say nothing within the time.
std::vector<std::string> silent_servers(const std::vector<dns::Endpoint>& servers) {
    const auto query = proof::dns_query(0x766d, "example.com");
    std::vector<FileDescriptor> sockets;
    std::vector<pollfd> waiting;
    for (const auto& server : servers) {
        sockaddr_storage to{};
        socklen_t size = 0;
        if (const auto* v4 = std::get_if<Ipv4>(&server.address)) {
            auto& name = reinterpret_cast<sockaddr_in&>(to);
            name.sin_family = AF_INET;
            name.sin_port = htons(server.port);
            name.sin_addr.s_addr = htonl(v4->value);
            size = sizeof name;
        } else {
            auto& name = reinterpret_cast<sockaddr_in6&>(to);
            name.sin6_family = AF_INET6;
            name.sin6_port = htons(server.port);
            std::memcpy(&name.sin6_addr, std::get<Ipv6>(server.address).bytes.data(), 16);
            size = sizeof name;
        }
        FileDescriptor socket(::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        const bool sent = connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), size) == 0 &&
                          send(socket.get(), query.data(), query.size(), 0) > 0;
        waiting.push_back({sent ? socket.get() : -1, POLLIN, 0});
        sockets.push_back(std::move(socket));
    }
    std::vector<bool> answered(servers.size(), false);
    const auto end = std::chrono::steady_clock::now() + patience;
    for (;;) {
        const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
        if (left.count() <= 0 || std::all_of(answered.begin(), answered.end(), [](bool one) { return one; })) break;
        if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) <= 0) break;
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].revents == 0) continue;
            std::array<std::uint8_t, 4096> buffer{};
            if (recv(waiting[i].fd, buffer.data(), buffer.size(), 0) > 0) answered[i] = true;
            waiting[i].fd = -1;
        }
        if (std::all_of(waiting.begin(), waiting.end(), [](const pollfd& one) { return one.fd < 0; })) break;
    }
    std::vector<std::string> silent;
    for (std::size_t i = 0; i < servers.size(); ++i)
        if (!answered[i]) silent.push_back(to_string(servers[i]));
    return silent;
}

void look_at_resolver(Facts& facts, const Subject& subject) {
    auto& resolver = facts.resolver;
    std::vector<dns::Endpoint> servers;
    if (!subject.resolv_file.empty()) resolver.file = subject.resolv_file;
    if (!subject.upstreams.empty()) {
        resolver.file = "dns.upstreams";
        for (const auto& text : subject.upstreams)
            if (const auto server = dns::Endpoint::parse(text)) servers.push_back(*server);
    } else {
        std::error_code ignored;
        struct stat status {};
        resolver.there = stat(resolver.file.c_str(), &status) == 0;
        if (!resolver.there && fs::is_symlink(resolver.file, ignored))
            resolver.dangling = fs::read_symlink(resolver.file, ignored).string();
        servers = dns::read_resolv_conf(resolver.file).nameservers;
    }
    std::vector<dns::Endpoint> others;
    for (const auto& server : servers) {
        const auto* v4 = std::get_if<Ipv4>(&server.address);
        const bool ours = facts.address && v4 != nullptr && *v4 == facts.address->address;
        (ours ? resolver.loops : resolver.servers).push_back(to_string(server));
        if (!ours) others.push_back(server);
    }
    resolver.asked = !others.empty();
    resolver.silent = silent_servers(others);
}

/// Whether the kernel has what we need, tried in a namespace that is gone afterwards.
std::vector<std::string> missing_features() {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return {};
    FileDescriptor in(ends[0]);
    FileDescriptor out(ends[1]);
    const pid_t child = fork();
    if (child < 0) return {};
    if (child == 0) {
        std::string text;
        const auto note = [&text](const std::string& what, const Result<void>& tried) {
            if (!tried) text += what + ": " + tried.error().what + '\n';
        };
        auto space = link::make_namespace();
        if (space) {
            const auto done = link::in_namespace(*space, [&]() -> Result<void> {
                auto netlink = link::Netlink::open();
                if (!netlink) return Failure{std::move(netlink).error()};
                const auto bridge =
                    link::create_bridge(*netlink, "vmv0", {MacAddress{{2, 0x76, 0x6d, 0, 0, 3}}, false, 1500});
                if (!bridge) note("bridges", Failure{bridge.error()});
                auto nft = firewall::Nft::open();
                if (!nft) {
                    note("nf_tables", Failure{nft.error()});
                    return {};
                }
                note("nf_tables", nft->run("table inet t { chain c { type filter hook forward priority 0; }; }\n"));
                note("nf_tables for bridges",
                     nft->run("table bridge t { chain c { type filter hook prerouting priority 0; }; }\n"));
                note("connection tracking",
                     nft->run(
                         "table inet u { chain c { type filter hook forward priority 0; ct state new accept; }; }\n"));
                note("masquerading",
                     nft->run("table ip v { chain c { type nat hook postrouting priority 100; masquerade; }; }\n"));
                return {};
            });
            note("network namespaces", done);
        }
        _exit(write_all(out.get(), text) == 0 ? 0 : 1);
    }
    out.reset();
    std::string text;
    std::array<char, 4096> chunk{};
    for (auto got = read(in.get(), chunk.data(), chunk.size()); got > 0;
         got = read(in.get(), chunk.data(), chunk.size()))
        text.append(chunk.data(), static_cast<std::size_t>(got));
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    std::vector<std::string> lines;
    for (const auto line : split(text, '\n'))
        if (!line.empty()) lines.emplace_back(line);
    return lines;
}

void look_at_files(Facts& facts, const Subject& subject, const Folders& folders) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folders.run, ignored)) {
        const auto path = entry.path();
        if (path.extension() != ".changes" || running_instance(folders.run, path.stem().string())) continue;
        facts.leftovers.push_back({path.stem().string(), path.string()});
    }
    if (!facts.dhcp || subject.leases_file.empty()) return;
    auto folder = fs::path(subject.leases_file).parent_path();
    while (!folder.empty() && folder != folder.parent_path() && !fs::exists(folder, ignored))
        folder = folder.parent_path();
    struct statvfs room {};
    if (statvfs(folder.c_str(), &room) == 0) {
        if ((room.f_flag & ST_RDONLY) != 0)
            facts.files.push_back({"leases cannot be kept: the file system is read-only", folder.string(),
                                   "mount it writable, or set dhcp.leases_file"});
        else if (room.f_bavail == 0 || (room.f_files != 0 && room.f_favail == 0))
            facts.files.push_back({"leases cannot be kept: the disk is full, so no new guest gets an address",
                                   folder.string(), "make room"});
    }
    if (fs::exists(subject.leases_file, ignored) && !fs::is_regular_file(subject.leases_file, ignored))
        facts.files.push_back({"leases cannot be kept: this is no plain file", subject.leases_file,
                               "remove it, or set dhcp.leases_file"});
    if (const auto text = read_file(subject.hosts_file)) {
        auto parsed = dhcp::parse_hosts_file(*text, subject.hosts_file);
        facts.hosts_file = std::move(parsed.problems);
        if (facts.address)
            static_cast<void>(dhcp::Reservations::build({}, std::move(parsed.entries), *facts.address, facts.segment,
                                                        facts.hosts_file));
    }
}

void look_at_managers(Facts& facts) {
    managers::SystemRunner runner;
    const managers::Managers managers(runner);
    if (!facts.segment.empty()) facts.rivals = managers.obstacles(facts.segment);
    const auto processes = managers::processes();
    if (managers::is_running(processes, "firewalld")) {
        facts.strict_forward_ports = false;
        if (const auto text = read_file("/etc/firewalld/firewalld.conf"))
            for (const auto line : split(*text, '\n'))
                if (const auto words = split(trim(line), '=');
                    words.size() == 2 && trim(words[0]) == "StrictForwardPorts" && to_lower(trim(words[1])) == "yes")
                    facts.strict_forward_ports = true;
    }
    if (!facts.running) return;  // at the start they are told
    if (managers::is_running(processes, "NetworkManager")) {
        std::vector<std::string> links{facts.segment};
        for (const auto& port : facts.ports) links.push_back(port.name);
        for (const auto& name : links) {
            if (facts.network_manager || !managers::network_manager_manages(runner, name).value_or(false)) continue;
            facts.network_manager = true;
            facts.network_manager_link = name;
        }
    }
    if (managers::is_running(processes, "systemd-networkd")) {
        const auto said = runner.run({{"networkctl", "--no-legend", "--no-pager", "list", facts.segment}});
        if (said && said->status == 0) {
            const auto text = trim(said->text);
            facts.networkd = !text.empty() && !text.ends_with("unmanaged");
        }
    }
}

void look_at_firewalls(Facts& facts, std::uint32_t mark) {
    facts.bridge_calls_iptables = link::read_sysctl("net/bridge/bridge-nf-call-iptables").has_value() &&
                                  *link::read_sysctl("net/bridge/bridge-nf-call-iptables") == "1";
    auto nft = firewall::Nft::open();
    if (!nft) return;
    managers::SystemRunner runner;
    if (auto found = managers::firewall_obstacles(*nft, runner, mark, facts.segment))
        facts.obstacles = std::move(*found);
    if (const auto rules = nft->list("list ruleset")) facts.path_rules = path_rules(*rules);
    if (facts.running)
        facts.rules_stand = nft->list("list table inet " + firewall::table_name(facts.segment)).has_value();
}

/// One packet socket on the segment.
FileDescriptor segment_socket(const Facts& facts) {
    const auto* segment = facts.host.find(facts.segment);
    if (segment == nullptr || !segment->up()) return {};
    FileDescriptor socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_ll name{};
    name.sll_family = AF_PACKET;
    name.sll_protocol = htons(ETH_P_ALL);
    name.sll_ifindex = segment->index;
    if (!socket || bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) return {};
    return socket;
}

/// Reads frames until `done` or until time is up.
void listen(int fd, milliseconds limit, const std::function<bool(Bytes)>& done) {
    const auto end = std::chrono::steady_clock::now() + limit;
    std::array<std::uint8_t, 65536> buffer{};
    for (;;) {
        const auto left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
        pollfd waiting{fd, POLLIN, 0};
        if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) <= 0) return;
        const auto size = recv(fd, buffer.data(), buffer.size(), 0);
        if (size > 0 && done(Bytes(buffer).first(static_cast<std::size_t>(size)))) return;
    }
}

/// Who else answers a DISCOVER on the segment. Our own firewall drops such answers before the bridge's own socket sees
/// them, so each port is listened to, where a frame is still as it came.
void look_for_servers(Facts& facts) {
    const auto socket = segment_socket(facts);
    if (!socket || !facts.dhcp) return;
    SystemRandom random;
    const auto value = random.u64();
    const MacAddress mac{{0x02, 0x76, 0x6d, static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8),
                          static_cast<std::uint8_t>(value >> 16)}};
    dhcp::Message message;
    message.xid = static_cast<std::uint32_t>(random.u64());
    message.flags = dhcp::Message::broadcast_flag;
    message.chaddr = dhcp::HardwareAddress(mac);
    message.options.add_u8(dhcp::option::message_type, static_cast<std::uint8_t>(dhcp::MessageType::Discover));
    const auto payload = dhcp::serialize(message, {}).bytes;
    const auto frame = dhcp::build_frame(mac, MacAddress::broadcast(), {}, dhcp::client_port, Ipv4{255, 255, 255, 255},
                                         dhcp::server_port, payload);
    FileDescriptor ears(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL)));
    if (!ears || send(socket.get(), frame.data(), frame.size(), 0) < 0) return;
    listen(ears.get(), milliseconds{500}, [&](Bytes bytes) {
        const auto datagram = dhcp::parse_frame(bytes, dhcp::ChecksumState::NotReady);
        if (!datagram || datagram->destination_port != dhcp::client_port) return false;
        const auto offer = dhcp::parse(datagram->payload);
        if (!offer || offer->xid != message.xid || offer->op != dhcp::Message::reply) return false;
        const auto server = offer->server_identifier().value_or(datagram->source);
        if (facts.running && facts.address && server == facts.address->address) return false;
        const std::string text = to_string(server) + " (" + to_string(datagram->ethernet_source) + ")";
        if (std::find(facts.rogue_servers.begin(), facts.rogue_servers.end(), text) == facts.rogue_servers.end())
            facts.rogue_servers.push_back(text);
        return false;
    });
}

std::optional<int> number_in(const std::string& path) {
    const auto text = read_file(path, 4096);
    const auto number = text ? parse_number(trim(*text), INT32_MAX) : std::nullopt;
    return number ? std::optional<int>(static_cast<int>(*number)) : std::nullopt;
}

void look_at_clock(Facts& facts) {
    facts.now = SystemClock{}.now();
    timex status{};
    facts.clock_synchronized = adjtimex(&status) >= 0 && (status.status & STA_UNSYNC) == 0;
}

/// The port behind which the bridge has learnt a MAC, from /sys: entries of 16 bytes.
std::string port_of(const std::string& bridge, const MacAddress& mac) {
    const auto table = read_file("/sys/class/net/" + bridge + "/brforward");
    if (!table) return {};
    for (std::size_t at = 0; at + 16 <= table->size(); at += 16) {
        if (std::memcmp(table->data() + at, mac.bytes.data(), 6) != 0) continue;
        const int number = static_cast<unsigned char>((*table)[at + 6]) | static_cast<unsigned char>((*table)[at + 12])
                                                                              << 8;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator("/sys/class/net/" + bridge + "/brif", ignored)) {
            const auto text = read_file(entry.path().string() + "/port_no", 64);
            if (text && std::strtol(text->c_str(), nullptr, 16) == number) return entry.path().filename().string();
        }
    }
    return {};
}

void ask_for(const Facts& facts, GuestFacts& guest) {
    const auto socket = segment_socket(facts);
    const auto* segment = facts.host.find(facts.segment);
    if (!socket || !guest.address || !facts.address || !segment->mac) return;
    const auto frame = proof::arp_frame(*segment->mac, MacAddress::broadcast(),
                                        {1, *segment->mac, facts.address->address, {}, *guest.address}, 0);
    guest.arp = false;
    for (int tries = 0; tries < 2 && !*guest.arp; ++tries) {
        [[maybe_unused]] const auto sent = send(socket.get(), frame.data(), frame.size(), 0);
        listen(socket.get(), milliseconds{400}, [&](Bytes bytes) {
            const auto arp = bytes.size() > 14 ? proof::parse_arp(bytes.subspan(14)) : std::nullopt;
            if (!arp || arp->operation != 2 || arp->sender != *guest.address) return false;
            guest.arp = true;
            guest.arp_mac = arp->sender_mac;
            return true;
        });
    }
}

void take_answer(GuestFacts& guest, const json& answer) {
    const auto text = [](const json& object, const char* key) {
        const auto found = object.find(key);
        return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    if (const auto mac = MacAddress::parse(text(answer, "mac"))) guest.mac = mac;
    if (const auto address = Ipv4::parse(text(answer, "address"))) guest.address = address;
    guest.lease_state = text(answer, "state");
    guest.lease_over = answer.value("expired", false);
    guest.port = text(answer, "port");
    guest.forged = answer.value("forged", std::uint64_t{0});
    guest.queries = answer.value("queries", std::uint64_t{0});
    guest.dns_known = answer.contains("queries");
    for (const auto& one : answer.value("blocked", json::array())) guest.blocked.push_back(one.get<std::string>());
    for (const auto& one : answer.value("events", json::array()))
        guest.events.push_back({text(one, "message"), text(one, "verb"), text(one, "silence"), text(one, "detail"),
                                one.value("count", std::uint64_t{1})});
}

}  // namespace

Result<Facts> gather(const cli::Instance& instance, const Folders& folders) {
    Facts facts;
    Subject subject;
    std::optional<std::string> socket;
    if (!instance.file.empty()) {
        const auto loaded = conf::load_file(instance.file);
        if (!loaded.errors.empty()) {
            const auto& first = loaded.errors.front();
            return Failure{Error{first.what, to_string(conf::Place{first.file, first.line, first.column}), first.hint}};
        }
        subject = subject_of(loaded.config, folders);
        facts.segment = subject.interface;
        if (loaded.config.control.socket) socket = *loaded.config.control.socket;
    } else if (!instance.name.empty()) {
        conf::Config config;
        config.network.bridge = instance.name;
        subject = subject_of(config, folders);
    } else if (const auto running = running_instances(folders.run); running.size() == 1) {
        conf::Config config;
        config.network.bridge = running.front();
        subject = subject_of(config, folders);
    } else if (running.size() > 1) {
        return Failure{Error{"several instances are running", {}, "name one with --instance"}};
    }
    const std::string name = subject.instance;
    if (const auto pid = name.empty() ? std::nullopt : running_instance(folders.run, name)) {
        facts.running = true;
        facts.pid = *pid;
        if (auto said = ask(socket.value_or(folders.run + "/" + name + ".sock"), facts)) subject = std::move(*said);
    }
    auto netlink = link::Netlink::open();
    if (!netlink) return Failure{std::move(netlink).error()};
    auto host = link::read_host_facts(*netlink, subject.interface);
    if (!host) return Failure{std::move(host).error()};
    facts.host = std::move(*host);
    take(facts, subject);
    if (!facts.address && !facts.segment.empty())
        if (const auto state = load_state(folders.state + "/" + subject.instance)) facts.address = state->address;
    for (const auto& link : facts.host.links) {
        const std::string path = "net/ipv4/conf/" + link.name + "/forwarding";
        if (const auto value = link::read_sysctl(path)) facts.host.sysctls[path] = *value;
    }
    const auto* segment = facts.host.find(facts.segment);
    // A name alone does not say which of the two it is.
    if (instance.file.empty() && !facts.running && segment != nullptr) facts.is_bridge = segment->kind == "bridge";
    if (segment != nullptr && segment->kind == "bridge") {
        if (auto ports = link::ports(*netlink, facts.segment)) facts.ports = std::move(*ports);
        const std::string folder = "/sys/class/net/" + facts.segment + "/bridge/";
        if (number_in(folder + "stp_state").value_or(0) != 0) facts.forward_delay = number_in(folder + "forward_delay");
    }
    if (facts.address) {
        auto choice = check_address(facts.host, facts.segment, *facts.address);
        if (choice)
            facts.address_warnings = std::move(choice->warnings);
        else
            facts.address_problem = std::move(choice).error();
    }
    look_at_clock(facts);
    look_at_ports(facts);
    if (facts.dns) look_at_resolver(facts, subject);
    look_at_files(facts, subject, folders);
    look_at_managers(facts);
    look_at_firewalls(facts, subject.mark == 0 ? firewall::default_mark : subject.mark);
    look_for_servers(facts);
    facts.missing_features = missing_features();
    return facts;
}

GuestFacts gather_guest(const std::string& name, const Facts& facts, const Folders& folders) {
    GuestFacts guest;
    guest.asked = name;
    guest.mac = MacAddress::parse(name);
    guest.address = Ipv4::parse(name);
    if (facts.running) {
        auto client = ControlClient::connect(folders.run + "/" + facts.segment + ".sock");
        if (client) {
            client->limit_wait(patience);
            if (const auto answer = client->request({{"command", "guest"}, {"guest", name}}))
                take_answer(guest, *answer);
        }
    }
    if (guest.mac)
        if (auto port = port_of(facts.segment, *guest.mac); !port.empty()) guest.port = std::move(port);
    for (const auto& link : facts.host.links)
        if (link.kind == "tun" && link.master == 0) guest.free_taps.push_back(link.name);
    ask_for(facts, guest);
    return guest;
}

}  // namespace vmrouter::diagnosis
