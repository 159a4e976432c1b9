#pragma once

// The throw-away guests at work: they join, get leases, send probes and see what comes back, while the watch sees what
// leaves. One loop over all sockets; nothing here outlives the object, nor the process however it ends.

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "src/base/random.hpp"
#include "src/base/terminal.hpp"
#include "src/commands/verify_cable.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/link/facts.hpp"

namespace vmrouter::proof {

struct SessionOptions {
    std::string target;                    ///< a name, or an address: what stands for the internet
    std::string rebind;                    ///< a name that resolves into a private network
    std::chrono::milliseconds wait{2000};  ///< for an answer
};

class Session {
public:
    Session(Subject subject, SessionOptions options, link::Netlink& netlink, Progress& progress);
    ~Session();  ///< gives the leases back and takes the cables away
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Cables, leases. What cannot be tried is a row.
    Result<std::vector<Row>> join();
    /// Everything that can be tried by packets, once.
    Result<std::vector<Row>> probe();
    /// What the instance enforces may have changed.
    void take(Subject subject) { subject_ = std::move(subject); }
    /// Somebody wants us to end (SIGINT, SIGTERM, SIGHUP).
    static bool interrupted();

private:
    using Moment = std::chrono::steady_clock::time_point;

    /// One throw-away guest.
    struct Guest {
        std::optional<Cable> cable;
        Host host;
        std::optional<Ipv4> server;  ///< who gave the lease
        std::set<Ipv4> other_servers;
        std::uint32_t xid = 0;
        bool leased = false;
        bool declined = false;
        std::optional<Ipv4> offered;
    };

    void pump(std::chrono::milliseconds limit, const std::function<bool()>& done);
    void heard(std::size_t index, const Arrived& frame);
    void heard_arp(std::size_t index, Bytes packet);
    void heard_ip4(std::size_t index, const MacAddress& from, const MacAddress& to, Bytes frame);
    void heard_dhcp(Guest& guest, Bytes frame);
    void hang_up(const Guest& guest, const MacAddress& router, Ipv4 peer, std::uint16_t service, const Probe& probe);
    void greet() const;
    void crossed(const Arrived& packet);
    void reached(const Arrived& packet);
    void note(std::uint32_t token, Sighting sighting);
    [[nodiscard]] Outcome* outcome_of(const Found& found);

    Result<void> attach(std::vector<Row>& rows);
    Row get_lease(Guest& guest, const std::string& who);
    void take_free_address(Guest& guest);
    void send_dhcp(Guest& guest, std::uint8_t type);
    bool release(Guest& guest);
    bool ask_router();
    std::optional<DnsAnswer> ask_dns(const std::string& name);
    void resolve_target(std::vector<Row>& rows);
    void try_rebinding(std::vector<Row>& rows);
    Result<void> look_around();
    void send(const Probe& probe);
    void speak(const Probe& probe);
    [[nodiscard]] bool is_answered(std::size_t number) const;
    [[nodiscard]] bool all_answered() const;
    void ask_as_machine(std::vector<Row>& rows);

    Subject subject_;
    SessionOptions options_;
    link::Netlink& netlink_;
    Progress& progress_;
    SystemRandom random_;
    std::optional<Watch> watch_;
    std::array<Guest, 2> guests_;
    std::optional<Cable> outside_;
    std::string outside_refused_;
    bool joined_ = false;
    Situation situation_;
    std::vector<Probe> probes_;
    std::vector<Outcome> outcomes_;
    std::set<std::string> given_up_;  ///< rows that nothing came for in the round before: not waited for again
    std::set<int> segment_links_;     ///< the segment, its ports, our near ends, loopback
    link::HostFacts facts_;
    std::set<Ipv4> known_;  ///< neighbours for whom this machine asks anyway
    std::optional<MacAddress> router_;
    std::optional<std::uint16_t> query_;  ///< of the question that is out
    std::optional<DnsAnswer> answer_;
    std::vector<std::string> unasked_;  ///< what this machine said to the segment by itself
};

/// "eth0 192.168.1.50" lines of /proc/net/arp that are complete. Pure.
std::vector<Place> neighbours_of(std::string_view proc_net_arp);
/// Services that listen beyond loopback, of /proc/net/tcp and its like. Pure.
std::vector<Service> services_of(std::string_view table, bool tcp);

}  // namespace vmrouter::proof
