#pragma once

// What the DNS module is told: names that are answered or hidden here, networks that answers must not point into,
// upstreams. Plain values from the configuration, the plan and a few files of the host.

#include <memory>
#include <string>
#include <vector>

#include "conf/config.hpp"
#include "dns/blocklist.hpp"
#include "dns/lists.hpp"
#include "dns/local.hpp"
#include "dns/prefix_set.hpp"
#include "dns/resolv.hpp"
#include "dns/service.hpp"
#include "firewall/policy.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Our own name on the segment: vmrouter.vm.internal is the router's address.
inline constexpr std::string_view own_name = "vmrouter";

/// The host's name and those in its /etc/hosts, lower case: guests may not take them, and with hide_lan_names may not
/// resolve them.
std::vector<std::string> names_of_host();

/// `search`: the search domains of the host's resolv.conf.
dns::LocalConfig local_config(const conf::Config& config, const Cidr& segment, const std::vector<std::string>& search,
                              const std::vector<std::string>& host_names);

/// The networks that rebinding protection removes from answers: what the policy blocks, less what it allows.
dns::PrefixSet blocked_networks(const firewall::Policy& policy);

/// Everything the service is told, with the host's resolver (`resolv`) where the configuration follows it.
dns::ServiceConfig dns_config(const conf::Config& config, const Plan& plan, const dns::ResolvConf& resolv,
                              const std::vector<std::string>& host_names);

/// The names of block_domains' lists; what cannot be read is logged and left out. Null when there are none.
std::shared_ptr<const dns::Blocklist> read_blocklist(const std::vector<std::string>& files);
void log_block_lists(const dns::ListReport& report);

}  // namespace vmrouter
