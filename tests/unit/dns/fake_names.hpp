#pragma once

#include <map>
#include <string>

#include "dns/local.hpp"

namespace vmrouter::dns::test {

/// Guests by name, as DHCP would tell of them.
class FakeNames final : public Names {
public:
    std::map<std::string, Guest, std::less<>> guests;

    [[nodiscard]] std::optional<Guest> guest(std::string_view label) const override {
        const auto found = guests.find(label);
        return found == guests.end() ? std::nullopt : std::optional(found->second);
    }
    [[nodiscard]] std::string_view name_of(Ipv4 address) const override {
        for (const auto& [label, guest] : guests)
            if (guest.address == address) return label;
        return {};
    }
};

}  // namespace vmrouter::dns::test
