#pragma once

// Reading back what cannot be probed: the rules, word by word, beside what the kernel makes of the rendered text in a
// namespace of its own; settings, routing rules, ports.

#include <string>
#include <string_view>
#include <vector>

#include "firewall/nft.hpp"
#include "src/base/result.hpp"
#include "src/commands/verify_probes.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::proof {

/// One table as the kernel lists it: its rules in nft's words, and the contents of the sets that hold no guests.
struct Listing {
    std::string table;  ///< "inet vmrouter_virbr10"
    std::string rules;
    std::vector<std::pair<std::string, std::string>> sets;  ///< name and elements, in the kernel's order
    friend bool operator==(const Listing&, const Listing&) = default;
};

/// The tables that `ruleset` defines, as the kernel of this namespace has them.
std::vector<Listing> list_tables(firewall::Nft& nft, const std::string& ruleset);
/// What the kernel makes of `ruleset`, tried in a namespace that is gone afterwards.
Result<std::vector<Listing>> expected_tables(const std::string& ruleset, const std::string& interface);

/// The differences, a row for each chain or set that differs, or one for a table that is as it should be. Pure.
std::vector<Row> compare_tables(const std::vector<Listing>& wanted, const std::vector<Listing>& found);

/// Settings, routing rules of the dead man's switch, isolated ports.
std::vector<Row> compare_settings(const Subject& subject, link::Netlink& netlink);

}  // namespace vmrouter::proof
