#include "dns/local.hpp"

#include <algorithm>
#include <array>

#include "src/base/text.hpp"

namespace vmrouter::dns {
namespace {

// What Rule::flags holds.
constexpr std::uint16_t exists = 1;        // something below it does (RFC 8020: then it is no NXDOMAIN)
constexpr std::uint16_t routed = 2;        // it and everything under it
constexpr std::uint16_t hidden = 4;        // it alone
constexpr std::uint16_t hidden_below = 8;  // it and everything under it
constexpr std::uint16_t blocked = 16;
constexpr std::uint16_t blocked_below = 32;  // everything under it
constexpr std::uint16_t allowed = 64;
constexpr std::uint16_t allowed_below = 128;
constexpr std::uint16_t points_back = 256;  // a reverse name of a record's address

// Guests come and go at any moment: what is said of them is never kept by anyone.
constexpr std::uint32_t guest_ttl = 0;
constexpr std::uint32_t record_ttl = 60;
constexpr std::uint32_t refusal_ttl = 60;
constexpr std::uint32_t special_ttl = 10800;  // RFC 6303 section 3
constexpr std::uint32_t minimal_ttl = 3600;

/// Names that others look up to find their way: a guest must not claim them (a proxy for everyone, a tunnel for
/// everyone).
constexpr std::string_view never_claimed[] = {"wpad", "isatap", "localhost", "localdomain", "_gateway"};

/// A label in lower case, in place.
class FoldedLabel {
public:
    explicit FoldedLabel(std::string_view label) : size_(std::min(label.size(), Name::max_label)) {
        std::transform(label.begin(), label.begin() + size_, text_.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
    }
    [[nodiscard]] std::string_view text() const { return {text_.data(), size_}; }

private:
    std::array<char, Name::max_label> text_;
    std::size_t size_;
};

}  // namespace

struct Local::Asked {
    const Query& query;
    const Suffixes& suffixes;
    std::span<std::uint8_t> out;
    std::size_t limit;

    const Rule* exact = nullptr;  ///< about the whole name
    ZoneKind zone = ZoneKind::None;
    std::size_t zone_at = 0;       ///< which suffix is the closest zone
    const Route* route = nullptr;  ///< the longest
    std::size_t route_at = Name::max_labels;
    std::optional<std::size_t> hidden_at = {};
    std::optional<std::size_t> blocked_at = {};
    bool is_allowed = false;
    bool has_children = false;

    [[nodiscard]] Type type() const { return query.question.type; }
    [[nodiscard]] const Name& name() const { return query.question.name; }
    [[nodiscard]] bool wants(Type wanted) const { return type() == wanted || type() == Type::Any; }
    /// The administrator sends this name somewhere (a route for the root names nothing).
    [[nodiscard]] bool is_routed() const { return route != nullptr && route_at < suffixes.labels(); }
    /// What is said of a name of ours that has nothing itself: it is there when something below it is (RFC 8020).
    [[nodiscard]] Rcode absent() const { return has_children ? Rcode::NoError : Rcode::NxDomain; }
    [[nodiscard]] Name suffix(std::size_t i) const { return Name::from_wire(suffixes.wire(i)).value_or(Name{}); }

    [[nodiscard]] Reply reply() const {
        Reply reply(query, out, limit);
        reply.set_authoritative();
        return reply;
    }
    /// NXDOMAIN, or with NoError NODATA, with the SOA of the zone that suffix `at` is (RFC 2308).
    [[nodiscard]] LocalDecision negative(Verdict verdict, Rcode rcode, std::size_t at, std::uint32_t ttl,
                                         std::optional<Ede> ede = {}) const {
        Reply answer = reply();
        answer.set_rcode(rcode);
        if (ede) answer.set_ede(*ede);
        answer.authority();
        if (at == 0)
            answer.soa(name(), ttl, ttl);
        else
            answer.soa(suffix(at), ttl, ttl);
        return {verdict, answer.finish(), nullptr};
    }
    [[nodiscard]] LocalDecision error(Verdict verdict, Rcode rcode, std::optional<Ede> ede = {}) const {
        return {verdict, write_error(query, rcode, out, ede), nullptr};
    }
    /// The apex of a zone of ours: SOA, NS (itself, as RFC 6303 section 3 has it), nothing else.
    [[nodiscard]] LocalDecision apex(Verdict verdict, std::uint32_t ttl) const {
        if (!wants(Type::Soa) && type() != Type::Ns) return negative(verdict, Rcode::NoError, 0, ttl);
        Reply answer = reply();
        if (wants(Type::Soa)) answer.soa(name(), ttl, ttl);
        if (type() == Type::Ns) answer.ns(name(), ttl, name());
        return {verdict, answer.finish(), nullptr};
    }
    /// A name of ours with this one IPv4 address.
    [[nodiscard]] LocalDecision address(Verdict verdict, Ipv4 ipv4, std::size_t zone_suffix) const {
        if (!wants(Type::A)) return negative(verdict, Rcode::NoError, zone_suffix, guest_ttl);
        Reply answer = reply();
        answer.a(name(), guest_ttl, ipv4);
        return {verdict, answer.finish(), nullptr};
    }
    [[nodiscard]] LocalDecision pointer(Verdict verdict, const Name& target, std::uint32_t ttl,
                                        std::size_t zone_suffix) const {
        if (!wants(Type::Ptr)) return negative(verdict, Rcode::NoError, zone_suffix, ttl);
        Reply answer = reply();
        answer.ptr(name(), ttl, target);
        return {verdict, answer.finish(), nullptr};
    }
};

const char* to_string(Verdict verdict) {
    switch (verdict) {
        case Verdict::Forward:
            return "forwarded";
        case Verdict::Guest:
            return "guest";
        case Verdict::Record:
            return "record";
        case Verdict::Special:
            return "special-use name";
        case Verdict::PrivateReverse:
            return "private address";
        case Verdict::Hidden:
            return "name of the LAN";
        case Verdict::Blocked:
            return "blocked";
        case Verdict::NotAllowed:
            return "not allowed";
        case Verdict::Minimal:
            return "minimal";
        case Verdict::Statistics:
            return "statistics";
        case Verdict::Refused:
            return "refused";
    }
    return "";
}

Local::Local(LocalConfig config, Sources sources) : config_(std::move(config)), sources_(sources) {
    config_.own_name = to_lower(config_.own_name);
    add_records();
    add_zones();
    for (std::size_t i = 0; i < config_.routes.size(); ++i) {
        Rule& rule = rules_[config_.routes[i].domain];
        rule.flags |= routed;
        rule.route = static_cast<std::uint32_t>(i);
    }
    for (const DomainPattern& pattern : config_.block) add_pattern(pattern, blocked, blocked_below);
    for (const DomainPattern& pattern : config_.allow) add_pattern(pattern, allowed, allowed_below);
}

void Local::add_records() {
    records_ = config_.records;
    for (HostRecord& record : records_) record.name.fold();
    const auto before = [](const HostRecord& a, const HostRecord& b) {
        const Bytes left = a.name.wire();
        const Bytes right = b.name.wire();
        return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end());
    };
    std::stable_sort(records_.begin(), records_.end(), before);
    for (std::size_t i = 0; i < records_.size();) {
        std::size_t end = i + 1;
        while (end < records_.size() && records_[end].name == records_[i].name) ++end;
        Rule& rule = rules_[records_[i].name];
        rule.first_record = static_cast<std::uint32_t>(i);
        rule.record_count = static_cast<std::uint32_t>(end - i);
        mark_parents(records_[i].name);
        i = end;
    }
    // The first name given to an address is the one that a reverse look-up finds.
    for (std::size_t i = 0; i < config_.records.size(); ++i) {
        const Name reverse = std::visit([](const auto& a) { return reverse_name(a); }, config_.records[i].address);
        Rule& rule = rules_[reverse];
        if ((rule.flags & points_back) != 0) continue;
        rule.flags |= points_back;
        rule.pointer = static_cast<std::uint32_t>(i);
        mark_parents(reverse);
    }
}

void Local::add_zones() {
    for (const Zone& zone : special_zones()) rules_[zone.name].zone = zone.kind;
    if (!config_.domain.is_root()) {
        rules_[config_.domain].zone = ZoneKind::Domain;
        mark_parents(config_.domain);
    }
    if (!config_.hide_lan_names) return;
    for (const Name& name : lan_domains()) rules_[name].flags |= hidden_below;
    for (const Name& name : config_.hidden_domains)
        if (!name.is_root()) rules_[name].flags |= hidden_below;
    for (const Name& name : config_.hidden_names)
        if (!name.is_root()) rules_[name].flags |= hidden;
}

void Local::add_pattern(const DomainPattern& pattern, std::uint16_t itself, std::uint16_t below) {
    Rule& rule = rules_[pattern.name];
    if (pattern.itself) rule.flags |= itself;
    if (pattern.below) rule.flags |= below;
}

void Local::mark_parents(const Name& name) {
    for (Name parent = name.parent(); !parent.is_root(); parent = parent.parent()) rules_[parent].flags |= exists;
}

LocalDecision Local::answer(const Query& query, const Suffixes& suffixes, std::span<std::uint8_t> out,
                            std::size_t limit) const {
    Asked asked{query, suffixes, out, limit};
    if (query.question.klass == Class::Chaos) return chaos(query, out, limit);

    look_up(asked);
    Step step = answer_here(asked);
    if (!step) step = refuse(asked);
    if (!step) return {Verdict::Forward, 0, asked.route, asked.route_at};
    if (query.question.klass != Class::In) return asked.error(Verdict::Refused, Rcode::Refused);
    return *step;
}

/// What the administrator wrote comes first, then what is ours, then what is nobody's, then what must not be asked.
Local::Step Local::answer_here(const Asked& asked) const {
    if (const Step step = answer_record(asked)) return step;
    if (const Step step = answer_domain(asked)) return step;
    if (const Step step = answer_reverse(asked)) return step;
    if (const Step step = answer_special(asked)) return step;
    return answer_bare(asked);
}

void Local::look_up(Asked& asked) const {
    for (std::size_t i = 0; i <= asked.suffixes.labels(); ++i) {
        const Rule* rule = rules_.find(asked.suffixes.wire(i), asked.suffixes.hash(i));
        if (rule == nullptr) continue;
        if (i == 0) {
            asked.exact = rule;
            asked.has_children = (rule->flags & exists) != 0;
        }
        if (rule->zone != ZoneKind::None && asked.zone == ZoneKind::None) {
            asked.zone = rule->zone;
            asked.zone_at = i;
        }
        if ((rule->flags & routed) != 0 && asked.route == nullptr) {
            asked.route = &config_.routes[rule->route];
            asked.route_at = i;
        }
        const auto says = [&](std::uint16_t itself, std::uint16_t below) {
            return (rule->flags & (i == 0 ? itself : below)) != 0;
        };
        if (says(hidden | hidden_below, hidden_below) && !asked.hidden_at) asked.hidden_at = i;
        if (says(blocked, blocked_below) && !asked.blocked_at) asked.blocked_at = i;
        if (says(allowed, allowed_below)) asked.is_allowed = true;
    }
}

Local::Step Local::answer_record(const Asked& asked) const {
    if (asked.exact == nullptr) return std::nullopt;
    if (asked.exact->record_count > 0) return records(asked, *asked.exact);
    if ((asked.exact->flags & points_back) != 0)
        return asked.pointer(Verdict::Record, config_.records[asked.exact->pointer].name, record_ttl, 0);
    return std::nullopt;
}

LocalDecision Local::records(const Asked& asked, const Rule& rule) const {
    Reply reply = asked.reply();
    bool found = false;
    for (std::size_t i = 0; i < rule.record_count; ++i) {
        const auto& address = records_[rule.first_record + i].address;
        const auto* ipv4 = std::get_if<Ipv4>(&address);
        const auto* ipv6 = std::get_if<Ipv6>(&address);
        if (ipv4 != nullptr && asked.wants(Type::A)) reply.a(asked.name(), record_ttl, *ipv4);
        if (ipv6 != nullptr && asked.wants(Type::Aaaa)) reply.aaaa(asked.name(), record_ttl, *ipv6);
        found = found || asked.wants(ipv4 != nullptr ? Type::A : Type::Aaaa);
    }
    if (found) return {Verdict::Record, reply.finish(), nullptr};
    const std::size_t zone = asked.zone == ZoneKind::Domain ? asked.zone_at : 0;
    return asked.negative(Verdict::Record, Rcode::NoError, zone, record_ttl);
}

Local::Step Local::answer_domain(const Asked& asked) const {
    if (asked.zone != ZoneKind::Domain) return std::nullopt;
    if (asked.route != nullptr && asked.route_at < asked.zone_at) return std::nullopt;
    if (asked.zone_at == 0) return asked.apex(Verdict::Guest, guest_ttl);
    if (asked.zone_at == 1) {
        const FoldedLabel folded(asked.name().first_label());
        const std::string_view label = folded.text();
        if (const auto address = host(label))
            return asked.address(label == config_.own_name ? Verdict::Record : Verdict::Guest, *address, 1);
    }
    return asked.negative(Verdict::Guest, asked.absent(), asked.zone_at, guest_ttl);
}

Local::Step Local::answer_reverse(const Asked& asked) const {
    static const Name localhost = *Name::parse("localhost");
    static const Ipv6 loopback = *Ipv6::parse("::1");
    if (const auto reverse = parse_reverse4(asked.suffixes)) {
        const std::size_t zone = asked.suffixes.labels() - 2 - std::min<std::size_t>(reverse->octets, 3);
        const Cidr prefix = reverse->prefix();
        if (config_.segment.covers(prefix)) {
            if (reverse->octets < 4 && reverse->whole) return asked.apex(Verdict::Guest, guest_ttl);
            const auto name = reverse->whole ? host_name(reverse->first) : std::nullopt;
            if (name) return asked.pointer(Verdict::Guest, *name, guest_ttl, zone);
            return asked.negative(Verdict::Guest, Rcode::NxDomain, zone, guest_ttl);
        }
        // A private zone above our segment exists, though it has nothing of its own.
        if (reverse->whole && prefix.covers(config_.segment) && asked.zone == ZoneKind::Reverse && asked.zone_at > 0)
            return asked.negative(Verdict::Guest, Rcode::NoError, asked.zone_at, guest_ttl);
        if (asked.is_routed()) return std::nullopt;
        if (reverse->whole && prefix == Cidr{Ipv4{127, 0, 0, 1}, 32})
            return asked.pointer(Verdict::Special, localhost, special_ttl, asked.zone_at);
        const bool is_blocked = sources_.blocked_networks != nullptr && reverse->octets >= 3 &&
                                sources_.blocked_networks->contains(prefix.first()) &&
                                sources_.blocked_networks->contains(prefix.last());
        if (is_blocked && asked.zone == ZoneKind::None)
            return asked.negative(Verdict::PrivateReverse, Rcode::NxDomain, zone, refusal_ttl);
        return std::nullopt;
    }
    if (asked.is_routed()) return std::nullopt;
    const auto address = parse_reverse6(asked.suffixes);
    if (!address) return std::nullopt;
    if (*address == loopback) return asked.pointer(Verdict::Special, localhost, special_ttl, 0);
    if (asked.zone == ZoneKind::None && sources_.blocked_networks != nullptr &&
        sources_.blocked_networks->contains(*address))
        return asked.negative(Verdict::PrivateReverse, Rcode::NxDomain, 16, refusal_ttl);
    return std::nullopt;
}

Local::Step Local::answer_special(const Asked& asked) const {
    const bool at_apex = asked.zone_at == 0;
    if (asked.is_routed() && asked.zone != ZoneKind::Localhost) return std::nullopt;
    switch (asked.zone) {
        case ZoneKind::None:
        case ZoneKind::Domain:
            return std::nullopt;
        case ZoneKind::Localhost: {
            if (!asked.wants(Type::A) && !asked.wants(Type::Aaaa))
                return asked.negative(Verdict::Special, Rcode::NoError, asked.zone_at, special_ttl);
            Reply reply = asked.reply();
            if (asked.wants(Type::A)) reply.a(asked.name(), special_ttl, Ipv4{127, 0, 0, 1});
            if (asked.wants(Type::Aaaa)) reply.aaaa(asked.name(), special_ttl, *Ipv6::parse("::1"));
            return LocalDecision{Verdict::Special, reply.finish(), nullptr};
        }
        case ZoneKind::Absent:
            return asked.negative(Verdict::Special, asked.absent(), asked.zone_at, special_ttl);
        case ZoneKind::Resolver:
            if (at_apex) return asked.apex(Verdict::Special, special_ttl);
            return asked.negative(Verdict::Special, Rcode::NoError, asked.zone_at, special_ttl);
        case ZoneKind::Ipv4Only: {
            if (!at_apex) return asked.negative(Verdict::Special, Rcode::NxDomain, asked.zone_at, special_ttl);
            if (!asked.wants(Type::A)) return asked.apex(Verdict::Special, special_ttl);
            Reply reply = asked.reply();
            reply.a(asked.name(), special_ttl, Ipv4{192, 0, 0, 170});
            reply.a(asked.name(), special_ttl, Ipv4{192, 0, 0, 171});
            return LocalDecision{Verdict::Special, reply.finish(), nullptr};
        }
        case ZoneKind::Empty:
        case ZoneKind::Reverse:
            break;
    }
    const Verdict verdict = asked.zone == ZoneKind::Reverse ? Verdict::PrivateReverse : Verdict::Special;
    if (at_apex && asked.type() == Type::Ds) return std::nullopt;  // RFC 4035 section 3.1.4.1, RFC 8375 section 4
    if (at_apex) return asked.apex(verdict, special_ttl);
    return asked.negative(verdict, asked.absent(), asked.zone_at, special_ttl);
}

Local::Step Local::answer_bare(const Asked& asked) const {
    if (asked.suffixes.labels() != 1 || asked.is_routed()) return std::nullopt;
    switch (asked.type()) {
        case Type::Ds:
        case Type::Dnskey:
        case Type::Ns:
        case Type::Soa:
            return std::nullopt;  // a top-level domain's own, whatever a guest calls itself
        default:
            break;
    }
    const FoldedLabel folded(asked.name().first_label());
    const std::string_view label = folded.text();
    if (const auto full = Name::join(label, config_.domain); full && !config_.domain.is_root())
        if (const Rule* rule = rules_.find(*full); rule != nullptr && rule->record_count > 0)
            return records(asked, *rule);
    if (const auto address = host(label))
        if (config_.hide_lan_names || asked.wants(Type::A) || asked.type() == Type::Aaaa)
            return asked.address(label == config_.own_name ? Verdict::Record : Verdict::Guest, *address, 0);
    if (!config_.hide_lan_names) return std::nullopt;
    return asked.negative(Verdict::Hidden, asked.absent(), 1, guest_ttl);
}

Local::Step Local::refuse(const Asked& asked) const {
    if (asked.hidden_at && !asked.is_routed())
        return asked.negative(Verdict::Hidden, asked.absent(), *asked.hidden_at, refusal_ttl);
    if (asked.blocked_at)
        return asked.negative(Verdict::Blocked, Rcode::NxDomain, *asked.blocked_at, refusal_ttl, Ede::Blocked);
    if (sources_.list != nullptr)
        if (const auto at = sources_.list->find(asked.suffixes))
            return asked.negative(Verdict::Blocked, Rcode::NxDomain, *at, refusal_ttl, Ede::Blocked);
    const bool kept_in = config_.closed && !asked.is_routed();
    if (kept_in || (!config_.allow.empty() && !asked.is_allowed))
        return asked.error(Verdict::NotAllowed, Rcode::Refused, Ede::Prohibited);
    if (asked.type() != Type::Any) return std::nullopt;
    Reply reply = asked.reply();
    reply.hinfo(asked.name(), minimal_ttl, "RFC8482", "");
    return LocalDecision{Verdict::Minimal, reply.finish(), nullptr};
}

/// Our own name, or a guest's that it may bear.
std::optional<Ipv4> Local::host(std::string_view label) const {
    if (label == config_.own_name) return config_.segment.address;
    const auto guest = sources_.names != nullptr ? sources_.names->guest(label) : std::nullopt;
    if (!guest || (!guest->reserved && is_protected(label))) return std::nullopt;
    return guest->address;
}

std::optional<Name> Local::host_name(Ipv4 address) const {
    if (address == config_.segment.address && !config_.own_name.empty())
        return Name::join(config_.own_name, config_.domain);
    const std::string_view label = sources_.names != nullptr ? sources_.names->name_of(address) : std::string_view{};
    // Only a name that leads back to the address (it may be one that the guest must not have).
    if (label.empty() || host(FoldedLabel(label).text()) != address) return std::nullopt;
    return Name::join(label, config_.domain);
}

/// Names that a guest cannot get by claiming them: those that others find their way by, and the host's own.
bool Local::is_protected(std::string_view label) const {
    if (std::find(std::begin(never_claimed), std::end(never_claimed), label) != std::end(never_claimed)) return true;
    const auto name = Name::join(label, Name{});
    const Rule* rule = name ? rules_.find(*name) : nullptr;
    return rule != nullptr && (rule->flags & (hidden | hidden_below)) != 0;
}

}  // namespace vmrouter::dns
