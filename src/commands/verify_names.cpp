// Names, as guests ask for them; and what this machine itself is told, which decides what silence means.

#include "src/commands/verify_session.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "dns/resolv.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::proof {
namespace {

using std::chrono::milliseconds;

constexpr Ipv4 well_known{1, 1, 1, 1};
constexpr int refused = 5;  // RFC 1035 section 4.1.1

bool is_private(const Subject& subject, Ipv4 address) {
    std::vector<Cidr> networks = firewall::private_ranges();
    const auto reserved = firewall::reserved_ranges();
    networks.insert(networks.end(), reserved.begin(), reserved.end());
    networks.insert(networks.end(), subject.lan.begin(), subject.lan.end());
    return std::any_of(networks.begin(), networks.end(), [&](const Cidr& one) { return one.contains(address); });
}

/// A question from this machine itself, to its own resolver.
std::optional<DnsAnswer> ask_own_resolver(const std::string& name, milliseconds wait) {
    const auto text = read_file("/etc/resolv.conf");
    if (!text) return std::nullopt;
    const auto resolv = dns::parse_resolv_conf(*text);
    for (const auto& server : resolv.nameservers) {
        const auto* address = std::get_if<Ipv4>(&server.address);
        if (address == nullptr) continue;
        const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(53);
        to.sin_addr.s_addr = htonl(address->value);
        const auto query = dns_query(0x766d, name);
        if (!socket ||
            sendto(socket.get(), query.data(), query.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
            continue;
        pollfd waiting{socket.get(), POLLIN, 0};
        if (poll(&waiting, 1, static_cast<int>(wait.count())) <= 0) continue;
        std::array<std::uint8_t, 4096> buffer{};
        const auto size = recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (size > 0) return parse_dns(Bytes(buffer).first(static_cast<std::size_t>(size)));
    }
    return std::nullopt;
}

/// Whether this machine itself gets through to a TCP port.
bool connects(Ipv4 address, std::uint16_t port, milliseconds wait) {
    const FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(address.value);
    if (!socket) return false;
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return true;
    if (errno != EINPROGRESS) return false;
    pollfd waiting{socket.get(), POLLOUT, 0};
    if (poll(&waiting, 1, static_cast<int>(wait.count())) <= 0) return false;
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

}  // namespace

/// A question to our DNS, as guests ask it.
std::optional<DnsAnswer> Session::ask_dns(const std::string& name) {
    auto& guest = guests_.front();
    const auto port = static_cast<std::uint16_t>(30000 + random_.below(9000));
    const auto query = dns_query(port, name);
    if (query.empty()) return std::nullopt;
    answer_.reset();
    query_ = port;
    for (int tries = 0; tries < 2 && !answer_ && !interrupted(); ++tries) {
        guest.cable->send(
            udp_frame({guest.host.mac, *router_, guest.host.address, subject_.address.address}, port, 53, query));
        pump(options_.wait, [this] { return answer_.has_value(); });
    }
    query_.reset();
    return answer_;
}

void Session::resolve_target(std::vector<Row>& rows) {
    situation_.target = Ipv4::parse(options_.target);
    const bool literal = situation_.target.has_value();
    situation_.target_allowed = !subject_.names_limited;
    const std::string name = subject_.names_limited ? subject_.allowed_name : options_.target;
    if (!subject_.dns || literal || name.empty()) {
        if (!situation_.target) situation_.target = well_known;
        rows.push_back({"DNS", "a name of the internet", "an address",
                        !subject_.dns ? "not tried: dns.enabled is false"
                        : literal     ? "not tried: --target is an address"
                                      : "not tried: firewall.allow_domains names no host by itself",
                        Verdict::NotTried});
        return;
    }
    const auto answer = ask_dns(name);
    Row row{"DNS", escape(name), "an address", "no answer", Verdict::Surprise};
    if (subject_.names_kept_in) {
        row.expected = "refused: nobody outside is asked";
        const auto own = ask_own_resolver(name, options_.wait);
        situation_.target = own && !own->addresses.empty() ? own->addresses.front() : well_known;
        if (answer) row.happened = answer->rcode == refused ? "refused" : "code " + std::to_string(answer->rcode);
        if (answer && answer->rcode == refused) row.verdict = Verdict::Ok;
        rows.push_back(row);
        return;
    }
    if (answer && !answer->addresses.empty()) {
        situation_.target = answer->addresses.front();
        situation_.target_allowed = true;
        row.happened = to_string(*situation_.target);
        row.verdict = Verdict::Ok;
        if (is_private(subject_, *situation_.target)) {
            row.happened += ", which is no address of the internet";
            row.verdict = Verdict::Surprise;
            situation_.target = well_known;
        }
    } else {
        const auto own = ask_own_resolver(name, options_.wait);
        if (answer) row.happened = "no address (code " + std::to_string(answer->rcode) + ")";
        if (!own || own->addresses.empty()) {
            row.happened += "; this machine's own resolver has none either";
            if (answer) row.verdict = Verdict::Unproven;
        }
        situation_.target = well_known;
    }
    rows.push_back(row);
}

void Session::try_rebinding(std::vector<Row>& rows) {
    Row row{
        "DNS", escape(options_.rebind) + " (points into a private network)", "no such address", {}, Verdict::NotTried};
    const bool limited = subject_.names_limited || subject_.names_kept_in;
    if (!subject_.dns || !subject_.rebind_protection || limited || options_.rebind.empty()) {
        row.happened = !subject_.dns             ? "not tried: dns.enabled is false"
                       : subject_.names_limited  ? "not tried: firewall.allow_domains lets no other name resolve"
                       : subject_.names_kept_in  ? "not tried: firewall.internet = false lets no other name resolve"
                       : options_.rebind.empty() ? "not tried: no name was given"
                                                 : "not tried: dns.rebind_protection is false";
        rows.push_back(row);
        return;
    }
    const auto answer = ask_dns(options_.rebind);
    const auto has_private = [&](const std::optional<DnsAnswer>& one) {
        return one && std::any_of(one->addresses.begin(), one->addresses.end(),
                                  [&](Ipv4 address) { return is_private(subject_, address); });
    };
    if (!answer) {
        row.happened = "no answer";
        row.verdict = Verdict::Unproven;
    } else if (has_private(answer)) {
        row.happened = to_string(answer->addresses.front());
        row.verdict = Verdict::Surprise;
    } else if (has_private(ask_own_resolver(options_.rebind, options_.wait))) {
        row.happened = "taken out; this machine's resolver has it";
        row.verdict = Verdict::Ok;
    } else {
        row.happened = "none, but this machine's resolver gives no private address for it either";
        row.verdict = Verdict::Unproven;
    }
    rows.push_back(row);
}

/// A server that does not answer us either says nothing about the guest's way.
void Session::ask_as_machine(std::vector<Row>& rows) {
    for (auto& row : rows) {
        if (row.group != "internet" || !row.tried.starts_with("TCP to") || row.verdict != Verdict::Ok ||
            row.happened.ends_with(", answered") || row.expected == "goes nowhere")
            continue;
        const bool ours =
            connects(*situation_.target, 443, options_.wait) || connects(*situation_.target, 80, options_.wait);
        row.verdict = ours ? Verdict::Surprise : Verdict::Unproven;
        row.happened += ours ? ", though this machine is answered" : "; this machine gets none either";
    }
}

}  // namespace vmrouter::proof
