#pragma once

// An upstream's response, checked and in the one form in which it is both kept and sent: the message without its OPT,
// as one block, with the places of its TTLs. Answering a guest from it is a copy and a few patches.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "dns/message.hpp"

namespace vmrouter::dns {

/// One record while walking a message; positions count from the start of the message.
struct Record {
    enum class Section : std::uint8_t { Answer, Authority, Additional };

    Section section = Section::Answer;
    Name owner;
    Type type = Type::A;
    Class klass = Class::In;
    std::uint32_t ttl = 0;
    std::size_t start = 0;       ///< of the owner name
    std::size_t ttl_offset = 0;  ///< of the four TTL bytes
    std::size_t rdata = 0;       ///< of the first byte of RDATA
    std::size_t rdata_size = 0;

    [[nodiscard]] std::size_t end() const { return rdata + rdata_size; }
};

/// Walks the records of a message whose counts may lie. Every record is looked at once and checked as far as names go
/// (the owner, and the names in RDATA of the types that may hold compressed ones).
class RecordWalk {
public:
    /// Starts behind the question section, which must hold at most one question.
    explicit RecordWalk(Bytes message);
    /// Starts at `position`, known to be behind the question.
    RecordWalk(Bytes message, std::size_t position);

    /// The next record; nullptr at the end and at the first malformed one. Overwritten by the next call.
    const Record* next();
    [[nodiscard]] bool ok() const { return ok_; }  ///< after next() returned nullptr: nothing was malformed
    [[nodiscard]] std::size_t position() const { return position_; }

private:
    Bytes message_;
    std::size_t position_ = header_size;
    std::uint16_t left_[3] = {};
    std::size_t section_ = 0;
    bool ok_ = true;
    Record record_;
};

/// A record that rebinding protection took out.
struct Removed {
    Name owner;
    Type type = Type::A;
    std::variant<Ipv4, Ipv6> address;
};

/// What may be said to a guest; borrowed from an Answer or from the cache.
struct AnswerView {
    Bytes wire;                           ///< header, question, records; no OPT
    std::span<const std::uint16_t> ttls;  ///< offsets of the TTL fields
    Rcode rcode = Rcode::NoError;
    bool authoritative = false;
    bool authenticated = false;  ///< the upstream set AD
};

/// A response that passed check_response() (dns/policy.hpp). Reusable: a new check overwrites it and keeps the memory.
struct Answer {
    std::vector<std::uint8_t> wire;
    std::vector<std::uint16_t> ttls;
    Rcode rcode = Rcode::NoError;
    bool authoritative = false;
    bool authenticated = false;
    bool truncated = false;           ///< the upstream set TC: nothing of its records is here
    bool negative = false;            ///< NXDOMAIN, or no data of the type asked for
    std::uint32_t lifetime = 0;       ///< seconds that it may be kept; 0: not at all
    std::vector<Removed> removed;     ///< at most max_removed are listed
    std::size_t removed_count = 0;    ///< how many there were
    std::size_t unrelated_count = 0;  ///< answer records that did not belong to the question, dropped
    static constexpr std::size_t max_removed = 8;

    [[nodiscard]] AnswerView view() const { return {wire, ttls, rcode, authoritative, authenticated}; }
};

/// Writes the message anew with the records that `keep` says, in their order: names are decompressed and compressed
/// again (in RDATA only where RFC 3597 section 4 allows it), everything else is copied. Fills answer.wire and
/// answer.ttls. False when the message is malformed or would become larger than a message can be.
bool rewrite(Bytes message, const Question& question, const std::function<bool(const Record&)>& keep, Answer& answer);

/// How old an answer is when it is sent.
struct Age {
    std::uint32_t seconds = 0;              ///< taken off every TTL
    std::optional<std::uint32_t> ttl = {};  ///< instead: this TTL everywhere (stale answers, RFC 8767 section 5.2)
    bool cached = false;                    ///< AA is not repeated from a cache
    std::optional<Ede> ede = {};
};

/// This client's reply from an answer: its id, its question in its case, TTLs aged, AD only for those who ask, an OPT
/// only for those who sent one; header, question and TC when it is larger than `limit` (udp_limit(query), or 65535 over
/// TCP). `out` must have room for `limit` bytes. Returns the size. No allocation. The answer must be one for
/// query.question (type and class may differ when it is NXDOMAIN).
std::size_t write_answer(const AnswerView& answer, const Query& query, const Age& age, std::span<std::uint8_t> out,
                         std::size_t limit);

/// Every address of an A record in the answer section, with its TTL: what a guest will connect to next.
struct ResolvedAddress {
    Ipv4 address;
    std::uint32_t ttl = 0;
};
std::vector<ResolvedAddress> resolved_addresses(const AnswerView& answer);

}  // namespace vmrouter::dns
