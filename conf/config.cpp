#include "conf/config.hpp"

namespace vmrouter::conf {

std::string segment_name(const Config& config) {
    if (config.network.bridge) return *config.network.bridge;
    return config.network.interface.value_or(std::string{});
}

bool names_stay_inside(const Config& config) {
    return !config.firewall.internet && !config.dns.upstreams;
}

std::string instance_name(const Config& config) {
    const std::string segment = segment_name(config);
    return segment.empty() ? "usermode" : segment;
}

}  // namespace vmrouter::conf
