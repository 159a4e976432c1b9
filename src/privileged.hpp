#pragma once

// The privileged half of the program: whatever needs a capability, at the start and afterwards, goes through this one
// interface. Values in, values out, sockets as descriptors; nothing in it depends on the other half's memory, so that
// the process that parses guests' packets can run without any capability, with this on the other end of a socketpair.

#include <sys/types.h>

#include <asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "conf/config.hpp"
#include "dhcp/packet_socket.hpp"
#include "dhcp/script.hpp"
#include "firewall/live.hpp"
#include "firewall/obstacle.hpp"
#include "firewall/policy.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/link/facts.hpp"
#include "src/link/lan.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// What is read back from the kernel about one thing that was set up.
struct HealthItem {
    std::string what;  ///< "firewall table vmrouter_virbr10"
    bool ok = false;
    std::string detail;
};

/// The segment's interface after restore_segment().
struct SegmentState {
    int index = 0;                    ///< the kernel's number; 0: it is not there, or cannot be served as it is
    bool up = false;                  ///< administratively
    std::vector<std::string> mended;  ///< in words
    friend bool operator==(const SegmentState&, const SegmentState&) = default;
};

class Privileged {
public:
    virtual ~Privileged() = default;

    // The machine.

    /// What the kernel says about the host's networks now, asked as for a packet from `segment` that our firewall has
    /// let pass with `mark`.
    virtual Result<link::HostFacts> facts(const std::string& segment, std::uint32_t mark) = 0;
    /// What the kernel's nftables can do, see PlanContext::match_bridge_name.
    virtual bool knows_bridge_names() = 0;
    /// Takes the instance's lock, then makes the plan true: firewall, bridge, settings, address, guard rules,
    /// forwarding. Every change is on disk before it is made. A failure undoes what this call did.
    virtual Result<void> bring_up(const Plan& plan) = 0;
    /// Undoes every recorded change, newest first, and goes on after errors; `keep` leaves bridge and firewall up.
    virtual std::vector<Error> tear_down(bool keep) = 0;
    /// A reload: goes over to `plan`, of the same segment, and touches only what differs: rules, options of the link,
    /// settings, address, what other programs are told. After an error the machine is somewhere between the two; going
    /// back to the plan before is one more change().
    virtual Result<void> change(const Plan& plan) = 0;
    /// Goes over to a policy that differs in what the host's networks and guests look like now: set elements, guard
    /// rules, settings of new uplinks, and cuts the connections that are forbidden from now on.
    virtual Result<void> follow(const firewall::Policy& policy, const std::vector<link::Uplink>& uplinks) = 0;
    /// After events about the segment's interface, its address or its ports: a bridge of ours that was deleted, renamed
    /// or set down is there again with the ports that were on it; an interface of others that was plugged in again has
    /// our settings and our address; one that was renamed away has nothing of ours any more. Idempotent, and cheap when
    /// there is nothing to do.
    virtual Result<SegmentState> restore_segment() = 0;
    /// Puts back what somebody else removed of ours: tables, guard rules, settings. What was mended, in words; empty
    /// when all was as it should be.
    virtual Result<std::vector<std::string>> repair() = 0;
    /// Puts our rules into the chains of others again. Not while others change them: a transaction of ours in the
    /// middle of theirs makes programs fail that write their rules in several steps (firewalld's ebtables-restore).
    virtual Result<void> repair_passes() = 0;
    /// Tells systemd-resolved, where it runs, of the guests' names (dns.host_lookup): after it or the segment's link
    /// came anew.
    virtual Result<void> tell_host_resolver() = 0;
    /// Everything that was set up, read back.
    virtual std::vector<HealthItem> health() = 0;

    // Guests.

    virtual Result<void> bind_guest(const firewall::Binding& binding) = 0;
    virtual Result<void> unbind_guest(const MacAddress& mac, Ipv4 address) = 0;
    /// Ends the connections of guests whose leases have ended; reads every connection that the kernel tracks.
    virtual Result<void> cut_guests(std::span<const Ipv4> guests) = 0;
    /// Destinations that an allowed name resolved to are reachable for `ttl`.
    virtual Result<void> admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now) = 0;
    virtual Result<std::vector<firewall::Counter>> counters() = 0;
    /// What each guest sent and got.
    virtual Result<std::vector<firewall::Traffic>> traffic() = 0;
    /// What other firewalls do to our guests' traffic.
    virtual Result<std::vector<firewall::Obstacle>> obstacles() = 0;
    /// A tap on the bridge that `owner` may open, complete before it is up; it goes with the bridge.
    virtual Result<void> make_tap(const std::string& name, uid_t owner) = 0;
    /// The bridge's ports may be others now: isolates them (network.isolate_guests), has other programs leave
    /// `newcomers` alone, and remembers them all for a bridge that must be made anew.
    virtual Result<void> welcome_ports(const std::vector<RememberedPort>& newcomers) = 0;
    /// The segments of other instances that run now.
    virtual std::vector<std::string> other_segments() = 0;

    // Sockets.

    virtual Result<dhcp::Sockets> open_dhcp_sockets() = 0;
    virtual Result<FileDescriptor> open_dhcp_port_socket(unsigned interface_index) = 0;
    virtual Result<FileDescriptor> open_dns_udp_socket() = 0;
    virtual Result<FileDescriptor> open_dns_tcp_socket() = 0;
    /// A bound (TCP: listening) socket of the host for a published port.
    virtual Result<FileDescriptor> open_relay_socket(firewall::Protocol protocol, Ipv4 address, std::uint16_t port) = 0;
    virtual Result<FileDescriptor> open_control_socket(const std::string& path) = 0;
    /// Removes what open_control_socket() made.
    virtual Result<void> remove_control_socket(const std::string& path) = 0;
    /// Tells when other instances come and go, see SharedWatch.
    virtual Result<FileDescriptor> open_instance_events() = 0;
    virtual Result<FileDescriptor> open_link_events() = 0;
    /// inotify of the kernel settings that we need: readable when somebody wrote one, see SettingsWatch.
    virtual Result<FileDescriptor> open_settings_events() = 0;
    virtual Result<FileDescriptor> open_rules_events() = 0;
    /// The process id under which nftables knows our own changes.
    virtual Result<std::uint32_t> rules_process() = 0;
    /// Hears of every connection that begins.
    virtual Result<FileDescriptor> open_flow_events() = 0;
    /// A listening TCP socket for the metrics.
    virtual Result<FileDescriptor> open_metrics_socket(const conf::Endpoint& endpoint) = 0;
    virtual Result<FileDescriptor> open_blocked_log(std::uint16_t group) = 0;

    // The lease script.

    /// Runs a program to its end; `done` is called on the executor with its exit status.
    virtual void run_script(dhcp::ScriptCall call, std::function<void(Result<int>)> done) = 0;
};

/// Both halves in one process. Fails with a cure when we are not root or the kernel lacks nftables.
Result<std::unique_ptr<Privileged>> open_privileged(asio::any_io_executor executor, const Folders& folders);

/// `vmrouter down`: undoes what an instance that was killed left behind. An error while it still runs.
std::vector<Error> undo_instance(const Folders& folders, const std::string& instance);
/// Whether its last stop left taps of ours because a program had them open.
bool has_kept_taps(const Folders& folders, const std::string& instance);

}  // namespace vmrouter
