// Any bytes as a journal: reading ends, and what was read is written and read back the same. Because hardly any input
// has right check values by chance, each line is also tried with its own.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dhcp/journal.hpp"
#include "src/base/checksum.hpp"
#include "src/base/text.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

namespace {

void check(std::string_view text) {
    const auto content = parse_journal(text);
    const auto lines = static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
    require(content.records.size() + content.bad.size() <= lines);

    std::string written = journal_header();
    for (const auto& record : content.records) {
        if (record.lease) require(record.lease->address == record.address);
        written += record.lease ? journal_line(*record.lease) : journal_removal(record.address);
    }
    const auto again = parse_journal(written);
    require(again.complete && again.bad.empty());
    require(again.records == content.records);
}

std::string sealed(std::string_view text) {
    std::string result;
    for (const auto line : split(text, '\n')) {
        const std::uint32_t sum = crc32c(line);
        std::vector<std::uint8_t> bytes;
        for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(sum >> shift));
        result += std::string(line) + ' ' + to_hex(bytes, "") + '\n';
    }
    return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check(text);
    check(sealed(text));
    return 0;
}
