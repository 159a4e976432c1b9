#include "src/commands/doctor_facts.hpp"

#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "dhcp/hosts_file.hpp"
#include "firewall/foreign.hpp"
#include "firewall/nft.hpp"
#include "src/address_choice.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/commands/doctor_look.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/control_client.hpp"
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
using proof::Subject;

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
        plan.segment->mtu = config.network.mtu.value_or(0);
    }
    if (config.firewall.uplink)
        for (const auto& name : *config.firewall.uplink) plan.uplinks.push_back({name, 0, {}, 0});
    return proof::subject_of(plan, config);
}

void take(Facts& facts, const Subject& subject) {
    facts.segment = subject.interface;
    facts.is_bridge = subject.bridge;
    facts.mtu = subject.mtu;
    if (subject.address.length != 0 && !subject.address.address.is_unspecified()) facts.address = subject.address;
    facts.internet = subject.internet;
    facts.dhcp = subject.dhcp;
    facts.dns = subject.dns;
    facts.isolate = subject.isolate_guests;
    facts.publishes = subject.publishes;
    if (subject.uplinks_named) facts.uplinks = subject.uplinks;
}

/// proc(5), /proc/PID/stat: the letter behind the name in brackets.
bool is_stopped(pid_t pid) {
    const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 4096);
    const auto name_ends = text ? text->rfind(") ") : std::string::npos;
    return name_ends != std::string::npos && name_ends + 2 < text->size() && (*text)[name_ends + 2] == 'T';
}

std::optional<Subject> ask(const std::string& socket, Facts& facts) {
    facts.stopped = facts.running && is_stopped(facts.pid);
    if (facts.stopped) {
        facts.answers = false;
        return std::nullopt;
    }
    auto client = ControlClient::connect(socket);
    if (!client) {
        facts.answers = false;
        return std::nullopt;
    }
    client->limit_wait(patience_with_instance);
    const auto answer = client->request({{"command", "enforced"}});
    facts.answers = answer.has_value();
    return answer ? proof::subject_from_json(*answer) : std::nullopt;
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
    const bool network_manager = managers::is_running(processes, "NetworkManager");
    if (network_manager) {
        const auto said = runner.run({{"nmcli", "networking", "connectivity"}});
        facts.captive_portal = said && said->status == 0 && trim(said->text) == "portal";
    }
    if (!facts.running) return;  // at the start they are told
    if (network_manager) {
        std::vector<std::string> links{facts.segment};
        for (const auto& port : facts.ports) links.push_back(port.name);
        const auto devices = managers::network_manager_devices(runner);
        for (const auto& name : links) {
            if (facts.network_manager || !devices || !devices->contains(name) || !devices->at(name)) continue;
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

std::uint32_t mark_of(const Subject& subject) {
    return subject.mark == 0 ? firewall::default_mark : subject.mark;
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
    auto host = link::read_host_facts(*netlink, subject.interface, mark_of(subject));
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
    look_at_firewalls(facts, mark_of(subject));
    look_for_servers(facts);
    facts.missing_features = missing_features();
    return facts;
}

}  // namespace vmrouter::diagnosis
