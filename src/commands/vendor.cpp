#include "src/commands/vendor.hpp"

#include <array>
#include <optional>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter {
namespace {

struct Known {
    std::uint32_t prefix;
    std::string_view name;
};

constexpr std::array known = {
    Known{0x525400, "QEMU/KVM"},     Known{0x02fc00, "Firecracker"},  Known{0xaafc00, "Firecracker"},
    Known{0x005056, "VMware"},       Known{0x000c29, "VMware"},       Known{0x000569, "VMware"},
    Known{0x080027, "VirtualBox"},   Known{0x00155d, "Hyper-V"},      Known{0x00163e, "Xen"},
    Known{0x001c42, "Parallels"},    Known{0xb827eb, "Raspberry Pi"}, Known{0xdca632, "Raspberry Pi"},
    Known{0xe45f01, "Raspberry Pi"}, Known{0x28cdc1, "Raspberry Pi"}, Known{0xd83add, "Raspberry Pi"},
    Known{0x2ccf67, "Raspberry Pi"},
};

std::uint32_t prefix_of(const MacAddress& mac) {
    return (std::uint32_t{mac.bytes[0]} << 16) | (std::uint32_t{mac.bytes[1]} << 8) | mac.bytes[2];
}

/// "00-00-0C", "00:00:0C", "00000C"; nullopt for longer assignments and everything else.
std::optional<std::uint32_t> parse_prefix(std::string_view word) {
    const auto bytes = parse_hex(word);
    if (!bytes || bytes->size() != 3 || (word.size() != 6 && word.size() != 8)) return std::nullopt;
    return (std::uint32_t{(*bytes)[0]} << 16) | (std::uint32_t{(*bytes)[1]} << 8) | (*bytes)[2];
}

/// What follows the prefix on its line: "   (hex)\t\tCisco Systems, Inc", "\tCisco\tCisco Systems, Inc", " Cisco".
std::string_view name_after(std::string_view rest) {
    rest = trim(rest);
    for (const std::string_view kind : {"(hex)", "(base 16)"})
        if (rest.starts_with(kind)) return trim(rest.substr(kind.size()));
    const auto tab = rest.find('\t');  // Wireshark's: a short name, then the whole one
    return tab == std::string_view::npos ? rest : trim(rest.substr(tab));
}

}  // namespace

std::unordered_map<std::uint32_t, std::string> parse_vendors(std::string_view text) {
    std::unordered_map<std::uint32_t, std::string> names;
    constexpr std::uint32_t none = ~std::uint32_t{0};  // no prefix: those have 24 bits
    std::uint32_t pending = none;                      // udev's form has the name on the line below
    for (std::string_view line : split(text, '\n')) {
        constexpr std::string_view udev_key = "OUI:";
        constexpr std::string_view udev_name = "ID_OUI_FROM_DATABASE=";
        if (line.starts_with(udev_key)) {
            const auto star = line.find('*');
            pending = parse_prefix(line.substr(udev_key.size(), star - udev_key.size())).value_or(none);
            continue;
        }
        if (const auto name = trim(line); pending != none && name.starts_with(udev_name)) {
            names.emplace(pending, name.substr(udev_name.size()));
            pending = none;
            continue;
        }
        const auto end = line.find_first_of(" \t");
        if (end == std::string_view::npos) continue;
        const auto prefix = parse_prefix(line.substr(0, end));
        const auto name = name_after(line.substr(end));
        if (prefix && !name.empty()) names.emplace(*prefix, name);
    }
    return names;
}

std::vector<std::string> Vendors::files() {
    return {"/usr/share/ieee-data/oui.txt", "/usr/share/wireshark/manuf", "/usr/share/nmap/nmap-mac-prefixes",
            "/usr/share/arp-scan/ieee-oui.txt", "/usr/lib/udev/hwdb.d/20-OUI.hwdb"};
}

void Vendors::load() {
    is_loaded_ = true;
    for (const auto& path : candidates_) {
        const auto text = read_file(path);
        if (!text) continue;
        names_ = parse_vendors(*text);
        if (!names_.empty()) return;
    }
}

std::string Vendors::of(const MacAddress& mac) {
    const auto prefix = prefix_of(mac);
    for (const Known& one : known)
        if (one.prefix == prefix) return std::string(one.name);
    constexpr std::uint8_t local_bit = 0x02;
    if ((mac.bytes[0] & local_bit) != 0) return "local";
    if (!is_loaded_) load();
    const auto found = names_.find(prefix);
    return found == names_.end() ? std::string{} : found->second;
}

std::string Vendors::of(const std::string& mac) {
    const auto parsed = MacAddress::parse(mac);
    return parsed ? of(*parsed) : std::string{};
}

}  // namespace vmrouter
