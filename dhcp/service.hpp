#pragma once

// The DHCP server at work: receive, decide, write, send. Everything that waits (disk, probes, scripts) waits beside the
// loop that receives, never in it.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dhcp/history.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/observer.hpp"
#include "dhcp/packet_socket.hpp"
#include "dhcp/script.hpp"
#include "dhcp/server.hpp"
#include "dhcp/storage.hpp"
#include "src/base/clock.hpp"
#include "src/base/file.hpp"
#include "src/base/random.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

struct Counters {
    std::uint64_t received = 0;   ///< messages that could be read
    std::uint64_t malformed = 0;  ///< frames and messages that could not
    std::uint64_t silent = 0;     ///< messages that got no answer
    std::uint64_t discovers = 0;
    std::uint64_t requests = 0;
    std::uint64_t declines = 0;
    std::uint64_t releases = 0;
    std::uint64_t informs = 0;
    std::uint64_t offers = 0;  ///< sent
    std::uint64_t acks = 0;
    std::uint64_t naks = 0;
    std::uint64_t probes = 0;
    std::uint64_t conflicts = 0;  ///< probes that were answered, late answers included
    std::uint64_t commits = 0;    ///< batches written
    std::uint64_t failed_commits = 0;
    std::uint64_t unsent = 0;         ///< replies that the kernel did not take
    std::uint64_t other_servers = 0;  ///< messages of other DHCP servers
};

/// How the server is, for `status`.
struct Health {
    bool storage_ok = true;
    std::string storage_error;  ///< why not
    PoolUsage pool;
    std::size_t hosts_problems = 0;  ///< lines of the hosts file that are skipped
};

struct ServiceSetup {
    ServerConfig config;
    std::vector<HostEntry> hosts;  ///< of the configuration; the hosts file's are added
    Paths paths;
    Sockets sockets;     ///< open_sockets()
    std::string script;  ///< may be empty: none
    RunProgram run_program;
    /// The bridge port that leads to a hardware address, for frames that no port's own socket has seen: those of a port
    /// that has just joined. 0: not known. Empty where there are no ports.
    std::function<unsigned(const MacAddress&)> find_port;
    /// Replies, and changes, that may wait for the disk; messages that would add to that are not answered. Guests can
    /// send faster than a slow disk syncs.
    std::size_t most_waiting = 4096;
};

class Service {
public:
    /// `clock`, `random` and `observer` outlive the service.
    Service(const asio::any_io_executor& executor, ServiceSetup setup, const Clock& clock, Random& random,
            Observer& observer);
    ~Service();
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    /// Reads leases, journal and hosts file; what is wrong with them is logged, never fatal. Once, before run();
    /// leases() is complete afterwards.
    void load();

    /// Serves until stop(). Throws only for bugs of ours.
    asio::awaitable<void> run();

    /// Stops receiving, writes what is left (journal and leases file), and returns when run() is about to.
    asio::awaitable<void> stop();

    /// A reload: the new configuration takes effect with the next message, the hosts file is read again (as it is by
    /// itself whenever it changes), and the script hears of all leases, as after dnsmasq's SIGHUP. Leases stay; one
    /// whose address may not be given any more is refused at its next renewal. `config.address` and `config.interface`
    /// stay what they were.
    void reconfigure(ServerConfig config, std::vector<HostEntry> hosts, std::string script);
    /// Keeps the leases, or reads the reservations, somewhere else from now on; nothing happens when it is the same
    /// place. Leases that are found there and fit beside ours are taken over; the old files stay behind.
    void move_files(Paths paths);

    /// The machine woke up, or its clock was set: what has ended meanwhile ends now.
    void time_has_passed();

    /// New sockets (open_sockets()) after the interface was made anew or came back. Leases, offers and probes go on;
    /// ports keep their sockets until add_port() or remove_port().
    void replace_sockets(Sockets sockets);
    /// open_port_socket() of a port that joined the bridge, or again for one that came back; `remove_port` when it
    /// left.
    void add_port(unsigned ifindex, FileDescriptor socket);
    void remove_port(unsigned ifindex);

    /// All Bound leases, by address; `last_seen` is when their client last sent anything.
    [[nodiscard]] std::vector<Lease> leases() const;
    [[nodiscard]] const LeaseTable& table() const;
    [[nodiscard]] const Reservations& reservations() const;
    [[nodiscard]] const ServerConfig& config() const;
    [[nodiscard]] const Counters& counters() const;
    [[nodiscard]] Health health() const;
    /// The last messages of each guest and what was done about them.
    [[nodiscard]] const GuestHistory& history() const;

    /// `leases drop`: the client's next renewal is refused. An error when nobody has the address.
    Result<void> drop(Ipv4 address);
    /// `leases pin`: appends a reservation for the lease to the hosts file, which takes effect at once.
    Result<void> pin(Ipv4 address);

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace vmrouter::dhcp
