#include "dhcp/journal.hpp"

#include <algorithm>
#include <array>

#include "dhcp/names.hpp"
#include "src/base/checksum.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::string_view header_text = "vmrouter-journal 1";
constexpr std::size_t bad_line_limit = 4096;
constexpr std::size_t check_size = 8;                      // hexadecimal digits
constexpr std::uint64_t last_second = 253'402'300'799ULL;  // the year 9999

std::string check_value(std::string_view payload) {
    const std::uint32_t sum = crc32c(payload);
    const std::array<std::uint8_t, 4> bytes{static_cast<std::uint8_t>(sum >> 24), static_cast<std::uint8_t>(sum >> 16),
                                            static_cast<std::uint8_t>(sum >> 8), static_cast<std::uint8_t>(sum)};
    return to_hex(bytes, "");
}

std::string sealed(std::string payload) {
    const std::string check = check_value(payload);
    return std::move(payload) + ' ' + check + '\n';
}

/// The payload of a line whose check value is right.
std::optional<std::string_view> unsealed(std::string_view line) {
    if (line.size() < check_size + 1) return std::nullopt;
    const std::string_view payload = line.substr(0, line.size() - check_size - 1);
    if (line[payload.size()] != ' ' || line.substr(payload.size() + 1) != check_value(payload)) return std::nullopt;
    return payload;
}

std::optional<LeaseState> parse_state(std::string_view text) {
    for (const auto state : {LeaseState::Bound, LeaseState::Declined, LeaseState::Abandoned})
        if (text == to_string(state)) return state;
    return std::nullopt;
}

std::optional<Lease> parse_lease(const std::vector<std::string_view>& fields) {
    if (fields.size() != 8 && fields.size() != 9) return std::nullopt;
    const auto relay = fields.size() == 9 ? Ipv4::parse(fields[8]) : Ipv4{};
    const auto address = Ipv4::parse(fields[1]);
    const auto state = parse_state(fields[2]);
    const auto expires = parse_number(fields[3], last_second * 1000);
    const auto hardware = HardwareAddress::parse(fields[4]);
    const auto client_id = fields[5] == "*" ? std::vector<std::uint8_t>{} : parse_hex(fields[5]);
    const auto seen = parse_number(fields[7], last_second);
    if (!address || !state || (!expires && fields[3] != "-") || !hardware || !client_id || !seen || !relay)
        return std::nullopt;

    Lease lease;
    lease.address = *address;
    lease.state = *state;
    lease.hardware = *hardware;
    lease.client_id = *client_id;
    if (expires) lease.expires = Time{Milliseconds{*expires}};
    lease.last_seen = Time{Seconds{*seen}};
    lease.supplied_missing = true;
    lease.supplied.relay = *relay;
    std::string_view name = fields[6];
    lease.name_reserved = name.starts_with('=');
    if (lease.name_reserved) name.remove_prefix(1);
    if (name != "*") lease.name = legal_name(name).value_or("");
    return lease;
}

std::optional<JournalRecord> parse_record(std::string_view payload) {
    const auto fields = split(payload, ' ');
    if (fields[0] == "+") {
        auto lease = parse_lease(fields);
        if (!lease) return std::nullopt;
        const Ipv4 address = lease->address;
        return JournalRecord{address, std::move(lease)};
    }
    if (fields[0] == "-" && fields.size() == 2)
        if (const auto address = Ipv4::parse(fields[1])) return JournalRecord{*address, std::nullopt};
    return std::nullopt;
}

}  // namespace

std::string journal_header() {
    return sealed(std::string(header_text));
}

std::string journal_line(const Lease& lease) {
    std::string line = "+ " + to_string(lease.address);
    line += ' ';
    line += to_string(lease.state);
    line += ' ';
    line +=
        lease.expires ? std::to_string(std::max<Milliseconds::rep>(lease.expires->time_since_epoch().count(), 0)) : "-";
    line += ' ' + to_string(lease.hardware) + ' ';
    line += lease.client_id.empty() ? "*" : to_hex(lease.client_id, "");
    line += ' ';
    if (lease.name_reserved) line += '=';
    line += lease.name.empty() ? "*" : lease.name;
    line += ' ';
    const auto seen = std::chrono::floor<Seconds>(lease.last_seen.time_since_epoch()).count();
    line += std::to_string(std::max<Seconds::rep>(seen, 0));
    if (!lease.supplied.relay.is_unspecified()) line += ' ' + to_string(lease.supplied.relay);
    return sealed(std::move(line));
}

std::string journal_removal(Ipv4 address) {
    return sealed("- " + to_string(address));
}

std::string journal_lines(std::span<const AppliedChange> changes) {
    std::string lines;
    for (const auto& change : changes) {
        if (!change.durable()) continue;
        // A lease whose address is offered anew (to another client, when it had ended) is over as far as the disk goes.
        const bool kept = change.after && change.after->state != LeaseState::Offered;
        lines += kept ? journal_line(*change.after) : journal_removal(change.address);
    }
    return lines;
}

JournalContent parse_journal(std::string_view text) {
    JournalContent content;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto end = text.find('\n');
        const bool torn = end == std::string_view::npos;
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(torn ? text.size() : end + 1);
        const auto reject = [&](std::string why) {
            content.bad.push_back({number, std::string(line.substr(0, bad_line_limit)), std::move(why)});
        };

        const auto payload = unsealed(line);
        if (!payload) {
            reject(torn ? "the line ends before its end" : "the check value is wrong");
        } else if (*payload == header_text) {
            content.complete = content.complete || number == 1;
        } else if (auto record = parse_record(*payload)) {
            content.records.push_back(std::move(*record));
        } else {
            reject("not a record that this version knows");
        }
    }
    return content;
}

}  // namespace vmrouter::dhcp
