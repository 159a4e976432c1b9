#include "src/commands/capture.hpp"

#include <linux/capability.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "src/base/terminal.hpp"
#include "src/base/text.hpp"
#include "src/capture/filter.hpp"
#include "src/capture/frames.hpp"
#include "src/capture/output.hpp"
#include "src/capture/pcapng.hpp"
#include "src/commands/answers.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/words.hpp"
#include "src/control_client.hpp"
#include "src/event_filter.hpp"
#include "src/link/bridge.hpp"
#include "src/link/host.hpp"
#include "src/link/monitor.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

/// Who has which MAC, for the comments.
class Guests {
public:
    void add(const json& lease, const char* name_key) {
        const auto mac = MacAddress::parse(text_of(lease, "mac"));
        const auto address = Ipv4::parse(text_of(lease, "address"));
        if (!mac || !address) return;
        const auto name = escape(text_of(lease, name_key));
        guests_[*mac] = {*address, name.empty() ? to_string(*address) : name};
    }
    /// "web 192.168.100.23", "web to db" for a frame between two; empty when it is about no guest.
    [[nodiscard]] std::string comment(Bytes frame) const {
        Reader reader(frame);
        const auto* to = find(reader.bytes(6));
        const auto* from = find(reader.bytes(6));
        if (from != nullptr && to != nullptr) return "guest " + from->second.second + " to guest " + to->second.second;
        if (from != nullptr) return "from guest " + from->second.second;
        return to == nullptr ? "" : "to guest " + to->second.second;
    }
    [[nodiscard]] std::vector<std::pair<Ipv4, std::string>> names() const {
        std::vector<std::pair<Ipv4, std::string>> list;
        for (const auto& [mac, guest] : guests_)
            if (!Ipv4::parse(guest.second)) list.push_back(guest);
        return list;
    }

private:
    using Map = std::map<MacAddress, std::pair<Ipv4, std::string>>;
    [[nodiscard]] const Map::value_type* find(Bytes bytes) const {
        MacAddress mac;
        if (bytes.size() != mac.bytes.size()) return nullptr;
        std::copy(bytes.begin(), bytes.end(), mac.bytes.begin());
        const auto found = guests_.find(mac);
        return found == guests_.end() ? nullptr : &*found;
    }
    Map guests_;
};

/// What the instance tells at the start.
struct Target {
    std::string segment;
    bool is_bridge = true;
    std::string about;  ///< "bridge virbr10, 192.168.100.1/24"
    std::optional<MacAddress> guest;
    Guests guests;
    std::optional<ControlClient> events;  ///< of leases that change
};

Result<std::optional<MacAddress>> mac_of(const std::string& guest, const json& leases) {
    if (guest.empty()) return std::optional<MacAddress>{};
    if (const auto mac = MacAddress::parse(guest)) return std::optional(*mac);
    for (const auto& lease : leases)
        if (is_guest(lease, guest))
            if (const auto mac = MacAddress::parse(text_of(lease, "mac"))) return std::optional(*mac);
    return Failure{Error{"no guest '" + escape(guest) + "' has a lease", "--guest",
                         "`vmrouter leases` shows who is there; a MAC address needs no lease"}};
}

Result<Target> find_target(const cli::Capture& options, const Folders& folders) {
    const auto socket = control_socket(options.instance, folders);
    if (!socket) return Failure{socket.error()};
    auto client = ControlClient::connect(*socket);
    if (!client) return Failure{std::move(client).error()};
    const auto status = client->request({{"command", "status"}});
    if (!status) return Failure{status.error()};
    const auto segment = status->value("segment", json());
    if (!segment.is_object())
        return Failure{Error{"this instance serves no segment, so there is nothing to capture", *socket, {}}};
    Target target;
    target.segment = text_of(segment, "interface");
    target.is_bridge = text_of(segment, "kind") == "bridge";
    target.about = "segment " + target.segment + ", " + text_of(segment, "address");
    const auto leases = list_of(*status, "leases");
    for (const auto& lease : leases) target.guests.add(lease, "name");
    auto guest = mac_of(options.guest, leases);
    if (!guest) return Failure{std::move(guest).error()};
    target.guest = *guest;
    if (auto followed = client->request({{"command", "monitor"}, {"only", {"lease"}}}); !followed)
        return Failure{std::move(followed).error()};
    target.events = std::move(*client);
    return target;
}

/// Packet sockets for ports that come, and new files of a ring: nothing else is needed any more.
void drop_privileges(bool keeps_files) {
    std::uint32_t kept = 1U << CAP_NET_RAW;
    if (keeps_files) kept |= 1U << CAP_DAC_OVERRIDE;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct now[2]{};
    if (syscall(SYS_capget, &header, now) != 0) return;
    const std::uint32_t low = now[0].permitted & kept;
    const __user_cap_data_struct less[2]{{low, low, 0}, {0, 0, 0}};
    syscall(SYS_capset, &header, less);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

class Session {
public:
    Session(Target target, recording::Filter filter, link::Netlink netlink, FileDescriptor link_events)
        : target_(std::move(target)),
          filter_(std::move(filter)),
          netlink_(std::move(netlink)),
          link_events_(std::move(link_events)) {}

    Result<void> follow_interfaces();
    [[nodiscard]] std::string head() const;
    /// Until a signal, or until nobody reads the output any more.
    Result<void> run(recording::Output& output, int signals, Progress& progress);
    [[nodiscard]] std::string trailer();

    std::uint64_t packets = 0;
    std::uint64_t dropped = 0;

private:
    struct Source {
        int index = 0;
        pcapng::Interface description;
        std::optional<recording::FrameSocket> socket;  ///< none any more when the interface has gone
        recording::Counts counts;
    };
    void open_source(int index, const std::string& name);
    void take(std::uint32_t number, const recording::Frame& frame, std::string& blocks);
    void read_lease();
    [[nodiscard]] std::vector<pollfd> waits(int signals) const;

    Target target_;
    recording::Filter filter_;
    link::Netlink netlink_;
    FileDescriptor link_events_;
    std::vector<Source> sources_;
    std::string fresh_;  ///< descriptions of interfaces that are not written yet
    std::vector<std::uint8_t> buffer_;
    pcapng::Timestamp begin_ = 0;
    std::optional<Error> refused_;
};

void Session::open_source(int index, const std::string& name) {
    auto socket = recording::FrameSocket::open(index, name, filter_);
    if (!socket) {
        refused_ = std::move(socket).error();
        return;
    }
    Source source;
    source.index = index;
    source.description = {name, target_.is_bridge ? "port of " + target_.about : target_.about, {}};
    source.socket = std::move(*socket);
    fresh_ += pcapng::interface(source.description);
    sources_.push_back(std::move(source));
}

/// Opens what joined the segment since the last call.
Result<void> Session::follow_interfaces() {
    std::vector<std::pair<int, std::string>> there;
    if (target_.is_bridge) {
        const auto ports = link::ports(netlink_, target_.segment);
        if (!ports) return Failure{ports.error()};
        for (const auto& port : *ports) there.emplace_back(port.index, port.name);
    } else {
        const auto links = link::read_links(netlink_);
        if (!links) return Failure{links.error()};
        for (const auto& link : *links)
            if (link.name == target_.segment) there.emplace_back(link.index, link.name);
    }
    for (const auto& [index, name] : there) {
        const auto known = [index = index](const Source& source) { return source.socket && source.index == index; };
        if (std::none_of(sources_.begin(), sources_.end(), known)) open_source(index, name);
    }
    for (auto& source : sources_) {
        if (!source.socket) continue;
        const auto is_it = [&source](const auto& one) { return one.first == source.index; };
        if (std::any_of(there.begin(), there.end(), is_it)) continue;
        source.counts = source.socket->counts();
        source.socket.reset();
    }
    if (auto refused = std::exchange(refused_, std::nullopt)) return Failure{std::move(*refused)};
    return {};
}

std::string Session::head() const {
    std::string blocks = pcapng::section("vmrouter " VMROUTER_VERSION, target_.about);
    for (const auto& source : sources_) blocks += pcapng::interface(source.description);
    if (const auto names = target_.guests.names(); !names.empty()) blocks += pcapng::names(names);
    return blocks;
}

void Session::take(std::uint32_t number, const recording::Frame& frame, std::string& blocks) {
    if (!filter_.matches(frame.data, frame.original_length)) return;
    if (begin_ == 0) begin_ = frame.time;
    ++packets;
    blocks += pcapng::packet(
        {number, frame.time, frame.data, frame.original_length, frame.outbound, target_.guests.comment(frame.data)});
}

/// The next change of leases. When the instance has gone, the names stay what they were.
void Session::read_lease() {
    do {
        const auto event = target_.events->next_within(Milliseconds{0});
        if (!event) {
            target_.events.reset();
            return;
        }
        if (*event && text_of(**event, "state") == "bound") target_.guests.add(**event, "guest");
    } while (target_.events->has_line());
}

std::vector<pollfd> Session::waits(int signals) const {
    std::vector<pollfd> list{{signals, POLLIN, 0},
                             {link_events_.get(), POLLIN, 0},
                             {target_.events ? target_.events->descriptor() : -1, POLLIN, 0}};
    for (const auto& source : sources_) list.push_back({source.socket ? source.socket->descriptor() : -1, POLLIN, 0});
    return list;
}

Result<void> Session::run(recording::Output& output, int signals, Progress& progress) {
    fresh_.clear();  // the head has said so
    for (;;) {
        auto list = waits(signals);
        if (poll(list.data(), list.size(), -1) < 0 && errno != EINTR)
            return Failure{system_error("cannot wait for packets", errno)};
        std::string blocks;
        for (std::uint32_t i = 0; i < sources_.size(); ++i) {
            if (list[i + 3].revents == 0 || !sources_[i].socket) continue;
            const bool alive =
                sources_[i].socket->read(buffer_, [&](const recording::Frame& frame) { take(i, frame, blocks); });
            if (alive) continue;
            sources_[i].counts = sources_[i].socket->counts();
            sources_[i].socket.reset();
        }
        if (!blocks.empty()) {
            const auto written = output.write(blocks);
            if (!written) return Failure{written.error()};
            if (!*written) return {};
            progress.show(std::to_string(packets) + " packets, " + short_bytes(output.written()) + "; Ctrl-C ends");
        }
        if (list[2].revents != 0) read_lease();
        if (list[1].revents != 0) {
            char ignored[8192];
            while (recv(link_events_.get(), ignored, sizeof ignored, MSG_DONTWAIT) > 0) continue;
            static_cast<void>(follow_interfaces());  // a port that has gone again is no reason to end
            if (!fresh_.empty())
                if (const auto written = output.finish(std::exchange(fresh_, {})); !written)
                    return Failure{written.error()};
        }
        if (list[0].revents != 0) return {};
    }
}

/// What the kernel counted, for each interface.
std::string Session::trailer() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    const auto end = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    std::string blocks;
    for (std::uint32_t i = 0; i < sources_.size(); ++i) {
        const auto counts = sources_[i].socket ? sources_[i].socket->counts() : sources_[i].counts;
        dropped += counts.dropped;
        blocks += pcapng::statistics({i, begin_ == 0 ? end : begin_, end, counts.received, counts.dropped});
    }
    return blocks;
}

/// SIGINT, SIGTERM and SIGHUP as something to wait for.
FileDescriptor stop_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    return FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC));
}

}  // namespace

int capture(const cli::Capture& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    if (options.output == "-" && Terminal::of(out).is_terminal)
        return fail(err, {"packets are not for a terminal", "-o -", "add | tshark -r - or | wireshark -k -i -"});
    auto target = find_target(options, folders);
    if (!target) return fail(err, target.error());
    auto filter = recording::Filter::make(target->guest, options.filter);
    if (!filter) {
        fail(err, filter.error());
        return 2;
    }
    auto netlink = link::Netlink::open();
    if (!netlink) return fail(err, netlink.error());
    auto events = link::open_event_socket();
    if (!events) return fail(err, events.error());
    const auto signals = stop_signals();
    Session session(std::move(*target), std::move(*filter), std::move(*netlink), std::move(*events));
    if (auto opened = session.follow_interfaces(); !opened) return fail(err, opened.error());
    std::optional<recording::Output::Ring> ring;
    if (options.ring) ring = {options.ring->count, options.ring->bytes};
    auto output = recording::Output::open(options.output, ring, [&session] { return session.head(); });
    if (!output) return fail(err, output.error());
    drop_privileges(ring.has_value());

    Progress progress(err);
    progress.show("capturing; Ctrl-C ends");
    auto done = session.run(*output, signals.get(), progress);
    if (const auto ended = output->finish(session.trailer()); done && !ended) done = Failure{ended.error()};
    progress.clear();
    if (!done) return fail(err, done.error());
    err << session.packets << (session.packets == 1 ? " packet, " : " packets, ") << session.dropped
        << " dropped by the kernel, " << short_bytes(output->written()) << " in "
        << (output->path() == "-" ? "the pipe" : escape(output->path())) << '\n';
    return 0;
}

}  // namespace vmrouter
