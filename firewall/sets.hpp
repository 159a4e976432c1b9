#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firewall/policy.hpp"

namespace vmrouter::firewall {

/// A named set or map of our tables: how it is declared and what it holds. The declaration never depends on the
/// contents, so contents can change without a reload.
struct Set {
    std::string_view name;
    std::string_view type;     ///< "ipv4_addr", or "a . b : c" for a map
    std::string_view options;  ///< further lines of the declaration: flags, size, timeout; ends with ';' or is empty
    std::string_view purpose;  ///< a comment for the reader
    std::vector<std::string> elements;  ///< in nft's words, sorted, without duplicates
    /// Intervals and maps are replaced as a whole (flush and add in one transaction): their elements depend on each
    /// other.
    bool whole = false;

    [[nodiscard]] bool is_map() const { return type.find(':') != std::string_view::npos; }
};

/// The sets of one of our tables, in the order in which they are declared.
std::vector<Set> inet_sets(const Policy& policy);
std::vector<Set> bridge_sets(const Policy& policy);
std::vector<Set> arp_sets(const Policy& policy);

/// The port that its MAC is held to; empty: any, also when nft cannot name it.
std::string pinned_to(const Binding& binding);

/// "a, b, c".
std::string join(const std::vector<std::string>& elements);

}  // namespace vmrouter::firewall
