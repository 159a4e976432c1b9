// Any bytes as a leases file: reading ends, no line is counted twice or lost, and what was read is written and read
// back the same.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "dhcp/lease_file.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto content = parse_lease_file(text);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    require(content.leases.size() + content.bad.size() + content.skipped <= lines);
    for (const auto& line : content.bad) require(line.number >= 1 && line.number <= lines && !line.why.empty());

    LeaseFileImage image;
    for (auto lease = content.leases.rbegin(); lease != content.leases.rend(); ++lease) image.put(*lease);
    const std::string written = image.text();
    const auto again = parse_lease_file(written);
    require(again.bad.empty() && again.skipped == 0);
    // An expiry of 0 seconds means "never", so what ends in the first second of 1970 is written as 1.
    require(again.leases.size() == content.leases.size());
    for (std::size_t i = 0; i < again.leases.size(); ++i) {
        require(again.leases[i].address == content.leases[i].address);
        require(again.leases[i].hardware == content.leases[i].hardware);
        require(again.leases[i].name == content.leases[i].name);
        require(again.leases[i].client_id == content.leases[i].client_id);
        require(again.leases[i].expires == content.leases[i].expires);
    }
    return 0;
}
