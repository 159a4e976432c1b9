// What the roof calls.

#include <algorithm>
#include <utility>

#include "dhcp/service_parts.hpp"

namespace vmrouter::dhcp {
namespace {

/// All entries together: the range, and as many reservations outside it as a file may sensibly have.
std::size_t table_limit(const Range& range) {
    return static_cast<std::size_t>(range.size()) + 4096;
}

/// The line of a reservation that names this very client, so that another one for it would never count.
const HostEntry* line_of(const Reservations& reservations, const Lease& lease) {
    const HostEntry* host = reservations.match(lease.hardware, lease.client_id);
    if (host == nullptr) return nullptr;
    const bool by_mac = std::ranges::any_of(
        host->macs, [&](const HardwarePattern& mac) { return mac.exact() && mac.address == lease.hardware; });
    const Bytes id = lease.client_id;
    const bool by_client_id =
        !host->client_id.empty() && (std::ranges::equal(host->client_id, id) ||
                                     std::ranges::equal(host->client_id, id.subspan(id.empty() ? 0 : 1)));
    return by_mac || by_client_id ? host : nullptr;
}

}  // namespace

Service::Parts::Parts(const asio::any_io_executor& io, ServiceSetup setup, const Clock& its_clock, Random& its_random,
                      Observer& its_observer)
    : executor(io),
      clock(its_clock),
      random(its_random),
      observer(its_observer),
      config(std::move(setup.config)),
      paths(setup.paths),
      hosts(io),
      leases(config.range, table_limit(config.range), its_random.u64()),
      storage(io, setup.paths, leases),
      transport(io, Sockets{setup.sockets.ifindex,
                            setup.sockets.interface,
                            setup.sockets.mac,
                            std::move(setup.sockets.packet),
                            {},
                            std::move(setup.sockets.udp)}),
      prober(io, std::move(setup.sockets.arp), setup.sockets.mac, its_random),
      script(io, std::move(setup.run_program), its_clock),
      find_port(std::move(setup.find_port)),
      reporter(its_clock, its_observer, its_random.u64()),
      most_waiting(setup.most_waiting),
      commit_signal(io),
      expiry_signal(io),
      ended(io),
      stopped(io),
      anchor_wall(its_clock.now()),
      anchor_elapsed(its_clock.boottime()) {
    hosts.configure(std::move(setup.hosts), config.address, config.interface);
    hosts.set_path(paths.hosts);
    script.configure(std::move(setup.script), config.interface, config.domain);
}

Service::Service(const asio::any_io_executor& executor, ServiceSetup setup, const Clock& clock, Random& random,
                 Observer& observer)
    : parts_(std::make_unique<Parts>(executor, std::move(setup), clock, random, observer)) {}
Service::~Service() = default;

void Service::load() {
    parts_->hosts.reload();
    parts_->restore(load_leases(parts_->paths));
    parts_->tell_script_all();
}

asio::awaitable<void> Service::run() {
    Parts& parts = *parts_;
    parts.serving = true;
    parts.start_tasks();
    co_await parts.serve();
    while (!parts.commits_done) co_await parts.ended.wait();
    parts.storage.close();
    while (parts.tasks > 0) co_await parts.ended.wait();
    parts.serving = false;
    parts.stopped.notify();
}

asio::awaitable<void> Service::stop() {
    Parts& parts = *parts_;
    parts.stopping = true;
    parts.transport.close();
    parts.prober.close();
    parts.hosts.close();
    parts.script.close();
    parts.expiry_signal.notify();
    parts.commit_signal.notify();
    while (parts.serving) co_await parts.stopped.wait();
}

void Service::reconfigure(ServerConfig config, std::vector<HostEntry> hosts, std::string script) {
    Parts& parts = *parts_;
    parts.config = std::move(config);
    parts.leases.set_range(parts.config.range, table_limit(parts.config.range));
    parts.script.configure(std::move(script), parts.config.interface, parts.config.domain);
    parts.hosts.configure(std::move(hosts), parts.config.address, parts.config.interface);
    parts.hosts.reload();
    parts.tell_script_all();
}

void Service::time_has_passed() {
    parts_->expiry_signal.notify();
}

void Service::move_files(Paths paths) {
    Parts& parts = *parts_;
    const bool moved = paths.leases != parts.paths.leases;
    const bool other_hosts = paths.hosts != parts.paths.hosts;
    parts.paths = std::move(paths);
    if (other_hosts) {
        parts.hosts.set_path(parts.paths.hosts);
        parts.hosts.reload();
    }
    if (!moved) return;
    parts.restore(load_leases(parts.paths));
    parts.storage.move(parts.paths);
}

void Service::replace_sockets(Sockets sockets) {
    parts_->prober.replace_socket(std::move(sockets.arp), sockets.mac);
    parts_->transport.replace_sockets(std::move(sockets));
}

void Service::add_port(unsigned ifindex, FileDescriptor socket) {
    parts_->transport.add_port(ifindex, std::move(socket));
}
void Service::remove_port(unsigned ifindex) {
    parts_->transport.remove_port(ifindex);
}

std::vector<Lease> Service::leases() const {
    std::vector<Lease> all;
    parts_->leases.for_each([&](const Lease& lease) {
        if (lease.state != LeaseState::Bound) return;
        all.push_back(lease);
        // A DISCOVER, an INFORM or a message that was refused is a sign of life as well.
        if (const auto* record = parts_->reporter.history().find(lease.hardware))
            all.back().last_seen = std::max(lease.last_seen, record->last_seen);
    });
    std::sort(all.begin(), all.end(), [](const Lease& a, const Lease& b) { return a.address < b.address; });
    return all;
}

const LeaseTable& Service::table() const {
    return parts_->leases;
}
const Reservations& Service::reservations() const {
    return parts_->hosts.reservations();
}
const ServerConfig& Service::config() const {
    return parts_->config;
}
const Counters& Service::counters() const {
    return parts_->counters;
}
const GuestHistory& Service::history() const {
    return parts_->reporter.history();
}

Health Service::health() const {
    Health health;
    health.storage_ok = parts_->storage.ok();
    if (!health.storage_ok) health.storage_error = to_string(parts_->storage.error());
    health.pool = usage(parts_->leases, parts_->config, parts_->hosts.reservations());
    health.hosts_problems = parts_->hosts.problems();
    return health;
}

Result<void> Service::drop(Ipv4 address) {
    const Lease* lease = parts_->leases.find(address);
    if (lease == nullptr)
        return Failure{Error{"nobody has the address", to_string(address), "`vmrouter leases` shows who has which"}};
    const Decision decision = drop_lease(parts_->leases, address);
    parts_->apply(decision.changes);
    parts_->reporter.note(decision.note);
    parts_->hand_over();
    return {};
}

Result<void> Service::pin(Ipv4 address) {
    const Lease* lease = parts_->leases.find(address);
    if (lease == nullptr || lease->state != LeaseState::Bound)
        return Failure{
            Error{"nobody has a lease for the address", to_string(address), "`vmrouter leases` shows who has which"}};
    HostsKeeper& hosts = parts_->hosts;
    hosts.reload();  // what somebody has just written there counts
    if (const HostEntry* host = hosts.reservations().by_address(address))
        return Failure{Error{"the address is reserved already", host->where, {}}};
    if (const HostEntry* host = line_of(hosts.reservations(), *lease))
        return Failure{host->address
                           ? Error{"its guest has another address reserved, " + to_string(*host->address), host->where,
                                   "write " + to_string(address) + " there"}
                           : Error{"its guest has a line already, without an address", host->where,
                                   "add " + to_string(address) + " there; two lines for one guest do not count"}};
    HostEntry entry;
    entry.address = address;
    const bool by_client_id = parts_->config.identity == Identity::ClientId || lease->hardware.empty();
    if (by_client_id && !lease->client_id.empty())
        entry.client_id = lease->client_id;
    else
        entry.macs.push_back({lease->hardware, 0});
    if (hosts.reservations().by_name(lease->name) == nullptr) entry.name = lease->name;
    if (auto written = hosts.append(entry); !written) return written;
    hosts.reload();
    const HostEntry* made = hosts.reservations().by_address(address);
    const HostEntry* held = hosts.reservations().match(lease->hardware, lease->client_id);
    if (made != nullptr && made == held) return {};
    Error error{"the reservation would not count", held != nullptr ? held->where : parts_->paths.hosts,
                held != nullptr ? "that line comes first for this guest: add " + to_string(address) + " there"
                                : "the log says what is wrong with the file"};
    if (auto taken = hosts.take_back(entry); !taken) error.hint += "; the last line of the file is to no purpose";
    hosts.reload();
    return Failure{std::move(error)};
}

}  // namespace vmrouter::dhcp
