// check_response(): one walk over an upstream's response decides everything about it. Only when something has to go
// (records that point into blocked networks, that do not belong to the question, or an OPT that is not the last record)
// is the message written anew; otherwise what the guest gets is the upstream's bytes up to the OPT.

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "dns/policy.hpp"

namespace vmrouter::dns {
namespace {

constexpr std::uint16_t svcb_ipv4_hint = 4;  // RFC 9460 section 7.3
constexpr std::uint16_t svcb_ipv6_hint = 6;
constexpr std::uint32_t filtered_lifetime = 60;  // of an answer that lost records: the networks may change

/// The names that the question leads to by CNAME (RFC 1034 section 3.6.2), ourselves following.
class Chain {
public:
    explicit Chain(const Question& question) : names_{question.name}, type_(question.type) {}

    [[nodiscard]] const Name& last() const { return names_[count_ - 1]; }
    [[nodiscard]] std::size_t length() const { return count_; }

    /// Does this record of the answer section belong to the question? A CNAME of the last name leads on.
    bool takes(Bytes message, const Record& record) {
        const auto end = names_.begin() + static_cast<std::ptrdiff_t>(count_);
        const auto owner = std::find(names_.begin(), end, record.owner);
        took_last_ = owner == end - 1;
        if (owner == end) return is_dname(record);
        if (record.type == Type::Cname && type_ != Type::Cname && type_ != Type::Any && count_ < names_.size() &&
            took_last_) {
            std::size_t position = record.rdata;
            names_[count_++].read(message, position);  // well-formed: the walk has read it
        }
        return true;
    }
    /// Was the last record taken one of the name that was then the last?
    [[nodiscard]] bool took_last() const { return took_last_; }

private:
    /// A DNAME above a name of the chain, or its signature (RFC 6672); the CNAME made from it comes beside it.
    [[nodiscard]] bool is_dname(const Record& record) const {
        if (record.type != Type::Dname && record.type != Type::Rrsig) return false;
        return std::any_of(names_.begin(), names_.begin() + static_cast<std::ptrdiff_t>(count_),
                           [&](const Name& name) { return name.is_under(record.owner); });
    }

    std::array<Name, 17> names_;  // resolvers give up at about as many
    std::size_t count_ = 1;
    Type type_;
    bool took_last_ = false;
};

using Address = std::variant<Ipv4, Ipv6>;

Ipv6 read_ipv6(Reader& reader) {
    Ipv6 address;
    const Bytes bytes = reader.bytes(address.bytes.size());
    std::copy(bytes.begin(), bytes.end(), address.bytes.begin());
    return address;
}

/// The first blocked address in the hints of an SVCB or HTTPS record (RFC 9460 section 2.2).
std::optional<Address> blocked_hint(Bytes rdata, const PrefixSet& blocked) {
    Name target;
    std::size_t position = 2;
    if (!target.read_uncompressed(rdata, position)) return std::nullopt;
    Reader reader(rdata);
    reader.seek(position);
    while (reader.remaining() > 0) {
        const std::uint16_t key = reader.u16();
        Reader value(reader.bytes(reader.u16()));
        while (key == svcb_ipv4_hint && value.remaining() >= 4)
            if (const Ipv4 address{value.u32()}; blocked.contains(address)) return address;
        while (key == svcb_ipv6_hint && value.remaining() >= 16)
            if (const Ipv6 address = read_ipv6(value); blocked.contains(address)) return address;
    }
    return std::nullopt;
}

/// Where a guest must not go and this record would send it.
std::optional<Address> blocked_address(Bytes message, const Record& record, const PrefixSet* blocked) {
    if (blocked == nullptr || record.klass != Class::In) return std::nullopt;
    const Bytes rdata = message.subspan(record.rdata, record.rdata_size);
    Reader reader(rdata);
    if (record.type == Type::A) {
        if (const Ipv4 address{reader.u32()}; blocked->contains(address)) return address;
    } else if (record.type == Type::Aaaa) {
        if (const Ipv6 address = read_ipv6(reader); blocked->contains(address)) return address;
    } else if (record.type == Type::Svcb || record.type == Type::Https) {
        return blocked_hint(rdata, *blocked);
    }
    return std::nullopt;
}

/// The one walk.
class Check {
public:
    Check(const Question& question, Bytes message, const ResponseRules& rules, Answer& answer)
        : question_(question), message_(message), rules_(rules), answer_(answer), chain_(question) {}

    bool run() {
        // Upstreams send a chain in its order. When one did not, what came too early is looked at again.
        std::size_t length = 0;
        do {
            length = chain_.length();
            if (!walk()) return false;
        } while (answer_.unrelated_count > 0 && chain_.length() > length);

        answer_.rcode = static_cast<Rcode>(static_cast<std::uint16_t>(answer_.rcode) | extended_rcode_ << 4);
        if (rewritten_) {
            const auto keep = [this](const Record& record) { return keeps(record); };
            if (!rewrite(message_, question_, keep, answer_)) return false;
            answer_.authenticated = false;
        } else {
            answer_.wire.assign(message_.begin(), message_.begin() + static_cast<std::ptrdiff_t>(end_));
            if (opts_ > 0) patch_u16(10, static_cast<std::uint16_t>((message_[10] << 8 | message_[11]) - 1));
        }
        if (has_long_ttl_) cap_ttls();
        answer_.negative = answer_.rcode == Rcode::NxDomain || (answer_.rcode == Rcode::NoError && !has_data_);
        answer_.lifetime = lifetime();
        return true;
    }

private:
    bool walk() {
        answer_.ttls.clear();
        answer_.removed.clear();
        answer_.removed_count = answer_.unrelated_count = 0;
        rewritten_ = has_data_ = has_long_ttl_ = false;
        opts_ = 0;
        least_ttl_ = std::numeric_limits<std::uint32_t>::max();
        soa_ttl_.reset();
        stripped_.clear();

        RecordWalk records(message_, header_size + question_.name.size() + 4);  // asks_the_same() has read it
        end_ = records.position();
        while (const Record* record = records.next()) {
            if (record->type == Type::Opt) {
                if (!take_opt(*record)) return false;
            } else if (take(*record)) {
                if (opts_ > 0) rewritten_ = true;  // an OPT in the middle
                answer_.ttls.push_back(static_cast<std::uint16_t>(record->ttl_offset));
                end_ = record->end();
            } else {
                rewritten_ = true;
            }
        }
        return records.ok();
    }

    [[nodiscard]] bool of_our_class(const Record& record) const {
        return record.klass == question_.klass || question_.klass == Class::Any;
    }

    bool take_opt(const Record& record) {
        if (record.section != Record::Section::Additional || !record.owner.is_root() || ++opts_ > 1) return false;
        extended_rcode_ = static_cast<std::uint16_t>(record.ttl >> 24);
        return true;
    }

    /// What one record says; false when it has to go.
    bool take(const Record& record) {
        if (!of_our_class(record) || record.type == Type::Tsig) return false;  // we signed nothing
        const bool in_answer = record.section == Record::Section::Answer;
        if (in_answer && !chain_.takes(message_, record)) {
            ++answer_.unrelated_count;
            return false;
        }
        // RFC 8767 section 4: a TTL with the top bit set is a long one, no longer none at all (RFC 2181 section 8).
        has_long_ttl_ |= record.ttl > rules_.max_ttl;
        least_ttl_ = std::min({least_ttl_, record.ttl, rules_.max_ttl});
        if (const auto address = blocked_address(message_, record, rules_.blocked)) {
            ++answer_.removed_count;
            if (answer_.removed.size() < Answer::max_removed)
                answer_.removed.push_back({record.owner, record.type, *address});
            stripped_.emplace_back(record.owner.hash(), record.type);
            return false;
        }
        if (in_answer && chain_.took_last() && (record.type == question_.type || question_.type == Type::Any))
            has_data_ = true;
        if (record.section == Record::Section::Authority && record.type == Type::Soa &&
            chain_.last().is_under(record.owner)) {
            Reader reader(message_);
            reader.seek(record.end() - 4);
            soa_ttl_ = std::min(record.ttl, reader.u32());  // RFC 2308 section 5
        }
        return true;
    }

    /// The same judgement again, for the rewriting, when the whole chain and everything stripped is known.
    bool keeps(const Record& record) {
        if (record.type == Type::Opt || record.type == Type::Tsig || !of_our_class(record)) return false;
        if (record.section == Record::Section::Answer && !chain_.takes(message_, record)) return false;
        if (blocked_address(message_, record, rules_.blocked)) return false;
        if (record.type != Type::Rrsig || record.rdata_size < 2) return true;
        Reader reader(message_);
        reader.seek(record.rdata);
        const std::pair covered{record.owner.hash(), static_cast<Type>(reader.u16())};
        return std::find(stripped_.begin(), stripped_.end(), covered) == stripped_.end();
    }

    /// How long it may be kept (RFC 2308 section 5: no SOA, no negative caching; errors never).
    [[nodiscard]] std::uint32_t lifetime() const {
        if (answer_.rcode != Rcode::NoError && answer_.rcode != Rcode::NxDomain) return 0;
        const bool any = least_ttl_ != std::numeric_limits<std::uint32_t>::max();
        const std::uint32_t least = any ? least_ttl_ : 0;
        if (answer_.removed_count > 0) return std::min(least, filtered_lifetime);
        if (!answer_.negative) return least;
        return soa_ttl_ ? std::min(least, *soa_ttl_) : 0;
    }

    void cap_ttls() {
        for (const std::uint16_t offset : answer_.ttls) {
            Reader reader(answer_.wire);
            reader.seek(offset);
            if (reader.u32() <= rules_.max_ttl) continue;
            patch_u16(offset, static_cast<std::uint16_t>(rules_.max_ttl >> 16));
            patch_u16(offset + std::size_t{2}, static_cast<std::uint16_t>(rules_.max_ttl));
        }
    }

    void patch_u16(std::size_t at, std::uint16_t value) {
        answer_.wire[at] = static_cast<std::uint8_t>(value >> 8);
        answer_.wire[at + 1] = static_cast<std::uint8_t>(value);
    }

    const Question& question_;
    Bytes message_;
    const ResponseRules& rules_;
    Answer& answer_;
    Chain chain_;
    std::vector<std::pair<std::uint64_t, Type>> stripped_;  // owner and type of what was taken out
    std::size_t end_ = 0;                                   // of the last record that is no OPT
    std::size_t opts_ = 0;
    std::uint16_t extended_rcode_ = 0;
    std::uint32_t least_ttl_ = 0;
    std::optional<std::uint32_t> soa_ttl_;
    bool rewritten_ = false;
    bool has_long_ttl_ = false;
    bool has_data_ = false;
};

bool asks_the_same(const Question& question, Bytes response) {
    const Bytes name = question.name.wire();
    if (response.size() < header_size + name.size() + 4) return false;
    Reader reader(response);
    reader.seek(header_size);
    return equal_folded(reader.bytes(name.size()), name) && reader.u16() == static_cast<std::uint16_t>(question.type) &&
           reader.u16() == static_cast<std::uint16_t>(question.klass);
}

/// An error without a question, or a truncated answer (which some servers cut in the middle of a record): what we keep
/// of it is the header.
void take_header(const Question& question, Answer& answer) {
    const std::array<std::uint8_t, header_size> empty{};
    rewrite(
        empty, question, [](const Record&) { return false; }, answer);
}

void clear(Answer& answer) {
    answer.wire.clear();
    answer.ttls.clear();
    answer.removed.clear();
    answer.rcode = Rcode::NoError;
    answer.authoritative = answer.authenticated = answer.truncated = answer.negative = false;
    answer.lifetime = 0;
    answer.removed_count = answer.unrelated_count = 0;
}

}  // namespace

ResponseError check_response(const Question& question, std::uint16_t id, Bytes response, const ResponseRules& rules,
                             Answer& answer) {
    clear(answer);
    if (response.size() < header_size) return ResponseError::TooShort;
    if (response.size() > max_message_size) return ResponseError::Malformed;
    Reader reader(response);
    const std::uint16_t their_id = reader.u16();
    const std::uint16_t flags = reader.u16();
    const std::uint16_t questions = reader.u16();
    const std::uint16_t answers = reader.u16();
    if ((flags & 0xf800) != 0x8000) return ResponseError::NotAResponse;  // QR, and opcode QUERY
    if (their_id != id) return ResponseError::WrongId;

    answer.rcode = static_cast<Rcode>(flags & 0xf);
    answer.authoritative = (flags & 0x0400) != 0;
    answer.truncated = (flags & 0x0200) != 0;
    answer.authenticated = (flags & 0x0020) != 0;
    if (questions == 0 && answers == 0 && answer.rcode != Rcode::NoError && answer.rcode != Rcode::NxDomain) {
        take_header(question, answer);
        return ResponseError::None;
    }
    if (questions != 1 || !asks_the_same(question, response)) {
        clear(answer);
        return ResponseError::WrongQuestion;
    }
    if (answer.truncated) {
        take_header(question, answer);
        return ResponseError::None;
    }
    if (!Check(question, response, rules, answer).run()) {
        clear(answer);
        return ResponseError::Malformed;
    }
    return ResponseError::None;
}

}  // namespace vmrouter::dns
