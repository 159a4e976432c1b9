// What an instance says of itself for verify: made of its plan, carried by the control socket.

#include <nlohmann/json.hpp>

#include "firewall/ruleset.hpp"
#include "src/commands/verify_probes.hpp"

namespace vmrouter::proof {
namespace {

using nlohmann::json;

json texts(const std::vector<Cidr>& networks) {
    auto list = json::array();
    for (const auto& network : networks) list.push_back(to_string(network));
    return list;
}

std::vector<Cidr> networks(const json& list) {
    std::vector<Cidr> out;
    for (const auto& text : list)
        if (const auto network = Cidr::parse(text.get<std::string>())) out.push_back(*network);
    return out;
}

std::string text_of(const conf::Endpoint& server) {
    const auto address = std::visit([](const auto& one) { return to_string(one); }, server.address);
    const bool v6 = std::holds_alternative<Ipv6>(server.address);
    return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(server.port);
}

/// The rules as they are without guests: who has a lease changes from moment to moment.
std::string rules_without_guests(firewall::Policy policy) {
    policy.bindings.clear();
    policy.forwards.clear();
    return firewall::ruleset(policy);
}

}  // namespace

Subject subject_of(const Plan& plan, const conf::Config& config) {
    Subject out;
    out.instance = plan.instance;
    out.mark = plan.policy.mark;
    out.ruleset = rules_without_guests(plan.policy);
    out.leases_file = plan.leases_file;
    out.hosts_file = plan.hosts_file;
    out.resolv_file = config.dns.resolv_file;
    if (config.dns.upstreams)
        for (const auto& server : *config.dns.upstreams) out.upstreams.push_back(text_of(server));
    out.uplinks_named = config.firewall.uplink && !config.firewall.uplink->empty();
    for (const auto& forward : config.firewall.forward)
        if (forward.listen.address && !forward.listen.address->is_loopback()) out.publishes = true;
    if (!plan.segment) return out;
    out.interface = plan.segment->name;
    out.bridge = plan.segment->is_bridge;
    out.mtu = plan.segment->mtu;
    out.address = plan.segment->address;
    out.internet = config.firewall.internet;
    out.lan_blocked = config.firewall.lan == conf::Firewall::Lan::Block;
    out.dhcp = config.dhcp.enabled;
    out.dns = config.dns.enabled;
    out.redirect_dns = config.firewall.redirect_dns;
    out.rebind_protection = config.dns.rebind_protection;
    out.isolate_guests = config.network.isolate_guests;
    out.source_guard = config.firewall.source_guard != conf::Firewall::SourceGuard::Off;
    out.domain = config.dns.domain;
    out.names_limited = !config.firewall.allow_domains.empty();
    out.names_kept_in = conf::names_stay_inside(config);
    for (const auto& name : config.firewall.allow_domains)
        if (!name.wildcard && out.allowed_name.empty()) out.allowed_name = name.name;
    for (const auto& port : config.firewall.open_host_ports)
        out.open_ports.push_back((port.protocol == conf::Protocol::Tcp ? "tcp/" : "udp/") + std::to_string(port.port));
    for (const auto& uplink : plan.uplinks) {
        out.uplinks.push_back(uplink.name);
        out.gateways.insert(out.gateways.end(), uplink.gateways.begin(), uplink.gateways.end());
    }
    out.lan = plan.policy.lan;
    out.block = plan.policy.block;
    for (const auto& exception : plan.policy.allow) out.allow.push_back(exception.destination);
    out.guard = guarded_prefixes(plan.policy);
    out.settings = plan.sysctls;
    const auto forwarding = forwarding_settings(plan.policy);
    out.settings.insert(out.settings.end(), forwarding.begin(), forwarding.end());
    return out;
}

json to_json(const Subject& subject) {
    auto settings = json::array();
    for (const auto& one : subject.settings)
        settings.push_back({{"path", one.path}, {"value", one.value}, {"optional", one.optional}});
    auto gateways = json::array();
    for (const auto one : subject.gateways) gateways.push_back(to_string(one));
    return {{"instance", subject.instance},
            {"interface", subject.interface},
            {"bridge", subject.bridge},
            {"address", to_string(subject.address)},
            {"internet", subject.internet},
            {"lan_blocked", subject.lan_blocked},
            {"dhcp", subject.dhcp},
            {"dns", subject.dns},
            {"redirect_dns", subject.redirect_dns},
            {"rebind_protection", subject.rebind_protection},
            {"isolate_guests", subject.isolate_guests},
            {"source_guard", subject.source_guard},
            {"domain", subject.domain},
            {"allowed_name", subject.allowed_name},
            {"names_limited", subject.names_limited},
            {"names_kept_in", subject.names_kept_in},
            {"open_ports", subject.open_ports},
            {"uplinks", subject.uplinks},
            {"gateways", gateways},
            {"lan", texts(subject.lan)},
            {"block", texts(subject.block)},
            {"allow", texts(subject.allow)},
            {"guard", texts(subject.guard)},
            {"mark", subject.mark},
            {"mtu", subject.mtu},
            {"settings", settings},
            {"uplinks_named", subject.uplinks_named},
            {"publishes", subject.publishes},
            {"resolv_file", subject.resolv_file},
            {"upstreams", subject.upstreams},
            {"leases_file", subject.leases_file},
            {"hosts_file", subject.hosts_file},
            {"ruleset", subject.ruleset}};
}

std::optional<Subject> subject_from_json(const json& document) {
    Subject out;
    try {
        out.instance = document.at("instance");
        out.interface = document.at("interface");
        out.bridge = document.at("bridge");
        out.address = Cidr::parse(document.at("address").get<std::string>()).value_or(Cidr{});
        out.internet = document.at("internet");
        out.lan_blocked = document.at("lan_blocked");
        out.dhcp = document.at("dhcp");
        out.dns = document.at("dns");
        out.redirect_dns = document.at("redirect_dns");
        out.rebind_protection = document.at("rebind_protection");
        out.isolate_guests = document.at("isolate_guests");
        out.source_guard = document.at("source_guard");
        out.domain = document.at("domain");
        out.allowed_name = document.at("allowed_name");
        out.names_limited = document.at("names_limited");
        out.names_kept_in = document.at("names_kept_in");
        out.open_ports = document.at("open_ports");
        out.uplinks = document.at("uplinks");
        for (const auto& text : document.at("gateways"))
            if (const auto address = Ipv4::parse(text.get<std::string>())) out.gateways.push_back(*address);
        out.lan = networks(document.at("lan"));
        out.block = networks(document.at("block"));
        out.allow = networks(document.at("allow"));
        out.guard = networks(document.at("guard"));
        out.mark = document.at("mark");
        for (const auto& one : document.at("settings")) {
            link::Sysctl setting;
            setting.path = one.at("path");
            setting.value = one.at("value");
            setting.optional = one.at("optional");
            out.settings.push_back(std::move(setting));
        }
        out.mtu = document.at("mtu");
        out.uplinks_named = document.at("uplinks_named");
        out.publishes = document.at("publishes");
        out.resolv_file = document.at("resolv_file");
        out.upstreams = document.at("upstreams");
        out.leases_file = document.at("leases_file");
        out.hosts_file = document.at("hosts_file");
        out.ruleset = document.at("ruleset");
    } catch (const json::exception&) {
        return std::nullopt;  // another version's
    }
    return out;
}

}  // namespace vmrouter::proof
