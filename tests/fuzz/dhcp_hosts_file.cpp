// Any text as a hosts file: read, every entry written and read again, all of them indexed and looked up.

#include <cstdlib>
#include <string_view>

#include "dhcp/hosts_file.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    HostsFile file = parse_hosts_file(text, "hostsfile");
    for (const auto& entry : file.entries) {
        const auto again = parse_host_line(to_line(entry), entry.where);
        if (!again || !(*again == entry)) std::abort();
    }
    const auto count = file.entries.size();
    std::vector<Error> problems;
    const auto reservations =
        Reservations::build({}, std::move(file.entries), Cidr{Ipv4(192, 168, 100, 1), 24}, "virbr10", problems);
    if (reservations.entries().size() > count) std::abort();
    for (const auto& entry : reservations.entries()) {
        if (entry.address && reservations.by_address(*entry.address) != &entry) std::abort();
        if (!entry.name.empty() && reservations.by_name(entry.name) != &entry) std::abort();
        if (!entry.macs.empty()) (void)reservations.match(entry.macs.front().address, entry.client_id);
    }
    return 0;
}
