#pragma once

// What is tried, and what of it is a surprise. The list of probes is made of what the running instance says it enforces
// and of what this machine looks like; an outcome is judged by where the token was seen. Pure.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "firewall/policy.hpp"
#include "src/commands/verify_frames.hpp"
#include "src/link/facts.hpp"
#include "src/link/sysctl.hpp"
#include "src/plan.hpp"

namespace vmrouter::proof {

/// What the instance enforces.
struct Subject {
    std::string instance;
    std::string interface;
    bool bridge = true;
    Cidr address;  ///< ours on the segment
    bool internet = true;
    bool lan_blocked = true;
    bool dhcp = true;
    bool dns = true;
    bool redirect_dns = true;
    bool rebind_protection = true;
    bool isolate_guests = false;
    bool source_guard = true;  ///< anything but "off"
    std::string domain;
    std::string allowed_name;  ///< one of firewall.allow_domains; empty: every name
    bool names_limited = false;
    bool names_kept_in = false;           ///< a closed segment: nothing is asked outside
    std::vector<std::string> open_ports;  ///< "tcp/8080"
    std::vector<std::string> uplinks;
    std::vector<Ipv4> gateways;
    std::vector<Cidr> lan;
    std::vector<Cidr> block;
    std::vector<Cidr> allow;  ///< destinations of firewall.allow, whatever the ports
    std::vector<Cidr> guard;  ///< what the dead man's switch shuts
    std::uint32_t mark = 0;
    std::vector<link::Sysctl> settings;
    // What doctor looks at.
    std::uint32_t mtu = 0;       ///< of the segment, as guests are told; 0: not known
    bool uplinks_named = false;  ///< by the configuration
    bool publishes = false;      ///< a guest's port beyond loopback
    std::string resolv_file;
    std::vector<std::string> upstreams;  ///< empty: those of resolv_file
    std::string leases_file;
    std::string hosts_file;
    std::string ruleset;  ///< as it should be in the kernel, without guests

    friend bool operator==(const Subject&, const Subject&) = default;
};
Subject subject_of(const Plan& plan, const conf::Config& config);
nlohmann::json to_json(const Subject& subject);
std::optional<Subject> subject_from_json(const nlohmann::json& document);

/// Somebody on the segment.
struct Host {
    MacAddress mac;
    Ipv4 address;
};

/// A service of this machine that listens beyond loopback.
struct Service {
    bool tcp = true;
    std::uint16_t port = 0;
    friend auto operator<=>(const Service&, const Service&) = default;
};

/// A host that this machine knows on another interface, or an address of its own there.
struct Place {
    std::string interface;
    Ipv4 address;
};

struct Situation {
    Subject subject;
    MacAddress router;
    Host first;
    std::optional<Host> second;
    std::vector<Place> neighbours;
    std::vector<Place> host_addresses;  ///< but the segment's and loopback
    std::vector<Ipv6> host_addresses6;
    std::vector<Service> services;
    std::optional<Ipv4> target;          ///< what stands for the internet
    bool target_allowed = true;          ///< false: no allowed name leads there
    std::uint32_t session = 0;           ///< the first token
    bool wire = false;                   ///< the second guest is one by name only: nothing can be seen there
    std::optional<std::string> outside;  ///< the uplink on which packets can be made to arrive
    MacAddress outside_mac;
    std::optional<Ipv4> outside_address;  ///< this machine's there
};

enum class From { Guest, Outside, Machine };
enum class Expect {
    Answer,    ///< an answer comes back
    Leaves,    ///< it leaves by an uplink under the uplink's own address
    Reaches,   ///< the second guest (from a guest), the first one (from elsewhere)
    Machine,   ///< this machine's sockets
    Nothing,   ///< it is seen nowhere, and nobody answers
    Redirect,  ///< an answer comes, and it is seen nowhere
};

struct Probe {
    std::string group;  ///< "LAN"
    std::string what;   ///< probes with the same group and text are one row
    From from = From::Guest;
    Expect expect = Expect::Nothing;
    Frame frame;
    std::uint32_t token = 0;
    std::uint16_t port = 0;      ///< the answer comes to this one
    std::string name;            ///< "tcp/22", for rows of several
    std::optional<Ipv4> asks;    ///< ARP: whose answer counts
    Ipv4 destination;            ///< of what this machine says itself (From::Machine has no frame)
    std::optional<Ipv4> target;  ///< an ARP question of ours for it on another interface is a leak
    bool control = false;        ///< it shows that a row of silence would mean something
    bool answer_only = false;    ///< its own arrival here means nothing (it is an answer that counts)
};

std::vector<Probe> make_probes(const Situation& situation);

/// Where a token was seen.
struct Sighting {
    enum class Where { Left, Asked, Machine, First, Second };
    Where where = Where::Left;
    std::string interface;
    Ipv4 source;
    friend bool operator==(const Sighting&, const Sighting&) = default;
};
struct Outcome {
    bool sent = false;  ///< it was seen where it had to set out
    std::optional<Reply::Kind> reply;
    std::vector<Sighting> seen;
};

enum class Verdict { Ok, Surprise, Unproven, NotTried };
std::string to_string(Verdict verdict);  ///< "ok", "surprise", "unproven", "not_tried"

/// A line of the table.
struct Row {
    std::string group;
    std::string tried;
    std::string expected;
    std::string happened;
    Verdict verdict = Verdict::Ok;
};
/// One row for each group and text, in the order of the probes.
std::vector<Row> judge(const Situation& situation, const std::vector<Probe>& probes,
                       const std::vector<Outcome>& outcomes);
nlohmann::json to_json(const std::vector<Row>& rows);

}  // namespace vmrouter::proof
