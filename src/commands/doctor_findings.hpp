#pragma once

// What gets in the way of guests' network on this machine: facts in, findings out. Nothing here looks at the machine;
// doctor_facts does. Pure.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firewall/obstacle.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/link/bridge.hpp"
#include "src/link/facts.hpp"
#include "src/link/port_owner.hpp"

namespace vmrouter::diagnosis {

enum class Severity {
    Broken,  ///< guests have no network, or not all of it, or vmrouter cannot start
    Risk,    ///< it works, and may stop to
    Note,    ///< worth knowing
};
std::string to_string(Severity severity);  ///< "broken", "risk", "note"

struct Finding {
    Severity severity = Severity::Broken;
    std::string id;     ///< "port_53", the same for ever, for scripts
    std::string what;   ///< a sentence
    std::string where;  ///< program and pid, table and chain and rule, file, interface
    std::string cure;   ///< what to do: a command, where there is one
    friend bool operator==(const Finding&, const Finding&) = default;
};

/// A rule of another program that drops by reverse path before connection tracking.
struct PathRule {
    std::string where;  ///< "ip raw PREROUTING"
    std::uint64_t handle = 0;
    std::string rule;  ///< "rpfilter DROP"
};

struct Resolver {
    std::string file = "/etc/resolv.conf";
    bool there = true;
    std::string dangling;              ///< where its link leads, when nothing is there
    std::vector<std::string> servers;  ///< that guests' questions go to
    std::vector<std::string> loops;    ///< those that are our own address
    std::vector<std::string> silent;   ///< those that did not answer
    bool asked = false;
};

/// What a killed instance left.
struct Leftover {
    std::string instance;
    std::string file;
};

struct Facts {
    std::string segment;  ///< empty: only the machine in general
    bool is_bridge = true;
    std::uint32_t mtu = 0;        ///< of the segment, as guests are told; 0: not known
    std::optional<Cidr> address;  ///< configured, or in use
    bool running = false;
    bool answers = true;   ///< over its control socket
    bool stopped = false;  ///< by a signal: it will not answer
    int pid = 0;
    bool internet = true;
    bool dhcp = true;
    bool dns = true;
    bool stp = false;
    bool isolate = false;
    bool publishes = false;            ///< it has a [[firewall.forward]] beyond loopback
    std::vector<std::string> uplinks;  ///< configured by name; empty: auto

    link::HostFacts host;
    std::vector<link::Port> ports;
    std::optional<int> forward_delay;  ///< of the bridge, in hundredths of a second, when STP is on
    bool bridge_calls_iptables = false;
    std::vector<firewall::Obstacle> obstacles;
    std::vector<PathRule> path_rules;
    std::optional<bool> rules_stand;  ///< our own tables; nullopt: not running or not readable
    std::vector<link::PortOwner> port53;
    std::vector<link::PortOwner> port67;
    Resolver resolver;
    std::vector<Error> rivals;     ///< other programs that configure the segment
    bool network_manager = false;  ///< it manages the segment, or a port of it
    std::string network_manager_link;
    bool captive_portal = false;               ///< in front of the internet, says NetworkManager
    bool networkd = false;                     ///< systemd-networkd manages the segment
    std::optional<bool> strict_forward_ports;  ///< of firewalld, when it runs
    std::vector<Leftover> leftovers;
    std::vector<Error> files;                   ///< what is wrong with ours: unwritable, full
    std::vector<Error> hosts_file;              ///< lines that are skipped
    std::vector<std::string> rogue_servers;     ///< "192.168.100.9 (52:54:...)"
    std::vector<std::string> missing_features;  ///< "bridge": what the kernel could not do
    std::optional<Error> address_problem;       ///< the configured address, beside the host's networks
    std::vector<std::string> address_warnings;
    Time now{};
    bool clock_synchronized = true;
};

/// Everything that is in the way, the worst first.
std::vector<Finding> diagnose(const Facts& facts);

/// One guest, as the running instance and the kernel know it.
struct GuestFacts {
    std::string asked;  ///< what the user called it
    std::optional<MacAddress> mac;
    std::optional<Ipv4> address;  ///< leased, or given
    std::string lease_state;      ///< "bound"; empty: none
    bool lease_over = false;
    std::string port;                    ///< where its MAC was learnt, or its last DHCP message came from
    std::vector<std::string> free_taps;  ///< taps on no bridge at all
    struct Event {
        std::string message;  ///< "DISCOVER"
        std::string verb;     ///< "OFFER", or empty
        std::string silence;  ///< why not
        std::string detail;
        std::uint64_t count = 1;
    };
    std::vector<Event> events;          ///< oldest first
    std::uint64_t forged = 0;           ///< messages that others sent in its name
    std::optional<bool> arp;            ///< whether it answers now; nullopt: not tried
    std::optional<MacAddress> arp_mac;  ///< who answers for the address
    std::uint64_t queries = 0;          ///< DNS, since the instance started
    bool dns_known = false;
    std::vector<std::string> blocked;  ///< "lan 192.168.1.1 tcp/80, 12 times"
    bool reservation_ignored = false;
};

/// Why it has no network: the first finding is the reason. Empty: nothing is known to be wrong.
std::vector<Finding> diagnose_guest(const Facts& facts, const GuestFacts& guest);

/// Rules in listings of nft (JSON) that drop what fails a reverse path check in prerouting, of others.
std::vector<PathRule> path_rules(std::string_view ruleset_json);

nlohmann::json to_json(const std::vector<Finding>& findings);

}  // namespace vmrouter::diagnosis
