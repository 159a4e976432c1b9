#pragma once

// What vmrouter will make of a configuration on this machine: values only, nothing done. The same functions make the
// plan at the start and the policy after every change of the host's networks, so that what `plan` prints is what
// happens.

#include <optional>
#include <string>
#include <vector>

#include "conf/config.hpp"
#include "conf/load.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/server.hpp"
#include "firewall/policy.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"
#include "src/link/lan.hpp"
#include "src/link/sysctl.hpp"
#include "src/state.hpp"

namespace vmrouter {

/// Where things are kept; other folders in tests.
struct Folders {
    std::string run = "/run/vmrouter";
    std::string state = "/var/lib/vmrouter";
};

/// The segment as it will be.
struct Segment {
    std::string name;
    bool is_bridge = true;
    bool exists = false;  ///< adopted: never deleted
    Cidr address;
    std::uint16_t mtu = 1500;
    bool set_mtu = false;  ///< the interface has another one now, and it is a bridge that we make or that is told so
    bool stp = false;
    bool isolate_guests = false;
    MacAddress mac;  ///< of a bridge that we make
};

struct Plan {
    std::string instance;
    std::optional<Segment> segment;
    std::vector<link::Uplink> uplinks;
    std::vector<Cidr> lans;  ///< what the dead man's switch shuts, and the live part of the blocked networks
    firewall::Policy policy;
    std::vector<link::Sysctl> sysctls;     ///< of the segment, before it is up
    std::vector<link::Sysctl> forwarding;  ///< last: the segment, then each uplink
    std::string leases_file;
    std::string hosts_file;
    std::string state_folder;  ///< of this instance
    std::string control_socket;
    std::string host_lookup_domain;     ///< the host's resolver is told of it; empty: not
    bool fill_checksums = false;        ///< repair other programs' DHCP replies
    std::vector<std::string> warnings;  ///< one sentence each, for the log
};

/// What the plan needs beside the configuration and the facts.
struct PlanContext {
    Folders folders;
    std::optional<Cidr> remembered_address;  ///< of an earlier start, from the state file
    std::string machine_id;
    std::vector<std::uint32_t> usermode_uids;
    std::vector<Ipv4> resolvers;  ///< the host's, which user-mode guests may ask
    std::vector<Ipv6> resolvers6;
    bool match_bridge_name = false;  ///< the kernel has `meta ibrname`
};

/// Fails with the place in the configuration when the machine does not allow it: an address that the host or its
/// gateway has, an interface that carries the default route, a bridge that is none.
Result<Plan> make_plan(const conf::Config& config, const conf::Places& places, const link::HostFacts& facts,
                       const PlanContext& context);

/// What changes while we run: the guests' addresses and where published ports lead.
struct Guests {
    std::vector<firewall::Binding> bindings;
    std::vector<firewall::Forward> forwards;
    std::vector<std::string> other_segments;
};

/// The policy for `segment` (none: user-mode guests only) as the host looks now.
firewall::Policy make_policy(const conf::Config& config, const std::optional<Segment>& segment,
                             const link::HostFacts& facts, const PlanContext& context, const Guests& guests);

/// The uids of [[usermode]], and a warning for each that has a login session; an error for a name that is unknown or
/// stands for root.
Result<std::vector<std::uint32_t>> usermode_uids(const conf::Config& config, const conf::Places& places,
                                                 std::vector<std::string>& warnings);

/// The settings that let guests' packets and their answers through: of the segment, each uplink, and each other link by
/// which they reach something that is allowed. None without internet.
std::vector<link::Sysctl> forwarding_settings(const firewall::Policy& policy);
/// The interfaces of forwarding_settings() but the segment, sorted.
std::vector<std::string> forwarding_links(const firewall::Policy& policy);

/// What the dead man's switch shuts: the LANs and the static private ranges that the configuration blocks, without what
/// `allow` opens as a whole.
std::vector<Cidr> guarded_prefixes(const firewall::Policy& policy);

dhcp::ServerConfig dhcp_config(const conf::Config& config, const Segment& segment,
                               std::vector<std::string> refused_names);
std::vector<dhcp::HostEntry> configured_hosts(const conf::Config& config, const conf::Places& places);

/// The network of /etc/hosts-like names and the host's own name that guests may not take and, with hide_lan_names, may
/// not resolve: lower case.
std::vector<std::string> host_names(std::string_view hosts_text, std::string_view host_name);

}  // namespace vmrouter
