#pragma once

// The modules of one instance at work, and the events that pass between them: leases become names, bindings and
// published ports; a change of the host's networks becomes a policy; a removed rule is put back. Its functions lie by
// subject in src/router/; router.cpp starts and stops.

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "conf/load.hpp"
#include "dhcp/service.hpp"
#include "dns/lists.hpp"
#include "dns/resolv.hpp"
#include "dns/service.hpp"
#include "firewall/blocked.hpp"
#include "firewall/flow_events.hpp"
#include "firewall/monitor.hpp"
#include "src/base/clock.hpp"
#include "src/base/debounce.hpp"
#include "src/base/random.hpp"
#include "src/base/rate.hpp"
#include "src/control.hpp"
#include "src/documents.hpp"
#include "src/event_documents.hpp"
#include "src/forwards.hpp"
#include "src/guests.hpp"
#include "src/link/monitor.hpp"
#include "src/link/netlink.hpp"
#include "src/metrics_server.hpp"
#include "src/plan.hpp"
#include "src/privileged.hpp"
#include "src/settings_watch.hpp"
#include "src/shared_watch.hpp"
#include "src/wake_watch.hpp"

namespace vmrouter {

class Router final : public GuestDirectory,
                     private dhcp::Observer,
                     private dns::Observer,
                     private firewall::RulesObserver,
                     private firewall::AttemptObserver,
                     private firewall::FlowObserver {
public:
    /// `privileged` has brought `plan` up and outlives the router.
    Router(asio::io_context& io, Privileged& privileged, conf::Loaded loaded, Plan plan, PlanContext context);
    ~Router() override;
    Router(const Router&) = delete;
    Router& operator=(const Router&) = delete;

    /// Opens every socket and starts serving; after an error nothing runs.
    Result<void> start();
    /// Stops serving and writes what is left.
    asio::awaitable<void> stop();
    /// SIGHUP: hosts files and block lists are read again, and `loaded` takes the place of the configuration.
    /// Everything that differs is changed, and nothing else; after an error all is as it was before.
    asio::awaitable<Result<void>> reload(conf::Loaded loaded);

    /// Asked through the control socket to read the configuration again; set by whoever can.
    std::function<asio::awaitable<Result<void>>()> reload_requested;

    /// The configuration in force.
    [[nodiscard]] const conf::Config& config() const { return loaded_.config; }

    /// One line about what is served, for whoever runs us: "virbr10 192.168.100.1/24: 3 guests, uplink eth0".
    [[nodiscard]] std::string summary() const;
    /// Called when summary() may be another one.
    std::function<void()> summary_changed;

    [[nodiscard]] const dhcp::LeaseTable* leases() const override;
    [[nodiscard]] const dhcp::Reservations* reservations() const override;

private:
    void spawn(asio::awaitable<void> task);

    // router/dhcp.cpp
    Result<void> start_dhcp();
    void add_dhcp_port(const link::Link& port);
    void bind(const firewall::Binding& binding);
    void cut_ended();

    // router/dns.cpp
    Result<void> start_dns();
    void follow_resolver();
    void follow_resolved();
    asio::awaitable<void> watch_resolver(std::shared_ptr<dns::ResolvWatcher> resolver);
    void take_resolvers();
    void reconfigure_dns();
    void follow_block_lists();
    void follow_hosts_files();

    // router/firewall.cpp
    Result<void> start_firewall();
    Result<void> start_blocked_log();
    [[nodiscard]] firewall::Policy policy_now(const link::HostFacts& facts) const;
    void follow_guests();
    asio::awaitable<void> watch_instances();
    void repair_soon();
    void mend();
    void pass_soon();
    asio::awaitable<void> pass();
    [[nodiscard]] std::optional<Cidr> overlapping_network() const;
    Result<void> admit(std::span<const dns::ResolvedAddress> addresses);
    asio::awaitable<void> repair();

    // router/links.cpp
    void follow_host();
    void follow_host_later();
    asio::awaitable<void> watch_links();
    Result<void> start_wake_watch();
    asio::awaitable<void> watch_wake();

    // router/segment.cpp
    void follow_segment();
    void follow_segment_later();
    Result<void> open_segment_sockets();
    void follow_ports(const std::vector<link::LinkEvent>& events);
    asio::awaitable<void> watch_settings();

    // router/reload.cpp
    asio::awaitable<Result<void>> switch_to(conf::Loaded loaded, std::optional<Plan> plan);
    asio::awaitable<Result<void>> reload_dhcp(const Plan& before);
    Result<void> reload_dns(const Plan& before);
    Result<void> reload_blocked_log();
    Result<void> reload_control(const std::string& before);

    // router/control.cpp
    Result<void> start_control();
    asio::awaitable<Result<nlohmann::json>> handle(nlohmann::json request, uid_t uid);
    Result<nlohmann::json> answer(const nlohmann::json& request, uid_t uid);
    Result<nlohmann::json> change_lease(const nlohmann::json& request);
    [[nodiscard]] nlohmann::json about_guest(const std::string& guest);
    Result<nlohmann::json> make_tap(const nlohmann::json& request, uid_t uid);
    [[nodiscard]] StatusParts traffic_parts();
    [[nodiscard]] StatusParts status_parts();

    // router/events.cpp
    [[nodiscard]] bool is_followed(std::string_view kind) const { return control_ && control_->has_followers(kind); }
    [[nodiscard]] GuestLabel label_of(Ipv4 guest) const;
    [[nodiscard]] GuestLabel label_of(const firewall::Attempt& attempt) const;
    [[nodiscard]] std::string resolved_name(Ipv4 guest, Ipv4 address) const;
    void follow_flows();
    Result<void> start_metrics();

    // dhcp::Observer
    void leases_changed(std::span<const dhcp::AppliedChange> changes) override;
    void noted(const dhcp::Note& note) override;
    void server_seen(const dhcp::OtherServer& server) override;
    void interface_failed(const Error& error) override;
    // dns::Observer
    [[nodiscard]] bool wants_queries() const override;
    void answered(const dns::QueryEvent& event) override;
    void upstream_changed(const dns::Endpoint& upstream, dns::Health before, dns::Health now) override;
    void removed(Ipv4 client, const dns::Question& question, const dns::Answer& answer) override;
    bool resolved(const dns::Name& name, std::span<const dns::ResolvedAddress> addresses,
                  std::function<void()> then) override;
    // firewall::RulesObserver
    void our_rules_changed(const firewall::Transaction& transaction) override;
    void other_rules_changed(const firewall::Transaction& transaction) override;
    // firewall::AttemptObserver
    void blocked(const firewall::Attempt& attempt) override;
    void overrun() override;
    // firewall::FlowObserver
    void began(const firewall::Flow& flow) override;
    void flows_lost() override;

    asio::io_context& io_;
    Privileged& privileged_;
    conf::Loaded loaded_;
    Plan plan_;
    PlanContext context_;
    SystemClock clock_;
    SystemRandom random_;
    link::HostFacts facts_;
    GuestNames names_;
    firewall::Tallies tallies_;
    Time started_ = clock_.now();
    TokenBucket flow_events_{200, 400};
    std::uint64_t skipped_flows_ = 0;
    TokenBucket blocked_lines_{2, 20};
    TokenBucket mends_{0.2, 3};  ///< before an answer or an ACK leaves
    std::vector<Ipv4> ended_;    ///< guests whose connections are to be cut
    bool cutting_ = false;       ///< somebody's were a moment ago
    bool behind_ = false;        ///< the rules do not know what we know: follow_host() is to be called again
    TokenBucket overlap_lines_{0.01, 1};
    TokenBucket segment_mends_{1, 10};
    std::map<int, std::string> known_ports_;  ///< of the bridge, by number
    std::set<int> former_ports_;              ///< have left the bridge, and are still there
    int segment_index_ = 0;                   ///< of the interface that is served; 0: it is not there
    int bound_index_ = 0;                     ///< of the interface that the sockets are bound to
    bool segment_up_ = true;
    std::string segment_trouble_;  ///< why it cannot be served, as last logged
    bool segment_retry_ = false;   ///< a timer runs
    bool segment_held_ = false;    ///< nothing is put back until it has run
    bool repairing_ = false;
    Debounce foreign_changes_{Milliseconds{200}, Milliseconds{3000}};  ///< rules of others, since ours are not in them
    bool passing_ = false;
    bool told_resolved_ = false;
    bool reloading_ = false;
    bool stopping_ = false;

    std::unique_ptr<link::Monitor> links_;
    std::unique_ptr<SettingsWatch> settings_;
    std::unique_ptr<SharedWatch> instances_;
    std::unique_ptr<WakeWatch> wake_;
    std::unique_ptr<firewall::RulesMonitor> rules_;
    std::unique_ptr<firewall::BlockedLog> blocked_log_;
    std::unique_ptr<firewall::FlowEvents> flows_;  ///< only while somebody follows them
    std::unique_ptr<link::Netlink> forwarding_;    ///< asks which port of the bridge a guest is behind
    std::unique_ptr<dhcp::Service> dhcp_;
    std::shared_ptr<dns::ResolvWatcher> resolver_;  ///< shared with the coroutine that follows it, which may end later
    std::unique_ptr<dns::Service> dns_;
    std::unique_ptr<dns::ListKeeper> lists_;
    std::unique_ptr<dns::FilesWatcher> hosts_files_;
    std::unique_ptr<dns::FilesWatcher> resolved_;  ///< until systemd-resolved runs
    std::unique_ptr<Forwards> forwards_;
    std::unique_ptr<ControlServer> control_;
    std::unique_ptr<MetricsServer> metrics_;

    // What a reload has replaced: its last coroutine ends with the next turn of the loop, long before the next reload.
    std::unique_ptr<firewall::BlockedLog> retired_blocked_log_;
    std::unique_ptr<ControlServer> retired_control_;
};

}  // namespace vmrouter
