#include "dns/hosts.hpp"

#include <algorithm>

#include "src/base/text.hpp"

namespace vmrouter::dns {

std::vector<HostRecord> parse_hosts(std::string_view text, std::size_t* bad_lines) {
    std::vector<HostRecord> records;
    std::size_t bad = 0;
    for (std::string_view line : split(text, '\n')) {
        line = trim(line.substr(0, line.find('#')));
        if (line.empty()) continue;
        const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
        // "fe80::1%eth0": the zone means nothing to a guest, and neither does the address.
        const auto ipv4 = Ipv4::parse(line.substr(0, end));
        const auto ipv6 = Ipv6::parse(line.substr(0, end));
        bool good = (ipv4 || ipv6) && end < line.size();
        std::string_view rest = trim(line.substr(end));
        while (good && !rest.empty()) {
            const std::size_t size = std::min(rest.find_first_of(" \t"), rest.size());
            const auto name = Name::parse(rest.substr(0, size));
            if (!name || name->is_root())
                good = false;
            else if (ipv4)
                records.push_back({*name, *ipv4});
            else
                records.push_back({*name, *ipv6});
            rest = trim(rest.substr(size));
        }
        if (!good) ++bad;
    }
    if (bad_lines != nullptr) *bad_lines = bad;
    return records;
}

}  // namespace vmrouter::dns
