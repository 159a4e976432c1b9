#pragma once

// The privileged half in the program's own process. One class; its functions by subject: bring_up.cpp (plan to
// machine), foreign.cpp (other firewalls), tear_down.cpp (and back), change.cpp (a reload), segment.cpp (an interface
// that comes and goes), follow.cpp (networks, guests and rules that change), ports.cpp, health.cpp, sockets.cpp.

#include <optional>
#include <set>
#include <string>

#include "firewall/blocked.hpp"
#include "firewall/conntrack.hpp"
#include "firewall/flow_events.hpp"
#include "firewall/foreign.hpp"
#include "firewall/live.hpp"
#include "firewall/monitor.hpp"
#include "firewall/nft.hpp"
#include "src/base/log.hpp"
#include "src/changes.hpp"
#include "src/control.hpp"
#include "src/instance_lock.hpp"
#include "src/link/host.hpp"
#include "src/link/monitor.hpp"
#include "src/managers/background.hpp"
#include "src/managers/managers.hpp"
#include "src/privileged.hpp"
#include "src/settings_watch.hpp"
#include "src/shared.hpp"
#include "src/shared_watch.hpp"
#include "src/state.hpp"

namespace vmrouter {

inline constexpr log::Logger host_logger{"host"};

/// While it lives we run iptables-legacy ourselves, and are not told of that.
class LegacyPause {
public:
    explicit LegacyPause(std::optional<SettingsWatcher>& watcher) : watcher_(watcher) {
        if (watcher_) watcher_->pause_legacy();
    }
    ~LegacyPause() {
        if (watcher_) watcher_->watch_legacy();
    }
    LegacyPause(const LegacyPause&) = delete;
    LegacyPause& operator=(const LegacyPause&) = delete;

private:
    std::optional<SettingsWatcher>& watcher_;
};

/// Of an instance's record of changes.
std::string changes_path(const Folders& folders, const std::string& instance);

/// Both halves in one process.
class LocalPrivileged final : public Privileged {
public:
    LocalPrivileged(asio::any_io_executor executor, Folders folders, link::Netlink netlink, firewall::Nft nft)
        : executor_(std::move(executor)),
          folders_(std::move(folders)),
          netlink_(std::move(netlink)),
          nft_(std::move(nft)),
          live_(nft_) {}

    Result<link::HostFacts> facts(const std::string& segment, std::uint32_t mark) override {
        return link::read_host_facts(netlink_, segment, mark);
    }
    bool knows_bridge_names() override { return firewall::knows_bridge_names(nft_); }
    Result<void> bring_up(const Plan& plan) override;
    std::vector<Error> tear_down(bool keep) override;
    Result<void> change(const Plan& plan) override;
    Result<void> follow(const firewall::Policy& policy, const std::vector<link::Uplink>& uplinks) override;
    Result<SegmentState> restore_segment() override;
    Result<std::vector<std::string>> repair() override;
    Result<void> repair_passes() override;
    Result<void> tell_host_resolver() override;
    std::vector<HealthItem> health() override;

    Result<void> bind_guest(const firewall::Binding& binding) override { return live_.bind(binding); }
    Result<void> unbind_guest(const MacAddress& mac, Ipv4 address) override { return live_.unbind(mac, address); }
    Result<void> cut_guests(std::span<const Ipv4> guests) override {
        auto cut = firewall::cut_guests(plan_.policy, guests);
        return cut ? Result<void>{} : Failure{std::move(cut).error()};
    }
    Result<void> admit(std::span<const Ipv4> addresses, Seconds ttl, Monotonic now) override {
        return live_.admit(addresses, ttl, now);
    }
    Result<std::vector<firewall::Counter>> counters() override { return live_.counters(); }
    Result<std::vector<firewall::Traffic>> traffic() override { return live_.traffic(); }
    Result<std::vector<firewall::Obstacle>> obstacles() override;
    Result<void> make_tap(const std::string& name, uid_t owner) override;
    Result<void> welcome_ports(const std::vector<RememberedPort>& newcomers) override;
    std::vector<std::string> other_segments() override;

    Result<dhcp::Sockets> open_dhcp_sockets() override;
    Result<FileDescriptor> open_dhcp_port_socket(unsigned interface_index) override {
        return dhcp::open_port_socket(interface_index);
    }
    Result<FileDescriptor> open_dns_udp_socket() override;
    Result<FileDescriptor> open_dns_tcp_socket() override;
    Result<FileDescriptor> open_relay_socket(firewall::Protocol protocol, Ipv4 address, std::uint16_t port) override;
    Result<FileDescriptor> open_control_socket(const std::string& path) override {
        if (auto recorded = changes_->record(CreatedFile{path}); !recorded) return Failure{std::move(recorded).error()};
        return vmrouter::open_control_socket(path);
    }
    Result<void> remove_control_socket(const std::string& path) override;
    Result<FileDescriptor> open_instance_events() override { return open_shared_watch(folders_.run); }
    Result<FileDescriptor> open_link_events() override { return link::open_event_socket(); }
    Result<FileDescriptor> open_settings_events() override;
    Result<FileDescriptor> open_rules_events() override { return firewall::open_rules_monitor(); }
    Result<std::uint32_t> rules_process() override { return firewall::own_process(nft_); }
    Result<FileDescriptor> open_flow_events() override { return firewall::open_flow_events(); }
    Result<FileDescriptor> open_metrics_socket(const conf::Endpoint& endpoint) override;
    Result<FileDescriptor> open_blocked_log(std::uint16_t group) override { return firewall::open_blocked_log(group); }
    void run_script(dhcp::ScriptCall call, std::function<void(Result<int>)> done) override {
        dhcp::run_program(executor_, call, std::move(done));
    }

private:
    Result<void> make(const Plan& plan);
    void add_table_health(std::vector<HealthItem>& items);
    void add_link_health(std::vector<HealthItem>& items, const link::HostFacts& facts);
    void add_pass_health(std::vector<HealthItem>& items);
    void add_service_health(std::vector<HealthItem>& items);
    Result<void> join();
    Result<void> make_tables();
    Result<void> make_link();
    Result<void> record_ipv6(const std::string& name);
    Result<void> isolate(const std::string& port);
    [[nodiscard]] bool is_port(std::string_view name) const;
    std::vector<RememberedPort> taken_off(const std::vector<RememberedPort>& newcomers,
                                          const link::HostFacts& facts) const;
    void put_back(const std::vector<RememberedPort>& newcomers);
    bool attach(const RememberedPort& port, const link::HostFacts& facts);
    void silence(const std::string& port);
    Result<void> leave_former_ports();
    void give_back(const std::vector<link::Link>& links);
    void tell_managers(const std::vector<RememberedPort>& newcomers);
    Result<void> make_address();
    Result<void> make_up();
    Result<void> make_guard(const std::vector<Cidr>& prefixes);
    Result<void> make_forwarding(const std::vector<link::Sysctl>& settings);
    Result<void> need(const link::Sysctl& setting);
    /// Whether the interface of the segment's name is still the device that the recorded changes are about.
    [[nodiscard]] bool is_same_segment();
    Result<void> make_passes();
    Result<void> make_zone(const firewall::Firewalld& firewalld);
    Result<void> make_legacy_passes();
    void warn_once(const std::string& line);
    bool is_new(const std::string& line);
    void tell_unnamed();
    Result<void> make_checksums();
    Result<void> repair_checksums();
    Result<void> attach_ports(const std::vector<RememberedPort>& ports);
    std::vector<std::string> remember_ports();
    Result<void> take_back_taps(const State& state);
    void forget_remembered();
    Result<void> change_mark(std::uint32_t before);
    Result<void> change_link(const Segment& before);
    Result<void> change_settings(const std::vector<link::Sysctl>& before);
    Result<void> change_address(const Cidr& before);
    Result<void> change_services(const Plan& before);
    Result<void> change_forwarding(const Plan& before);
    Result<void> release_setting(const std::string& path);
    Result<void> cut_forbidden();
    /// Undoes the recorded changes for which `is_wanted` is true, newest first, and forgets them.
    Result<void> undo_recorded(const std::function<bool(const Change&)>& is_wanted);
    [[nodiscard]] bool owns_bridge() const;
    Result<void> leave_renamed(const std::vector<link::Link>& links);
    Result<void> forget_link();
    Result<void> serve_anew(SegmentState& state);
    Result<void> mend_link(const link::HostFacts& facts, const link::Link& present, SegmentState& state);
    Result<void> restore_bridge(const link::HostFacts& facts, const link::Link& present, SegmentState& state);
    void watch_settings();

    asio::any_io_executor executor_;
    Folders folders_;
    link::Netlink netlink_;
    firewall::Nft nft_;
    firewall::Live live_;
    SysctlAccess sysctls_;
    SystemClock clock_;
    Plan plan_;
    std::optional<InstanceLock> lock_;
    std::optional<Shared> shared_;
    std::optional<Changes> changes_;
    int segment_index_ = 0;                ///< of the interface that the recorded changes are about
    bool segment_served_ = false;          ///< it has all of them
    std::vector<RememberedPort> ports_;    ///< of the bridge, as last seen
    std::set<int> welcomed_;               ///< devices that have joined the bridge, by number
    std::vector<std::string> taken_back_;  ///< taps of an earlier run
    std::optional<SettingsWatcher> settings_;
    managers::SystemRunner runner_;
    managers::Background background_{executor_};
    std::set<std::string> said_;
    bool warned_of_managers_ = false;
};

}  // namespace vmrouter
