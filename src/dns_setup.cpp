#include "src/dns_setup.hpp"

#include <unistd.h>

#include <algorithm>

#include "src/base/file.hpp"
#include "src/base/log.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"dns"};

/// Names from the configuration have been checked; what does not parse all the same is left out.
void add_name(std::vector<dns::Name>& names, std::string_view text) {
    if (const auto name = dns::Name::parse(text)) names.push_back(*name);
}

std::vector<dns::DomainPattern> to_dns(const std::vector<conf::DomainPattern>& patterns) {
    std::vector<dns::DomainPattern> out;
    for (const auto& pattern : patterns)
        if (const auto name = dns::Name::parse(pattern.name))
            out.push_back({*name, !pattern.wildcard, pattern.wildcard});
    return out;
}

std::vector<dns::HostRecord> records(const conf::Dns& config) {
    std::vector<dns::HostRecord> out;
    for (const auto& record : config.records)
        if (const auto name = dns::Name::parse(record.name)) out.push_back({*name, record.address});
    if (config.hosts_file.empty()) return out;
    const auto text = read_file(config.hosts_file);
    if (!text) {
        logger.error("HOSTS {}", to_string(text.error()));
        return out;
    }
    std::size_t bad = 0;
    auto more = dns::parse_hosts(*text, &bad);
    if (bad > 0) logger.warn("HOSTS {}: {} lines make no sense and are skipped", config.hosts_file, bad);
    out.insert(out.end(), more.begin(), more.end());
    return out;
}

std::vector<dns::Endpoint> to_dns(const std::vector<conf::Endpoint>& endpoints) {
    std::vector<dns::Endpoint> out;
    for (const auto& endpoint : endpoints) out.push_back({endpoint.address, endpoint.port, {}});
    return out;
}

/// An uplink that is named in the configuration holds DNS as well: of several the first that leads to the internet, or
/// else the first that is there, or else the first, so that nothing leaves by another way while it is down.
std::string bound_uplink(const conf::Config& config, const Plan& plan) {
    if (!config.firewall.uplink || config.firewall.uplink->empty()) return {};
    const auto rank = [](const link::Uplink& one) { return one.leads ? 2 : one.index != 0 ? 1 : 0; };
    const auto best = std::max_element(plan.uplinks.begin(), plan.uplinks.end(),
                                       [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
    return best == plan.uplinks.end() ? config.firewall.uplink->front() : best->name;
}

}  // namespace

std::vector<std::string> names_of_host() {
    char name[256] = {};
    if (gethostname(name, sizeof name - 1) != 0) name[0] = 0;
    const auto hosts = read_file("/etc/hosts", std::size_t{1} << 20);
    return host_names(hosts ? *hosts : std::string{}, name);
}

dns::LocalConfig local_config(const conf::Config& config, const Cidr& segment, const std::vector<std::string>& search,
                              const std::vector<std::string>& host_names) {
    dns::LocalConfig out;
    if (const auto domain = dns::Name::parse(config.dns.domain)) out.domain = *domain;
    out.segment = segment;
    out.own_name = own_name;
    out.records = records(config.dns);
    out.hide_lan_names = config.dns.hide_lan_names;
    for (const auto& domain : search) add_name(out.hidden_domains, domain);
    for (const auto& name : host_names) add_name(out.hidden_names, name);
    out.block = to_dns(config.dns.block_domains);
    out.allow = to_dns(config.firewall.allow_domains);
    out.closed = conf::names_stay_inside(config);
    return out;
}

dns::PrefixSet blocked_networks(const firewall::Policy& policy) {
    const bool lan_allowed = policy.segment && policy.segment->lan == firewall::Lan::Allow;
    dns::PrefixSet set = lan_allowed ? dns::PrefixSet{} : dns::always_blocked();
    if (lan_allowed)
        for (const auto& range : firewall::reserved_ranges()) set.block(range);
    else
        for (const auto& prefix : policy.lan) set.block(prefix);
    for (const auto& prefix : policy.block) set.block(prefix);
    for (const auto& prefix : policy.lan6) set.block(prefix.address, prefix.length);
    if (policy.segment) set.block(policy.segment->address.network());
    // An exception for one port opens the name as well.
    for (const auto& exception : policy.allow) set.allow(exception.destination);
    set.finish();
    return set;
}

dns::ServiceConfig dns_config(const conf::Config& config, const Plan& plan, const dns::ResolvConf& resolv,
                              const std::vector<std::string>& host_names) {
    dns::ServiceConfig out;
    out.local = local_config(config, plan.segment->address, resolv.search, host_names);
    out.host_lookup = config.dns.host_lookup;
    out.upstreams = config.dns.upstreams ? to_dns(*config.dns.upstreams) : resolv.nameservers;
    out.strict_order = config.dns.strict_order;
    out.uplink = bound_uplink(config, plan);
    out.own_addresses = {plan.segment->address.address};
    for (const auto& route : config.dns.route)
        if (const auto name = dns::Name::parse(route.domain)) out.routes.push_back({*name, to_dns(route.upstreams)});
    out.rebind_protection = config.dns.rebind_protection;
    out.serve_stale = config.dns.serve_stale;
    out.hold_for_addresses = !config.firewall.allow_domains.empty();
    out.cache.entries = config.dns.cache_size;
    return out;
}

std::shared_ptr<const dns::Blocklist> read_blocklist(const std::vector<std::string>& files) {
    if (files.empty()) return nullptr;
    dns::ListReport report;
    auto list = dns::read_lists(files, report);
    log_block_lists(report);
    return list;
}

void log_block_lists(const dns::ListReport& report) {
    for (const auto& error : report.errors) logger.error("BLOCKLIST {}", error);
    if (report.bad_lines > 0) logger.warn("BLOCKLIST {} lines make no sense and are skipped", report.bad_lines);
    logger.info("BLOCKLIST {} names", report.names);
}

}  // namespace vmrouter
