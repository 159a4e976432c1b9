#pragma once

// The protocol itself: a message and the state of the world in, changes and a reply out. No socket, file, clock, random
// number or log line inside. The service applies the changes, has them written, and only then sends the reply.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/hosts_file.hpp"
#include "dhcp/lease.hpp"
#include "dhcp/message.hpp"
#include "dhcp/option.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dhcp {

enum class Identity : std::uint8_t {
    Mac,       ///< the hardware address names a client; the client-id only among those without hardware address
    ClientId,  ///< the client-id names it, where it sends one (RFC 4361): whoever knows it is that client
};
/// Whose leases a client-id may name by this policy. It is no secret (guests broadcast theirs), so with `Mac` it must
/// never lead to what a client with a hardware address holds.
constexpr IdScope id_scope(Identity identity) {
    return identity == Identity::Mac ? IdScope::WithoutHardware : IdScope::Everybody;
}

/// Everything the server is told. Filled by the roof; plain values.
struct ServerConfig {
    Cidr address;  ///< ours on the segment, with the prefix length of the segment
    Range range;   ///< inside the segment
    std::string interface;

    Seconds lease_time{3600};            ///< or infinite
    std::optional<Seconds> renew_time;   ///< T1; default half of the lease
    std::optional<Seconds> rebind_time;  ///< T2; default seven eighths
    std::size_t max_leases = 0;          ///< 0: what the range and the reservations hold
    bool authoritative = true;
    bool no_override = true;
    bool ping_check = true;
    bool rapid_commit = false;
    Identity identity = Identity::Mac;

    std::vector<Ipv4> routers;      ///< option 3; empty: our address
    std::vector<Ipv4> dns_servers;  ///< option 6; empty: not sent
    std::vector<Ipv4> ntp_servers;  ///< option 42
    std::string domain;             ///< option 15, and the domain of option 81; empty: none
    std::uint16_t mtu = 0;          ///< option 26; 0: not sent
    std::string boot_server;        ///< siaddr when it is an address, option 66
    std::string boot_file;          ///< file, option 67
    std::vector<ConfiguredOption> options;

    std::vector<std::string> refused_names;  ///< the host's own names; "wpad", "localhost", "isatap" are always refused

    Seconds offer_time{15};    ///< how long an offer that nobody takes is kept
    Seconds quarantine{600};   ///< of an address that was declined or answered a probe
    Seconds short_lease{120};  ///< for unknown clients when the pool runs low and ports cannot be told apart
    unsigned pool_low_percent = 80;
    std::size_t max_leases_per_port = 32;   ///< leases and offers through one bridge port; 0: no limit
    bool ports_told = false;                ///< a bridge: all whose port is not known are held to the limit of one port
    std::size_t max_leases_per_sender = 8;  ///< from one Ethernet address; 0: no limit
};

/// How a message arrived.
struct Context {
    std::optional<MacAddress> ethernet_source;  ///< nullopt: not known (then nothing is compared with it)
    bool broadcast = true;                      ///< the IP destination was not ours alone
    Ipv4 source;                                ///< IP source; 0.0.0.0 from a client without an address
    Ipv4 destination{255, 255, 255, 255};
    std::uint16_t source_port = 68;
    int port = 0;            ///< interface index of the bridge port; 0: cannot be told, or not yet
    bool storage_ok = true;  ///< false: the disk refuses; known leases are renewed, nothing new is granted
};

/// Why there is no reply.
enum class Silence : std::uint8_t {
    None,             ///< there is one (or a probe comes first)
    Done,             ///< DECLINE, RELEASE: the protocol has no reply
    NotARequest,      ///< op is not BOOTREQUEST: another server's reply
    UnsupportedType,  ///< option 53 has no meaning for a server
    TooManyHops,      ///< hops over 16 (RFC 1542 section 4.1.1)
    ForgedSource,     ///< the Ethernet source is not chaddr
    NoIdentity,       ///< neither hardware address nor client-id
    Ignored,          ///< a reservation says ignore
    OtherServer,      ///< option 54 names another server
    OtherNetwork,     ///< a relay or client of a network that is not ours
    UnknownLease,     ///< not authoritative, and no lease of this client: another server may know it
    Malformed,        ///< an address or option that the message type requires is missing or wrong
    NoAddress,        ///< no free address
    LeaseLimit,       ///< max_leases reached
    PortLimit,        ///< max_leases_per_port reached
    SenderLimit,      ///< max_leases_per_sender reached
    NotReserved,      ///< BOOTP, and no reservation
    StorageBroken,    ///< nothing new can be written
    NotTheHolder,     ///< RELEASE, DECLINE of somebody else's address
    LocalClient,      ///< a relay speaks for a client that holds its lease on the segment itself
    StorageBusy,      ///< too much waits for the disk already
    Unreadable,       ///< the bytes are no DHCP message (a wrong checksum, a length that is not so)
};
/// In the words of the log: "names another server".
std::string_view to_string(Silence silence);

/// What to answer; make_reply() turns it into a message.
struct Reply {
    MessageType type = MessageType::Nak;  ///< Offer, Ack, Nak, or Bootp
    Ipv4 address;                         ///< yiaddr; 0 for INFORM and NAK
    Seconds lease_time{0};                ///< option 51; 0: not sent
    Seconds renew_time{0};                ///< option 58; 0: not sent
    Seconds rebind_time{0};
    std::string name;           ///< option 12 and 81, without domain; empty: none
    bool rapid_commit = false;  ///< an ACK to a DISCOVER: option 80
    bool inform = false;        ///< an ACK to an INFORM
    std::string text;           ///< option 56, the reason of a NAK

    friend bool operator==(const Reply&, const Reply&) = default;
};

/// Before this address is offered, ask on the segment whether somebody has it: by ARP, or by ICMP echo through a relay.
/// When the answer or the silence is in (100 ms), call after_probe() with the same message. A probe of this address may
/// be running for an earlier copy of the message: then only replace the message that waits for it.
struct ProbeRequest {
    Ipv4 address;
    bool through_relay = false;

    friend bool operator==(const ProbeRequest&, const ProbeRequest&) = default;
};

enum class Level : std::uint8_t { Debug, Info, Warning };

/// Something that a person should hear, beside the line for the message itself.
struct Warning {
    enum class Kind : std::uint8_t {
        DuplicateClientId,  ///< two hardware addresses, one client-id
        Declined,           ///< an address is in use by somebody else
        Conflict,           ///< a probe was answered
        PoolLow,            ///< the pool runs low (once when the mark is crossed)
        PoolEmpty,
        LeaseLimit,
        PortLimit,
        SenderLimit,
        NameRefused,
        ReservationUnusable,  ///< its address is taken or quarantined
        StorageBroken,
        ProbesDistrusted,  ///< so many probes were answered that addresses are offered without one
        OptionsLeftOut,    ///< they did not fit into a reply (last: Reporter counts the kinds by it)
    };
    Kind kind = Kind::Declined;
    std::string text;  ///< whole, escaped, for the log
};

/// What the log line needs: verb, address, client, name, detail.
struct Note {
    Level level = Level::Info;
    std::string_view verb;  ///< "OFFER", "ACK", "NAK", "DECLINE", "RELEASE", "INFORM", "BOOTP", "DISCOVER", "REQUEST"
    Ipv4 address;           ///< 0: none
    HardwareAddress client;
    std::string name;                            ///< legal or empty
    std::string detail;                          ///< "for 1h", "wrong network", "names another server"; escaped
    MessageType message = MessageType::Unknown;  ///< what the client sent
    Silence silence = Silence::None;
    int port = 0;  ///< Context::port
    Time time{};

    /// "ACK 192.168.100.23 to 52:54:00:12:34:56 (vm1) for 1h"
    [[nodiscard]] std::string line() const;
};

/// What the server does about one message.
struct Decision {
    std::vector<LeaseChange> changes;   ///< in this order
    std::optional<Reply> reply;         ///< sent when the changes are on disk
    std::optional<ProbeRequest> probe;  ///< instead of a reply
    Silence silence = Silence::None;
    Note note;
    std::vector<Warning> warnings;
};

/// RFC 2131 section 4.3, RFC 1534 for BOOTP.
Decision decide(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                const Message& message, const Context& context, Time now);

struct ProbeResult {
    Ipv4 address;
    bool answered = false;
    std::optional<MacAddress> by;  ///< who has it; nullopt: not known (ICMP)
    unsigned conflicts = 0;        ///< probes of the same message that were answered, this one included
};

/// The second half of a DISCOVER whose decision asked for a probe: offers the address, or quarantines it and takes
/// another, which may need a probe in turn, but not for ever: a guest that answers every probe keeps nobody out.
Decision after_probe(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations,
                     const Message& message, const Context& context, const ProbeResult& result, Time now);

/// Somebody answered for an address after its probe was over. An address that is only offered is quarantined, so that
/// the REQUEST for it is refused, unless too many are in quarantine; one that is leased to another is only warned
/// about.
Decision late_answer(const LeaseTable& leases, const ServerConfig& config, Ipv4 address, const MacAddress& by,
                     Time now);

/// `leases drop`: the lease goes, and its client's next renewal is refused.
Decision drop_lease(const LeaseTable& leases, Ipv4 address);

/// How much of the pool is in use.
struct PoolUsage {
    std::size_t leases = 0;
    std::size_t used = 0;    ///< addresses of the range with a lease, an offer or a quarantine
    std::size_t usable = 0;  ///< addresses of the range that may be given to anybody
};
PoolUsage usage(const LeaseTable& leases, const ServerConfig& config, const Reservations& reservations);

}  // namespace vmrouter::dhcp
