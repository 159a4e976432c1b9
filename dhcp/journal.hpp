#pragma once

// The journal: one line of text for every change to what clients were promised, each with a check value at its end.
// Replayed from the top it gives the leases. A journal is complete by itself: it begins with a line for every lease
// that there was when it was begun, so it needs no other file. Lines look like
//
//   vmrouter-journal 1 30664cef
//   + 192.168.100.23 bound 1795346423123 52:54:00:12:34:56 ff0a0b0c vm1 1795342823 11af02f4
//   - 192.168.100.23 5846cfb9
//
// with expiry in milliseconds and the last sight of the client in seconds since the epoch ("-": never expires, "*": no
// client-id or name, "=vm1": the name is reserved). A lease that came through a relay has the relay's address as a last
// field.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/lease.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dhcp {

/// A line that could not be used: what to keep, and what to tell.
struct BadLine {
    std::size_t number = 0;  ///< counted from 1
    std::string text;        ///< as found, without its newline, at most 4096 bytes; may hold any byte
    std::string why;         ///< "the check value is wrong"

    friend bool operator==(const BadLine&, const BadLine&) = default;
};

/// What a journal says last about an address.
struct JournalRecord {
    Ipv4 address;
    std::optional<Lease> lease;  ///< nullopt: removed

    friend bool operator==(const JournalRecord&, const JournalRecord&) = default;
};

struct JournalContent {
    bool complete = false;               ///< begins with our first line: no other file is needed to know the leases
    std::vector<JournalRecord> records;  ///< in file order; an address may appear many times
    std::vector<BadLine> bad;
};

/// The line that every journal begins with.
std::string journal_header();
/// The line for a lease that came or changed. Offers have none: they are never written.
std::string journal_line(const Lease& lease);
/// The line for an address that nobody has any more.
std::string journal_removal(Ipv4 address);
/// The lines for a batch, in order; what is not durable() is left out.
std::string journal_lines(std::span<const AppliedChange> changes);

/// Reads a journal; any bytes, never fails as a whole. The state of an address after a line that was damaged is what
/// the lines before and after it say.
JournalContent parse_journal(std::string_view text);

}  // namespace vmrouter::dhcp
