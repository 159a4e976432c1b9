#pragma once

#include <cstdint>

#include "firewall/policy.hpp"

namespace vmrouter::firewall {

/// An IPv4 connection of connection tracking. `original` is as its first packet was sent, `reply` as answers look: they
/// differ by what was translated.
struct Flow {
    struct Tuple {
        Ipv4 source;
        Ipv4 destination;
        std::uint16_t source_port = 0;
        std::uint16_t destination_port = 0;

        friend bool operator==(const Tuple&, const Tuple&) = default;
    };
    std::uint8_t protocol = 0;
    Tuple original;
    Tuple reply;
    std::uint32_t mark = 0;
    std::uint32_t status = 0;  ///< IPS_* bits
    std::uint32_t id = 0;
    std::uint16_t zone = 0;
};

/// Whether the policy lets this flow go on. Flows that have nothing to do with the segment are always allowed; flows of
/// the segment that our rules did not let begin (no mark) never are. Pure.
bool still_allowed(const Policy& policy, const Flow& flow);

}  // namespace vmrouter::firewall
