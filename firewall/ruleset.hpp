#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "firewall/policy.hpp"

namespace vmrouter::firewall {

/// The complete nft text for `policy`: declares, deletes and defines our tables, so that one run is one transaction
/// that works whether they existed or not. The segment's name must have passed is_interface_name(); every address is
/// printed from its value. Pure.
std::string ruleset(const Policy& policy);

/// nft text that removes every table of the instance, present or not.
std::string removal(const std::string& instance);

/// nft text that has the rules of `instance`, which does not run, let pass what comes from outside to `segment` of
/// another instance, or no longer. Fails where these have no such set, and has nothing to do there.
std::string admission(const std::string& instance, const std::string& segment, bool admitted);

/// The smallest nft text that turns the set contents of `from` into those of `to`; empty when there is nothing to do.
/// Only for policies of the same_shape(). Pure.
std::string elements(const Policy& from, const Policy& to);

/// How many rules each chain of ruleset() has, by "FAMILY CHAIN": what to find in the kernel. Pure.
std::map<std::string, std::size_t> outline(const Policy& policy);

/// Whether two policies differ in set contents only, so that elements() is enough to get from one to the other.
bool same_shape(const Policy& a, const Policy& b);

}  // namespace vmrouter::firewall
