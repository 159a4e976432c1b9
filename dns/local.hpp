#pragma once

// What is answered without asking anyone: guests by name, the administrator's records, special-use names, and
// everything that must not leave (names and reverse names of the LAN, blocked and not allowed domains).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dns/blocklist.hpp"
#include "dns/cache.hpp"
#include "dns/hosts.hpp"
#include "dns/message.hpp"
#include "dns/name_map.hpp"
#include "dns/prefix_set.hpp"
#include "dns/zones.hpp"

namespace vmrouter::dns {

/// Who the guests are, from the moment of the ACK until the lease ends; the app implements it over leases and
/// reservations.
class Names {
public:
    struct Guest {
        Ipv4 address;
        bool reserved = false;  ///< the administrator gave the name; otherwise the guest merely claims it
    };
    virtual ~Names() = default;
    /// The guest of this host name: one label in lower case.
    [[nodiscard]] virtual std::optional<Guest> guest(std::string_view label) const = 0;
    /// The host name (one label) of the guest with this address; empty when there is none. Lives until the guests
    /// change.
    [[nodiscard]] virtual std::string_view name_of(Ipv4 address) const = 0;
};

/// Split DNS: this domain and everything under it is asked elsewhere, and nowhere else.
struct Route {
    Name domain;
    std::size_t upstream_group = 0;  ///< the caller's index
};

struct LocalConfig {
    Name domain;           ///< "vm.internal"; the root: guests have bare names only
    Cidr segment;          ///< whose reverse zone is ours; address is our own
    std::string own_name;  ///< one label, answered for segment.address bare and under `domain`; may be empty
    std::vector<HostRecord> records;
    bool hide_lan_names = true;
    std::vector<Name> hidden_domains;  ///< the host's search domains: they and all under them are hidden
    std::vector<Name> hidden_names;    ///< the host's own name and those in its /etc/hosts
    std::vector<Route> routes;
    std::vector<DomainPattern> block;  ///< `block_domains` without the files
    std::vector<DomainPattern> allow;  ///< `allow_domains`; empty: everything
    bool closed = false;               ///< a closed segment: nothing is asked elsewhere but what has a route
};

/// Why a query was answered here (or not), for the log and the counters.
enum class Verdict {
    Forward,         ///< not ours: look into the cache, ask upstream
    Guest,           ///< a guest's name or address, or that there is none
    Record,          ///< an administrator's record, or our own name
    Special,         ///< special-use names and reverse zones
    PrivateReverse,  ///< the name of a blocked address
    Hidden,          ///< hide_lan_names
    Blocked,         ///< block_domains
    NotAllowed,      ///< allow_domains
    Minimal,         ///< QTYPE ANY (RFC 8482)
    Statistics,      ///< cachesize.bind and its kind
    Refused,         ///< a name of ours, or one that must not leave, in a class other than IN; CHAOS
};
const char* to_string(Verdict verdict);

/// Counters that only others know, for dnsmasq's statistics names.
struct ServerStatistics {
    std::string address;  ///< "192.168.0.1#53"
    std::uint64_t sent = 0;
    std::uint64_t failed = 0;
};

struct LocalDecision {
    Verdict verdict = Verdict::Forward;
    std::size_t size = 0;                     ///< of the reply in `out`; 0 with Forward
    const Route* route = nullptr;             ///< with Forward: the longest route that matches, if any
    std::size_t route_at = Name::max_labels;  ///< which suffix of the name that route's domain is
};

class Local {
public:
    /// `names` must outlive this. `blocked_networks` (may be null) is what reverse look-ups must not reach; `list` (may
    /// be null) is the big block list. `cache` and `servers` (may be null) feed the statistics names. All are looked at
    /// when a query comes, so the owner may refill them in place.
    struct Sources {
        const Names* names = nullptr;
        const PrefixSet* blocked_networks = nullptr;
        const Blocklist* list = nullptr;
        const Cache* cache = nullptr;
        const std::vector<ServerStatistics>* servers = nullptr;
    };
    Local(LocalConfig config, Sources sources);

    /// Answers into `out` (room for `limit` bytes) or says Forward. `suffixes` are those of query.question.name. No
    /// allocation, but for the statistics names.
    LocalDecision answer(const Query& query, const Suffixes& suffixes, std::span<std::uint8_t> out,
                         std::size_t limit) const;

    /// dnsmasq's exporters ask for all its statistics in one message with a question for each, and dnsmasq answers it.
    /// `packet` is such a message: 0 when it is not; otherwise the reply's size. `query` is what parse_query() made of
    /// it.
    std::size_t answer_statistics(Bytes packet, const Query& query, std::span<std::uint8_t> out,
                                  std::size_t limit) const;

    [[nodiscard]] const LocalConfig& config() const { return config_; }

private:
    /// What the configuration says about one name.
    struct Rule {
        std::uint16_t flags = 0;
        ZoneKind zone = ZoneKind::None;
        std::uint32_t first_record = 0;  ///< in records_
        std::uint32_t record_count = 0;
        std::uint32_t route = 0;    ///< index in config_.routes
        std::uint32_t pointer = 0;  ///< index in records_: whose name a reverse look-up finds
    };
    struct Asked;  ///< one query, and what the rules say about its name
    using Step = std::optional<LocalDecision>;

    void add_records();
    void add_zones();
    void add_pattern(const DomainPattern& pattern, std::uint16_t itself, std::uint16_t below);
    void mark_parents(const Name& name);

    void look_up(Asked& asked) const;
    Step answer_here(const Asked& asked) const;
    LocalDecision chaos(const Query& query, std::span<std::uint8_t> out, std::size_t limit) const;
    [[nodiscard]] std::optional<std::vector<std::string>> statistics(const Question& question) const;
    Step answer_record(const Asked& asked) const;
    Step answer_domain(const Asked& asked) const;
    Step answer_reverse(const Asked& asked) const;
    Step answer_special(const Asked& asked) const;
    Step answer_bare(const Asked& asked) const;
    Step refuse(const Asked& asked) const;

    LocalDecision records(const Asked& asked, const Rule& rule) const;
    [[nodiscard]] std::optional<Ipv4> host(std::string_view label) const;
    [[nodiscard]] std::optional<Name> host_name(Ipv4 address) const;
    [[nodiscard]] bool is_protected(std::string_view label) const;

    LocalConfig config_;
    Sources sources_;
    NameMap<Rule> rules_;
    std::vector<HostRecord> records_;  ///< config_.records, those of one name side by side
};

}  // namespace vmrouter::dns
