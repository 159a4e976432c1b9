#include "src/plan.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>

#include "conf/validate.hpp"
#include "src/address_choice.hpp"
#include "src/base/text.hpp"
#include "src/link/bridge.hpp"
#include "src/link/rule.hpp"

namespace vmrouter {
namespace {

constexpr std::uint16_t ethernet_mtu = 1500;

/// The error with the place of `key` in front, as a configuration error reads.
Error at(const conf::Places& places, std::string_view key, Error error) {
    const auto place = to_string(places.of(key));
    error.where = place.empty() ? std::string(key) : place;
    return error;
}

std::vector<std::string> configured_uplinks(const conf::Config& config) {
    return config.firewall.uplink.value_or(std::vector<std::string>{});
}

/// The largest packet that reaches the internet whole, never more than Ethernet's.
std::uint16_t uplink_mtu(const std::vector<link::Uplink>& uplinks) {
    std::uint32_t mtu = ethernet_mtu;
    for (const auto& uplink : uplinks)
        if (uplink.mtu != 0) mtu = std::min(mtu, uplink.mtu);
    return static_cast<std::uint16_t>(mtu);
}

std::optional<Error> refuse_segment(const conf::Config& config, const conf::Places& places,
                                    const link::HostFacts& facts) {
    const bool is_bridge = config.network.bridge.has_value();
    const auto name = conf::segment_name(config);
    const auto* key = is_bridge ? "network.bridge" : "network.interface";
    if (auto refused = is_bridge ? link::refuse_bridge(facts, name) : link::refuse_interface(facts, name))
        return at(places, key, std::move(*refused));
    const auto uplinks = configured_uplinks(config);
    if (std::find(uplinks.begin(), uplinks.end(), name) != uplinks.end())
        return at(places, "firewall.uplink",
                  {name + " is the segment itself", {}, "name the interface that leads to the internet"});
    return std::nullopt;
}

Result<Segment> make_segment(const conf::Config& config, const conf::Places& places, const link::HostFacts& facts,
                             const PlanContext& context, std::vector<std::string>& warnings) {
    if (auto refused = refuse_segment(config, places, facts)) return Failure{std::move(*refused)};
    Segment segment;
    segment.name = conf::segment_name(config);
    segment.is_bridge = config.network.bridge.has_value();
    segment.stp = config.network.stp;
    segment.isolate_guests = config.network.isolate_guests;
    segment.mac = link::stable_mac(context.machine_id, segment.name);
    const auto* present = facts.find(segment.name);
    segment.exists = present != nullptr && !(segment.is_bridge && link::is_ours(*present, segment.mac));

    auto choice = config.network.address ? check_address(facts, segment.name, *config.network.address)
                                         : choose_address(facts, segment.name, context.remembered_address);
    if (!choice) return Failure{at(places, "network.address", std::move(choice).error())};
    segment.address = choice->address;
    // What the reader could not judge while the address was "auto".
    const auto misfits = config.network.address ? std::vector<conf::Diagnostic>{}
                                                : conf::check_addresses(config, segment.address, places);
    if (!misfits.empty()) {
        const auto& first = misfits.front();
        return Failure{Error{
            first.what, to_string(conf::Place{first.file, first.line, first.column}),
            "network.address is auto and became " + to_string(segment.address) + "; give it in the configuration"}};
    }
    warnings.insert(warnings.end(), choice->warnings.begin(), choice->warnings.end());

    const auto automatic = uplink_mtu(link::uplinks(facts, segment.name, configured_uplinks(config)));
    if (config.network.mtu) {
        segment.mtu = *config.network.mtu;
        segment.set_mtu = present == nullptr || present->mtu != segment.mtu;
    } else if (present != nullptr && segment.exists) {
        segment.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(automatic, present->mtu));
    } else {
        segment.mtu = automatic;
        segment.set_mtu = present != nullptr && present->mtu != automatic;
    }
    return segment;
}

firewall::Protocol to_policy(conf::Protocol protocol) {
    return protocol == conf::Protocol::Tcp ? firewall::Protocol::Tcp : firewall::Protocol::Udp;
}

std::vector<firewall::Exception> to_policy(const std::vector<conf::Exception>& exceptions) {
    std::vector<firewall::Exception> out;
    for (const auto& exception : exceptions) {
        firewall::Exception one{exception.network, std::nullopt, std::nullopt};
        if (exception.protocol) one.protocol = to_policy(*exception.protocol);
        if (exception.ports) one.ports = firewall::PortRange{exception.ports->first, exception.ports->last};
        out.push_back(one);
    }
    return out;
}

firewall::SourceGuard to_guard(conf::Firewall::SourceGuard guard) {
    switch (guard) {
        case conf::Firewall::SourceGuard::Off:
            return firewall::SourceGuard::Off;
        case conf::Firewall::SourceGuard::Subnet:
            return firewall::SourceGuard::Subnet;
        case conf::Firewall::SourceGuard::Lease:
            return firewall::SourceGuard::Lease;
    }
    return firewall::SourceGuard::Subnet;
}

std::vector<firewall::Uplink> to_policy(const std::vector<link::Uplink>& uplinks) {
    std::vector<firewall::Uplink> out;
    for (const auto& uplink : uplinks) {
        if (uplink.gateways.empty()) out.push_back({uplink.name, std::nullopt, std::nullopt});
        for (const auto gateway : uplink.gateways) out.push_back({uplink.name, gateway, std::nullopt});
    }
    return out;
}

bool host_forwards(const link::HostFacts& facts) {
    const auto found = facts.sysctls.find("net/ipv4/ip_forward");
    return found != facts.sysctls.end() && found->second != "0";
}

/// What guests together may have of the connections that this machine can track: never more than half.
std::uint32_t connections_of_segment(const link::HostFacts& facts) {
    const std::uint32_t usual = firewall::Segment{}.max_segment_connections;
    const auto found = facts.sysctls.find("net/netfilter/nf_conntrack_max");
    const auto most = found == facts.sysctls.end() ? std::nullopt : parse_number(found->second, UINT32_MAX);
    return most ? static_cast<std::uint32_t>(std::clamp(*most / 2, std::uint64_t{1}, std::uint64_t{usual}))
                : usual;  // not known until the module is loaded
}

firewall::Segment to_policy(const conf::Config& config, const Segment& segment, const link::HostFacts& facts,
                            const PlanContext& context) {
    firewall::Segment out;
    out.interface = segment.name;
    out.mode = segment.is_bridge ? firewall::Mode::Bridge : firewall::Mode::Interface;
    out.address = segment.address;
    out.internet = config.firewall.internet;
    out.lan = config.firewall.lan == conf::Firewall::Lan::Allow ? firewall::Lan::Allow : firewall::Lan::Block;
    out.source_guard = to_guard(config.firewall.source_guard);
    out.isolate_guests = segment.isolate_guests;
    out.dhcp = config.dhcp.enabled;
    out.dns = config.dns.enabled;
    out.redirect_dns = config.firewall.redirect_dns;
    out.allow_domains = !config.firewall.allow_domains.empty();
    for (const auto& port : config.firewall.open_host_ports)
        out.open_host_ports.push_back({to_policy(port.protocol), port.port});
    out.max_connections = config.firewall.max_connections;
    out.max_segment_connections = connections_of_segment(facts);
    out.stp = segment.stp;
    out.forward_guard = !host_forwards(facts);
    out.match_bridge_name = context.match_bridge_name;
    out.ingress_guard = !segment.is_bridge && facts.find(segment.name) != nullptr;
    return out;
}

/// An uplink for IPv6 is another entry, which IPv4 does not use when it names an IPv6 gateway; a tunnel serves both.
void add_ipv6(firewall::Policy& policy, const std::vector<link::Uplink6>& uplinks,
              const std::vector<link::Network6>& networks) {
    for (const auto& uplink : uplinks) {
        if (uplink.gateways.empty()) policy.uplinks.push_back({uplink.name, std::nullopt, std::nullopt, true});
        for (const auto& gateway : uplink.gateways)
            policy.uplinks.push_back({uplink.name, std::nullopt, gateway, true});
    }
    for (const auto& network : networks) policy.lan6.push_back({network.address, network.length});
}

/// The links beside the uplinks by which guests reach what is allowed of the host's networks.
std::vector<std::string> side_links(const firewall::Policy& policy, const link::HostFacts& facts) {
    std::vector<std::string> names;
    if (!policy.segment) return names;
    const auto is_allowed = [&policy](const Cidr& network) {
        return policy.segment->lan == firewall::Lan::Allow ||
               std::any_of(policy.allow.begin(), policy.allow.end(),
                           [&network](const auto& exception) { return exception.destination.overlaps(network); });
    };
    const auto is_uplink = [&policy](const std::string& name) {
        return std::any_of(policy.uplinks.begin(), policy.uplinks.end(),
                           [&](const auto& one) { return one.leads_to_ipv4() && one.name == name; });
    };
    for (const auto& route : facts.routes) {
        if (route.type != link::RouteType::Unicast || route.destination.length == 0 || !is_allowed(route.destination))
            continue;
        for (const auto& hop : route.nexthops) {
            const auto* link = facts.find(hop.link);
            if (link == nullptr || link->loopback() || link->name == policy.segment->interface || is_uplink(link->name))
                continue;
            names.push_back(link->name);
        }
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

std::string folder_of(const PlanContext& context, const std::string& instance) {
    return context.folders.state + "/" + instance;
}

}  // namespace

firewall::Policy make_policy(const conf::Config& config, const std::optional<Segment>& segment,
                             const link::HostFacts& facts, const PlanContext& context, const Guests& guests) {
    firewall::Policy policy;
    policy.instance = conf::instance_name(config);
    if (segment) policy.segment = to_policy(config, *segment, facts, context);
    policy.usermode = {context.usermode_uids, context.resolvers, context.resolvers6};
    policy.mark = config.firewall.mark;
    policy.log_blocked = config.firewall.log_blocked;
    policy.log_group = firewall::log_group(policy.instance);
    policy.allow = to_policy(config.firewall.allow);
    policy.block = config.firewall.block;

    const std::string name = conf::segment_name(config);
    const auto uplinks = link::uplinks(facts, name, configured_uplinks(config));
    policy.uplinks = to_policy(uplinks);
    policy.lan = link::lan_prefixes(facts, name, uplinks);
    policy.side_links = side_links(policy, facts);
    if (!context.usermode_uids.empty())
        add_ipv6(policy, link::uplinks6(facts, name, configured_uplinks(config)), link::lan_prefixes6(facts));
    if (segment && segment->is_bridge)
        for (const auto* port : facts.ports_of(segment->name)) policy.ports.push_back(port->name);
    policy.other_segments = guests.other_segments;
    policy.bindings = guests.bindings;
    policy.forwards = guests.forwards;
    return policy;
}

Result<std::vector<std::uint32_t>> usermode_uids(const conf::Config& config, const conf::Places& places,
                                                 std::vector<std::string>& warnings) {
    std::vector<std::uint32_t> uids;
    for (std::size_t i = 0; i < config.usermode.size(); ++i) {
        const auto key = "usermode[" + std::to_string(i) + "].user";
        const auto* name = std::get_if<std::string>(&config.usermode[i].user);
        const auto* entry = name == nullptr ? nullptr : getpwnam(name->c_str());
        if (name != nullptr && entry == nullptr)
            return Failure{at(places, key, {"there is no user " + *name, {}, "create it, or give its number"})};
        const std::uint32_t uid = entry != nullptr ? entry->pw_uid : std::get<std::uint32_t>(config.usermode[i].user);
        if (uid == 0)
            return Failure{
                at(places, key, {"user-mode guests cannot be run by root", {}, "run QEMU as a user of its own"})};
        if (access(("/run/user/" + std::to_string(uid)).c_str(), F_OK) == 0)
            warnings.push_back("user " + std::to_string(uid) +
                               " is logged in: everything that runs as this user is confined to the internet");
        uids.push_back(uid);
    }
    return uids;
}

std::vector<std::string> forwarding_links(const firewall::Policy& policy) {
    if (!policy.segment || !policy.segment->internet) return {};
    std::vector<std::string> names = policy.side_links;
    for (const auto& uplink : policy.uplinks)
        if (uplink.leads_to_ipv4()) names.push_back(uplink.name);
    std::erase_if(names, [](const std::string& name) { return !firewall::can_name(name); });
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

std::vector<link::Sysctl> forwarding_settings(const firewall::Policy& policy) {
    if (!policy.segment || !policy.segment->internet) return {};
    auto settings = link::segment_forwarding(policy.segment->interface);
    for (const auto& name : forwarding_links(policy)) {
        const auto more = link::uplink_sysctls(name);
        settings.insert(settings.end(), more.begin(), more.end());
    }
    return settings;
}

std::vector<Cidr> guarded_prefixes(const firewall::Policy& policy) {
    std::vector<Cidr> prefixes = policy.block;
    // Of the reserved ranges those that somebody may serve or route to: cloud metadata and agents.
    if (policy.segment)
        for (const auto& range : firewall::reserved_ranges())
            if (range.length >= 16) prefixes.push_back(range);
    if (policy.segment && policy.segment->lan == firewall::Lan::Block) {
        const auto ranges = firewall::private_ranges();
        prefixes.insert(prefixes.end(), ranges.begin(), ranges.end());
        prefixes.insert(prefixes.end(), policy.lan.begin(), policy.lan.end());
    }
    return link::guard_prefixes(prefixes);
}

Result<Plan> make_plan(const conf::Config& config, const conf::Places& places, const link::HostFacts& facts,
                       const PlanContext& context) {
    Plan plan;
    plan.instance = conf::instance_name(config);
    plan.state_folder = folder_of(context, plan.instance);
    plan.leases_file = config.dhcp.leases_file.value_or(plan.state_folder + "/leases");
    plan.hosts_file = config.dhcp.hosts_file.value_or(plan.state_folder + "/hostsfile");
    plan.control_socket = config.control.socket.value_or(context.folders.run + "/" + plan.instance + ".sock");
    if (conf::segment_name(config).empty()) {
        plan.uplinks = link::uplinks(facts, "", configured_uplinks(config));
        plan.policy = make_policy(config, std::nullopt, facts, context, {});
        return plan;
    }

    auto segment = make_segment(config, places, facts, context, plan.warnings);
    if (!segment) return Failure{std::move(segment).error()};
    plan.uplinks = link::uplinks(facts, segment->name, configured_uplinks(config));
    plan.policy = make_policy(config, std::optional<Segment>(*segment), facts, context, {});
    plan.lans = guarded_prefixes(plan.policy);
    if (config.dns.enabled && config.dns.host_lookup) plan.host_lookup_domain = config.dns.domain;
    plan.fill_checksums = config.dhcp.checksum_fill;
    const bool check_sources = config.firewall.source_guard != conf::Firewall::SourceGuard::Off;
    plan.sysctls = link::segment_sysctls(segment->name, check_sources);
    plan.forwarding = forwarding_settings(plan.policy);
    if (config.firewall.internet && plan.uplinks.empty())
        plan.warnings.emplace_back("this machine has no route to the internet yet; guests get it when it appears");
    plan.segment = std::move(*segment);
    return plan;
}

dhcp::ServerConfig dhcp_config(const conf::Config& config, const Segment& segment,
                               std::vector<std::string> refused_names) {
    dhcp::ServerConfig out;
    out.address = segment.address;
    out.interface = segment.name;
    out.ports_told = segment.is_bridge;
    if (config.dhcp.range)
        out.range = {config.dhcp.range->first, config.dhcp.range->last};
    else
        out.range = {Ipv4{segment.address.first().value + 1}, Ipv4{segment.address.last().value - 1}};
    // Ours at an edge is left out, as everybody does who writes the range by hand: the address that a guest's MAC
    // stands for depends on where it begins, and dnsmasq would give the same.
    if (!config.dhcp.range && out.range.first == segment.address.address) out.range.first.value++;
    if (!config.dhcp.range && out.range.last == segment.address.address) out.range.last.value--;
    out.lease_time = config.dhcp.lease_time;
    out.renew_time = config.dhcp.renew_time;
    out.rebind_time = config.dhcp.rebind_time;
    out.max_leases = config.dhcp.max_leases.value_or(0);
    out.max_leases_per_port = config.dhcp.max_leases_per_port;
    out.authoritative = config.dhcp.authoritative;
    out.no_override = config.dhcp.no_override;
    out.ping_check = config.dhcp.ping_check;
    out.rapid_commit = config.dhcp.rapid_commit;
    out.identity =
        config.dhcp.identity == conf::Dhcp::Identity::ClientId ? dhcp::Identity::ClientId : dhcp::Identity::Mac;
    if (config.dns.enabled) out.dns_servers = {segment.address.address};
    out.ntp_servers = config.dhcp.ntp_servers;
    out.domain = config.dns.domain;
    out.mtu = segment.mtu == ethernet_mtu ? std::uint16_t{0} : segment.mtu;
    out.boot_server = config.dhcp.boot_server;
    out.boot_file = config.dhcp.boot_file;
    for (const auto& option : config.dhcp.options) out.options.push_back({option.code, option.data});
    out.refused_names = std::move(refused_names);
    return out;
}

std::vector<dhcp::HostEntry> configured_hosts(const conf::Config& config, const conf::Places& places) {
    std::vector<dhcp::HostEntry> entries;
    for (std::size_t i = 0; i < config.dhcp.host.size(); ++i) {
        const auto& host = config.dhcp.host[i];
        dhcp::HostEntry entry;
        for (const auto& mac : host.macs) entry.macs.push_back({dhcp::HardwareAddress(mac), 0});
        entry.client_id = host.client_id;
        entry.address = host.address;
        entry.name = host.name;
        entry.lease_time = host.lease_time;
        entry.ignore = host.ignore;
        entry.where = to_string(places.of("dhcp.host[" + std::to_string(i) + "]"));
        entries.push_back(std::move(entry));
    }
    return entries;
}

std::vector<std::string> host_names(std::string_view hosts_text, std::string_view host_name) {
    std::vector<std::string> names;
    if (!host_name.empty()) names.push_back(to_lower(host_name));
    for (const auto line : split(hosts_text, '\n')) {
        std::string spaced(line.substr(0, line.find('#')));
        std::replace(spaced.begin(), spaced.end(), '\t', ' ');
        bool is_address = true;
        for (const auto word : split(spaced, ' ')) {
            const auto name = trim(word);
            if (name.empty()) continue;
            if (!is_address) names.push_back(to_lower(name));
            is_address = false;
        }
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    return names;
}

}  // namespace vmrouter
