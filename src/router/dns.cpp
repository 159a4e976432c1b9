#include "src/router.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "src/base/log.hpp"
#include "src/base/text.hpp"
#include "src/dns_setup.hpp"
#include "src/documents.hpp"
#include "src/resolved.hpp"

namespace vmrouter {
namespace {

constexpr log::Logger logger{"vmrouter"};
constexpr log::Logger firewall_logger{"firewall"};
constexpr log::Logger dns_logger{"dns"};

/// A name of allow_domains is reachable at least this long: clients keep an address longer than its TTL says.
constexpr Seconds least_admission{300};

}  // namespace

Result<void> Router::start_dns() {
    if (!loaded_.config.dns.enabled) return {};
    auto udp = privileged_.open_dns_udp_socket();
    if (!udp) return Failure{std::move(udp).error()};
    auto tcp = privileged_.open_dns_tcp_socket();
    if (!tcp) return Failure{std::move(tcp).error()};
    auto config = dns_config(loaded_.config, plan_, resolver_->current(), names_of_host());
    if (config.upstreams.empty())
        logger.warn("RESOLVER {} names no server: guests have no DNS until it does", loaded_.config.dns.resolv_file);
    dns_ = std::make_unique<dns::Service>(io_.get_executor(), std::move(*udp), std::move(*tcp), std::move(config),
                                          names_, static_cast<dns::Observer&>(*this), random_);
    dns_->set_blocked(blocked_networks(plan_.policy));
    follow_hosts_files();
    follow_block_lists();
    dns_->set_blocklist(read_blocklist(loaded_.config.dns.block_files));  // complete before the first answer
    dns_->start();
    return {};
}

/// dns.hosts_file, and where the host's own names are: what is answered and what is hidden follows them.
void Router::follow_hosts_files() {
    hosts_files_.reset();
    if (!dns_) return;
    std::vector<std::string> paths{"/etc/hosts", "/etc/hostname"};
    if (const auto& own = loaded_.config.dns.hosts_file; !own.empty()) paths.push_back(own);
    hosts_files_ =
        std::make_unique<dns::FilesWatcher>(io_.get_executor(), std::move(paths), [this] { reconfigure_dns(); });
}

/// From here on a list that changes is read in the background; the one before serves until then.
void Router::follow_block_lists() {
    lists_.reset();
    if (!dns_ || loaded_.config.dns.block_files.empty()) return;
    lists_ = std::make_unique<dns::ListKeeper>(io_.get_executor(), loaded_.config.dns.block_files,
                                               [this](auto list, const dns::ListReport& report) {
                                                   log_block_lists(report);
                                                   if (dns_) dns_->set_blocklist(std::move(list));
                                               });
    lists_->follow();
}

/// Whom user-mode guests may ask on port 53.
void Router::take_resolvers() {
    context_.resolvers.clear();
    context_.resolvers6.clear();
    for (const auto& server : resolver_->current().nameservers) {
        if (const auto* v4 = std::get_if<Ipv4>(&server.address))
            context_.resolvers.push_back(*v4);
        else
            context_.resolvers6.push_back(std::get<Ipv6>(server.address));
    }
}

/// The host's resolver changed, or something that DNS is told did.
void Router::reconfigure_dns() {
    if (!dns_) return;
    dns_->reconfigure(dns_config(loaded_.config, plan_, resolver_->current(), names_of_host()));
    dns_->set_blocked(blocked_networks(plan_.policy));
}

/// Follows the resolv.conf that the configuration names; where queries are held to an uplink, a stub on this machine
/// cannot be asked, and what lies behind it is followed.
void Router::follow_resolver() {
    auto path = loaded_.config.dns.resolv_file;
    if (const auto& uplinks = loaded_.config.firewall.uplink; uplinks && !uplinks->empty())
        path = dns::resolv_conf_for_device(path);
    if (resolver_ && resolver_->path() == path) return;
    if (resolver_) resolver_->close();
    resolver_ = std::make_shared<dns::ResolvWatcher>(io_.get_executor(), std::move(path));
    if (resolver_->error()) logger.warn("RESOLVER {}", to_string(*resolver_->error()));
    take_resolvers();
    spawn(watch_resolver(resolver_));
}

asio::awaitable<void> Router::watch_resolver(std::shared_ptr<dns::ResolvWatcher> resolver) {
    try {
        while (!stopping_) {
            const auto resolv = co_await resolver->changed();
            if (stopping_) co_return;
            std::string servers;
            for (const auto& server : resolv.nameservers) servers += (servers.empty() ? "" : ", ") + to_string(server);
            if (!loaded_.config.dns.upstreams) logger.info("RESOLVER {}", servers.empty() ? "none" : servers);
            take_resolvers();
            if (!context_.usermode_uids.empty()) follow_guests();
            reconfigure_dns();
        }
    } catch (const std::system_error&) {
        // close() ends the wait
    }
}

/// systemd-resolved that starts after us is told of the guests' names then; it remembers them when it starts anew.
void Router::follow_resolved() {
    if (plan_.host_lookup_domain.empty() || resolved_runs()) return;
    resolved_ =
        std::make_unique<dns::FilesWatcher>(io_.get_executor(), std::vector<std::string>{resolved_stub_file}, [this] {
            if (told_resolved_ || !resolved_runs()) return;
            told_resolved_ = true;
            if (auto told = privileged_.tell_host_resolver(); !told)
                logger.warn("RESOLVER {}", to_string(told.error()));
        });
}

bool Router::wants_queries() const {
    return loaded_.config.dns.log_queries || is_followed("dns");
}

void Router::answered(const dns::QueryEvent& event) {
    const auto name = names_.name_of(event.client);
    if (is_followed("dns")) control_->publish(dns_event(event, label_of(event.client), clock_.now()));
    if (!loaded_.config.dns.log_queries) return;
    dns_logger.info("QUERY {} {} from {}{}{}: {} ({})", to_string(event.question.name), to_string(event.question.type),
                    to_string(event.client), name.empty() ? "" : " ", escape(name), to_string(event.rcode),
                    event.source == dns::Source::Local ? to_string(event.verdict) : to_string(event.source));
}

void Router::upstream_changed(const dns::Endpoint& upstream, dns::Health before, dns::Health now) {
    if (is_followed("upstream")) control_->publish(upstream_event(upstream, before, now, clock_.now()));
    dns_logger.info("UPSTREAM {} is {} (was {})", to_string(upstream), to_string(now), to_string(before));
}

void Router::removed(Ipv4 client, const dns::Question& question, const dns::Answer& answer) {
    dns_logger.warn("REBIND {} for {}: {} records that point into blocked networks were taken out",
                    to_string(question.name), to_string(client), answer.removed_count);
}

/// allow_domains: the set has the addresses before the guest has the answer.
/// Nothing has to wait for `then`: admit() returns when the kernel has acknowledged the elements, and the answer leaves
/// after that.
bool Router::resolved(const dns::Name& name, std::span<const dns::ResolvedAddress> addresses, std::function<void()>) {
    auto admitted = admit(addresses);
    if (!admitted && mends_.take(clock_.monotonic())) {  // has somebody just removed our table?
        mend();
        admitted = admit(addresses);
    }
    if (!admitted) firewall_logger.error("ADMIT {}: {}", to_string(name), to_string(admitted.error()));
    return true;
}

Result<void> Router::admit(std::span<const dns::ResolvedAddress> addresses) {
    std::map<Seconds, std::vector<Ipv4>> by_ttl;
    for (const auto& one : addresses) by_ttl[std::max(least_admission, Seconds{one.ttl})].push_back(one.address);
    for (const auto& [ttl, reachable] : by_ttl)
        if (auto admitted = privileged_.admit(reachable, ttl, clock_.monotonic()); !admitted) return admitted;
    return {};
}

}  // namespace vmrouter
