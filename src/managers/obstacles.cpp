#include "src/managers/obstacles.hpp"

#include <algorithm>
#include <iterator>

#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/managers/iptables_legacy.hpp"

namespace vmrouter::managers {
namespace {

constexpr const char* kBridgedFrames = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Only a circumstance: our own rules are right either way, and a chain that drops bridged frames is an obstacle
/// itself.
firewall::Obstacle bridged_frames() {
    firewall::Obstacle one;
    one.program = "br_netfilter";
    one.family = "ip";
    one.rule =
        "net.bridge.bridge-nf-call-iptables = 1: frames between guests pass through every firewall's forward chains";
    one.remedy = firewall::Remedy::Passed;
    one.done = "the rules of vmrouter let them pass";
    return one;
}

}  // namespace

Result<std::vector<firewall::Obstacle>> firewall_obstacles(firewall::Nft& nft, Runner& runner, std::uint32_t mark,
                                                           const std::string& segment) {
    const auto rules = firewall::scan_foreign(nft, mark);
    if (!rules) return Failure{rules.error()};
    auto found = firewall::obstacles(*rules, mark, segment);
    IptablesLegacy legacy(runner);
    auto more = legacy_obstacles(legacy, mark);
    std::move(more.begin(), more.end(), std::back_inserter(found));
    const auto setting = read_file(kBridgedFrames, 16);
    if (setting && trim(*setting) == "1") found.push_back(bridged_frames());
    return found;
}

}  // namespace vmrouter::managers
