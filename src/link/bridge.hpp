#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::link {

/// What marks a link as made by us (IFLA_IFALIAS), so that a later start recognises it after a crash.
inline constexpr std::string_view our_alias = "vmrouter";

struct BridgeOptions {
    MacAddress mac;  ///< pinned: otherwise a bridge takes its lowest port's, and guests lose their gateway
    bool stp = false;
    std::uint32_t mtu = 1500;
};

/// A locally administered unicast address that is the same at every start: a hash of the machine's id and the name.
MacAddress stable_mac(std::string_view machine_id, std::string_view name);
/// The machine's id (/etc/machine-id, then /var/lib/dbus/machine-id, then the host name), for stable_mac().
std::string machine_id();

enum class Created { Yes, WasThere };

/// Creates the bridge, down, in one message with all its options: no multicast snooping or querier, no forwarding of
/// reserved groups, no IPv6 address of its own, forward delay 0 (2 s with stp: the least that the kernel takes).
/// WasThere when any link of that name exists, which then is untouched.
Result<Created> create_bridge(Netlink& netlink, std::string_view name, const BridgeOptions& options);

/// Gives a link that we have just made our alias, and takes from it the right to an IPv6 address of its own.
Result<void> mark_as_ours(Netlink& netlink, std::string_view name);

/// Success also when the link is not there.
Result<void> delete_link(Netlink& netlink, std::string_view name);
/// Whether `link` is one that create_bridge() made with this MAC (by alias or, after a crash between two messages, by
/// MAC).
bool is_ours(const Link& link, const MacAddress& mac);

Result<void> set_up(Netlink& netlink, std::string_view name);
/// Success also when the link is not there.
Result<void> set_down(Netlink& netlink, std::string_view name);
Result<void> set_mtu(Netlink& netlink, std::string_view name, std::uint32_t mtu);
Result<void> set_mac(Netlink& netlink, std::string_view name, const MacAddress& mac);

/// What create_bridge() set, read back.
struct BridgeState {
    bool stp = false;
    bool snooping = false;
    bool querier = false;
    friend bool operator==(const BridgeState&, const BridgeState&) = default;
};
Result<BridgeState> read_bridge_options(Netlink& netlink, std::string_view name);

/// Spanning tree of a bridge of ours, with the forward delay that create_bridge() gives it.
Result<void> set_stp(Netlink& netlink, std::string_view name, bool stp);
/// Multicast goes to every port, as create_bridge() has it.
Result<void> stop_snooping(Netlink& netlink, std::string_view name);

struct Port {
    int index = 0;
    std::string name;
    MacAddress mac;
    bool up = false;
    bool isolated = false;
    bool learning = true;
    bool hairpin = false;
    friend bool operator==(const Port&, const Port&) = default;
};

/// The bridge's ports in the kernel's order; empty when it has none or is not there.
Result<std::vector<Port>> ports(Netlink& netlink, std::string_view bridge);
Result<std::vector<Port>> ports(Netlink& netlink, int bridge);  ///< by its index, whatever its name is by now
/// The port behind which the bridge has seen `mac` last, by the number of its link; 0 when it has not, or the kernel
/// cannot be asked for one entry (before 5.0). Needs no capability.
int port_of(Netlink& netlink, int bridge, const MacAddress& mac);
/// Refused when the port has another master.
Result<void> enslave(Netlink& netlink, std::string_view port, std::string_view bridge);
/// As that, by their numbers: another device that has a name of theirs by now is not touched.
Result<void> enslave(Netlink& netlink, const Link& port, const Link& bridge);
/// Takes the port off whatever it is on. Success also when it is not there or on nothing.
Result<void> release(Netlink& netlink, std::string_view port);
/// Isolated ports reach other ports only when those are not isolated (the bridge itself always). Success when it is
/// gone.
Result<void> set_isolated(Netlink& netlink, std::string_view port, bool isolated);

}  // namespace vmrouter::link
