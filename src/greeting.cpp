#include "src/greeting.hpp"

#include <string_view>
#include <vector>

namespace vmrouter {
namespace {

std::string counted(std::size_t number, std::string_view what) {
    return std::to_string(number) + ' ' + std::string(what) + (number == 1 ? "" : "s");
}

/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& parts) {
    std::string text;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i > 0) text += i + 1 == parts.size() ? " and " : ", ";
        text += parts[i];
    }
    return text;
}

}  // namespace

std::string isolation_line(const conf::Config& config, std::size_t networks) {
    const auto& firewall = config.firewall;
    const bool lan_is_open = firewall.internet && firewall.lan == conf::Firewall::Lan::Allow;

    std::vector<std::string> refused;
    if (!firewall.internet) refused.emplace_back("the internet");
    if (!lan_is_open) refused.push_back("the LAN (" + counted(networks, "network") + ")");
    if (!firewall.block.empty()) refused.push_back(counted(firewall.block.size(), "network") + " of firewall.block");
    refused.emplace_back("this host");
    refused.emplace_back("all IPv6");

    std::vector<std::string> reached;
    if (firewall.internet && firewall.allow_domains.empty()) reached.emplace_back("the internet");
    if (firewall.internet && !firewall.allow_domains.empty())
        reached.push_back(counted(firewall.allow_domains.size(), "name") + " of firewall.allow_domains");
    if (lan_is_open) reached.emplace_back("the LAN");
    if (firewall.internet && !firewall.allow.empty())
        reached.push_back(counted(firewall.allow.size(), "exception") + " of firewall.allow");
    if (!firewall.open_host_ports.empty())
        reached.push_back(counted(firewall.open_host_ports.size(), "service") + " of firewall.open_host_ports");

    return listed(refused) + "; guests reach " + (reached.empty() ? "nothing" : listed(reached) + " and nothing else");
}

}  // namespace vmrouter
