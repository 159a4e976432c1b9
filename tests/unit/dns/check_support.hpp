#pragma once

// Responses of upstreams as tests make them, and what becomes of them.

#include <catch2/catch.hpp>

#include "dns/policy.hpp"
#include "tests/unit/dns/builders.hpp"

namespace vmrouter::dns::test {

inline constexpr std::uint16_t noerror = 0x8180;  // QR RD RA
inline constexpr std::uint16_t nxdomain = 0x8183;

inline PrefixSet blocked_networks() {
    PrefixSet set = always_blocked();
    set.block(*Cidr::parse("203.0.113.0/24"));
    set.allow(*Cidr::parse("192.168.0.10"));
    set.finish();
    return set;
}

inline Answer checked(const Question& question, const Packet& response, const ResponseRules& rules = {}) {
    Answer answer;
    REQUIRE(check_response(question, 0x1234, response, rules, answer) == ResponseError::None);
    return answer;
}

inline Question ask(std::string_view qname, Type type = Type::A) {
    return query(qname, type).question;
}

/// The reply that a client gets.
inline Seen reply(const Answer& answer, const Query& query, const Age& age = {}, std::size_t limit = max_message_size) {
    std::vector<std::uint8_t> out(limit);
    const std::size_t size = write_answer(answer.view(), query, age, out, limit);
    REQUIRE(size > 0);
    return see(std::span(out).first(size));
}

/// www.example.com CNAME web.example.net, whose A follows; RRSIGs with it, compressed as BIND does; OPT last.
inline const Packet chain_response =
    hex("1234 81a0 0001 0003 0000 0001 | 03 777777 07 6578616d706c65 03 636f6d 00 0001 0001 |"
        "c00c 0005 0001 00000e10 0011 03 776562 07 6578616d706c65 03 6e6574 00 |"
        "c02d 0001 0001 00000078 0004 5db8d822 |"
        "c02d 002e 0001 00000078 0017 0001 08 02 00000078 60000000 5f000000 1234 00 deadbeef |"
        "00 0029 04d0 00008000 0000");

}  // namespace vmrouter::dns::test
