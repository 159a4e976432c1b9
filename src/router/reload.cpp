#include "src/router.hpp"

#include "src/dns_setup.hpp"

namespace vmrouter {

Result<void> Router::reload(conf::Loaded loaded) {
    if (conf::segment_name(loaded.config) != conf::segment_name(loaded_.config))
        return Failure{Error{"the segment cannot be changed by a reload", to_string(loaded.places.of("network")),
                             "restart vmrouter to serve another interface"}};
    auto plan = make_plan(loaded.config, loaded.places, facts_, context_);
    if (!plan) return Failure{std::move(plan).error()};
    if (plan_.segment && plan->segment && plan->segment->address != plan_.segment->address)
        return Failure{Error{"network.address cannot be changed by a reload",
                             to_string(loaded.places.of("network.address")), "restart vmrouter for that"}};
    const bool metrics_move = loaded.config.control.metrics != loaded_.config.control.metrics;
    loaded_ = std::move(loaded);
    if (metrics_move)
        if (auto started = start_metrics(); !started) return started;
    if (forwards_)
        if (auto set = forwards_->set(loaded_.config.firewall.forward); !set) return set;
    if (dhcp_) {
        dhcp_->move_files(dhcp::Paths::beside(plan->leases_file, plan->hosts_file));
        dhcp_->reconfigure(dhcp_config(loaded_.config, *plan_.segment, names_of_host()),
                           configured_hosts(loaded_.config, loaded_.places), loaded_.config.dhcp.script);
    }
    follow_resolver();
    follow_host();
    reconfigure_dns();
    follow_hosts_files();
    follow_block_lists();
    if (lists_)
        lists_->reload();
    else if (dns_)
        dns_->set_blocklist(nullptr);
    return {};
}

}  // namespace vmrouter
