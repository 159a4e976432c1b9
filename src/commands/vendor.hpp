#pragma once

// Whose network card a MAC address belongs to, without asking anybody: a short list of ours (virtual machines, and the
// boards that people plug in), and the lists of IEEE's assignments that Debian's packages bring, where one is
// installed.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "src/base/ip4.hpp"

namespace vmrouter {

class Vendors {
public:
    /// The files where packages keep the list (ieee-data, wireshark, nmap, arp-scan, udev), the first that is there.
    static std::vector<std::string> files();

    explicit Vendors(std::vector<std::string> candidates = files()) : candidates_(std::move(candidates)) {}

    /// "QEMU/KVM", "Raspberry Pi"; "local" for an address that somebody made up (RFC 7042 section 2.1), which nobody
    /// was assigned; empty when it is not known. The file is read at the first address that is not in our own list.
    std::string of(const MacAddress& mac);
    /// The same for "52:54:00:12:34:56"; empty for anything that is no Ethernet address.
    std::string of(const std::string& mac);

private:
    void load();

    std::vector<std::string> candidates_;
    bool is_loaded_ = false;
    std::unordered_map<std::uint32_t, std::string> names_;
};

/// The assignments in a file of any of the forms above, by the first three bytes. Lines that are none are skipped.
std::unordered_map<std::uint32_t, std::string> parse_vendors(std::string_view text);

}  // namespace vmrouter
