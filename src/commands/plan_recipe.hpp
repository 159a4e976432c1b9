#pragma once

#include <string>

#include "conf/config.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// The plan as the classic recipe: a POSIX script that takes `up` or `down`, with brctl (a bridge), iptables and a
/// dnsmasq.conf made from the same configuration. What the recipe cannot do stands at its top. Pure.
std::string plan_recipe(const Plan& plan, const conf::Config& config);

/// The dnsmasq.conf alone.
std::string dnsmasq_conf(const Plan& plan, const conf::Config& config);
/// What the recipe lacks in comparison with vmrouter under this configuration, a line each.
std::vector<std::string> recipe_lacks(const Plan& plan, const conf::Config& config);

}  // namespace vmrouter
