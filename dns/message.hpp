#pragma once

// DNS messages as they cross the segment (RFC 1035 section 4, 6891): a guest's query in, our reply out, and the query
// that we send upstream in its place. EDNS is hop by hop (RFC 6891 section 6.1.1, RFC 5625 section 6.2): a guest's OPT
// ends here and ours begins, with DO copied.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "dns/name.hpp"
#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::dns {

/// Record and query types that we know by name; every other value is as good (RFC 3597).
enum class Type : std::uint16_t {
    A = 1,
    Ns = 2,
    Md = 3,
    Mf = 4,
    Cname = 5,
    Soa = 6,
    Mb = 7,
    Mg = 8,
    Mr = 9,
    Ptr = 12,
    Hinfo = 13,
    Minfo = 14,
    Mx = 15,
    Txt = 16,
    Rp = 17,
    Afsdb = 18,
    Rt = 21,
    Sig = 24,
    Px = 26,
    Aaaa = 28,
    Nxt = 30,
    Srv = 33,
    Naptr = 35,
    Kx = 36,
    Dname = 39,
    Opt = 41,
    Ds = 43,
    Rrsig = 46,
    Nsec = 47,
    Dnskey = 48,
    Nsec3 = 50,
    Svcb = 64,
    Https = 65,
    Tkey = 249,
    Tsig = 250,
    Ixfr = 251,
    Axfr = 252,
    Mailb = 253,
    Maila = 254,
    Any = 255,
};
enum class Class : std::uint16_t { In = 1, Chaos = 3, Hesiod = 4, None = 254, Any = 255 };
/// The header's four bits, and the extended codes of RFC 6891.
enum class Rcode : std::uint16_t {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    YxDomain = 6,
    NotAuth = 9,
    BadVers = 16,
};
/// Extended DNS Errors (RFC 8914) that we send.
enum class Ede : std::uint16_t {
    StaleAnswer = 3,
    Blocked = 15,
    Filtered = 17,
    Prohibited = 18,
    StaleNxdomain = 19,
    NoReachableAuthority = 22
};

std::string to_string(Type type);    ///< "A", "HTTPS", "TYPE1234" (RFC 3597 section 5)
std::string to_string(Class klass);  ///< "IN", "CH", "CLASS17"
std::string to_string(Rcode rcode);  ///< "NXDOMAIN", "RCODE11"

constexpr std::size_t header_size = 12;
constexpr std::size_t plain_udp_size = 512;  ///< what a client without EDNS takes (RFC 1035 section 4.2.1)
constexpr std::size_t our_udp_size = 1232;   ///< what we announce, and the most we send over UDP: never fragmented
constexpr std::size_t max_message_size = 65535;
constexpr std::size_t opt_size = 11;  ///< our own OPT without options

/// What is asked, and what makes two queries the same question for the cache and for merging.
struct Question {
    Name name;  ///< in the case the client used
    Type type = Type::A;
    Class klass = Class::In;
    bool dnssec_ok = false;          ///< DO
    bool checking_disabled = false;  ///< CD
    bool recursion_desired = true;   ///< RD; the cache keeps answers to recursive queries only

    /// Case of the name ignored.
    friend bool operator==(const Question&, const Question&) = default;
};

/// A guest's query. Owns its data.
struct Query {
    std::uint16_t id = 0;
    std::uint8_t opcode = 0;
    bool has_question = false;    ///< false: a reply can only be a header
    bool authentic_data = false;  ///< AD in a query: the client understands AD in answers (RFC 6840 section 5.7)
    bool edns = false;            ///< the client sent an OPT, so it gets one
    std::uint16_t udp_size = plain_udp_size;  ///< what the client takes over UDP, at least 512
    Rcode reject = Rcode::NoError;            ///< why parse_query() returned Reject
    Question question;
};

enum class Parsed {
    Query,   ///< go on
    Reject,  ///< answer with write_error(query, query.reject)
    Ignore,  ///< no answer: shorter than a header, or itself a response
};

/// Reads a query as RFC 6891 and RFC 8906 want it: NOTIMP for opcodes other than QUERY; FORMERR for QDCOUNT other than
/// 1, a compressed or malformed question, records in the answer or authority section (but for IXFR), a malformed
/// record, more than one OPT or one that is not owned by the root, options that overrun it, and bytes after the last
/// record; BADVERS for an EDNS version above 0; FORMERR for the question types OPT and TSIG, REFUSED for AXFR, IXFR and
/// TKEY. What is rejected is read as far as it can be, so that the error has the question and an OPT where the query
/// had them. Unknown types, classes, flags and options pass. A TSIG is ignored (we know no keys; the client sees an
/// unsigned answer).
Parsed parse_query(Bytes packet, Query& query);

/// The largest message that this client takes over UDP from us: 512 to 1232.
std::size_t udp_limit(const Query& query);

/// The query that goes upstream in this one's place: our id, the question in the client's case, RD and CD copied, AD
/// set (so that one cached answer serves clients with and without AD), nothing but our own OPT of 11 bytes at the very
/// end with DO copied. Returns its size, at most header_size + 259 + opt_size; 0 when `out` is too small.
std::size_t write_upstream_query(const Question& question, std::uint16_t id, std::span<std::uint8_t> out);

/// What the header of a reply says beside what it repeats of the query.
struct ReplyFlags {
    bool authoritative = false;
    bool truncated = false;
    bool authenticated = false;  ///< AD; shown only to a client that set AD or DO (RFC 6840 section 5.8)
    Rcode rcode = Rcode::NoError;
};
/// The header's second word: QR and RA, RD and CD as in the query, and the flags. Codes above 15 become SERVFAIL for a
/// client without EDNS.
std::uint16_t reply_flags(const Query& query, const ReplyFlags& flags);
/// Our OPT in a reply, nothing when the client sent none: 11 bytes, 6 more with an Extended DNS Error.
void write_reply_opt(const Query& query, Rcode rcode, std::optional<Ede> ede, Writer& writer);

/// A reply without records: header, the question when there is one, our OPT when the client sent one. Returns its size;
/// 0 when `out` is too small (288 bytes are always enough).
std::size_t write_bare(const Query& query, const ReplyFlags& flags, std::span<std::uint8_t> out,
                       std::optional<Ede> ede = {});
/// FORMERR, SERVFAIL, REFUSED and their like.
inline std::size_t write_error(const Query& query, Rcode rcode, std::span<std::uint8_t> out,
                               std::optional<Ede> ede = {}) {
    return write_bare(query, {.rcode = rcode}, out, ede);
}

/// A reply of our own, record by record; names that end the question are compressed. What does not fit into `limit`
/// turns the whole into a truncated one. No allocation.
class Reply {
public:
    /// `out` must have room for `limit` bytes; `limit` is udp_limit(query), or 65535 over TCP.
    Reply(const Query& query, std::span<std::uint8_t> out, std::size_t limit);

    void set_rcode(Rcode rcode) { rcode_ = rcode; }
    void set_authoritative() { authoritative_ = true; }
    void set_ede(Ede ede) { ede_ = ede; }

    // Records, in the class that was asked, for the answer section; in this order before authority().
    void a(const Name& owner, std::uint32_t ttl, Ipv4 address);
    void aaaa(const Name& owner, std::uint32_t ttl, const Ipv6& address);
    void ptr(const Name& owner, std::uint32_t ttl, const Name& target);
    void ns(const Name& owner, std::uint32_t ttl, const Name& target);
    void txt(const Name& owner, std::uint32_t ttl, std::span<const std::string> strings);  ///< each at most 255 bytes
    void hinfo(const Name& owner, std::uint32_t ttl, std::string_view cpu, std::string_view os);
    /// SOA of a local zone in the form of RFC 6303 section 3: the zone is its own MNAME, RNAME is nobody.invalid.
    void soa(const Name& zone, std::uint32_t ttl, std::uint32_t minimum);
    /// From here on records belong to the authority section.
    void authority() { in_authority_ = true; }

    /// Completes header and OPT; returns the size of the reply.
    std::size_t finish();

private:
    void write_name(const Name& name);
    void begin(const Name& owner, Type type, std::uint32_t ttl);
    void end();

    const Query& query_;
    std::span<std::uint8_t> out_;
    Writer writer_;
    Rcode rcode_ = Rcode::NoError;
    std::optional<Ede> ede_;
    bool authoritative_ = false;
    bool in_authority_ = false;
    std::uint16_t answers_ = 0;
    std::uint16_t authorities_ = 0;
    std::size_t rdata_ = 0;
};

}  // namespace vmrouter::dns
