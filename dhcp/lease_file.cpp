#include "dhcp/lease_file.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "dhcp/names.hpp"
#include "src/base/ip6.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t bad_line_limit = 4096;
constexpr std::uint64_t last_second = 253'402'300'799ULL;  // the year 9999

/// Up to six fields; dnsmasq separates them by one space, its reader takes any white space.
std::vector<std::string_view> fields_of(std::string_view line) {
    constexpr std::string_view blank = " \t\r\v\f";
    std::vector<std::string_view> fields;
    while (fields.size() < 6) {
        line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
        if (line.empty()) break;
        const auto end = std::min(line.find_first_of(blank), line.size());
        fields.push_back(line.substr(0, end));
        line.remove_prefix(end);
    }
    return fields;
}

struct LineResult {
    std::optional<Lease> lease;
    std::string why;
};

LineResult parse_line(const std::vector<std::string_view>& fields) {
    if (fields.size() != 5) return {std::nullopt, "not five fields"};
    const auto expires = parse_number(fields[0], last_second);
    if (!expires) return {std::nullopt, "the first field is not a time"};
    const auto hardware = HardwareAddress::parse(fields[1]);
    if (!hardware) return {std::nullopt, "the second field is not a hardware address"};
    const auto address = Ipv4::parse(fields[2]);
    if (!address) return {std::nullopt, "the third field is not an address"};
    const auto client_id = fields[4] == "*" ? std::vector<std::uint8_t>{} : parse_hex(fields[4]);
    if (!client_id) return {std::nullopt, "the fifth field is not a client-id"};

    Lease lease;
    lease.address = *address;
    lease.hardware = *hardware;
    lease.client_id = *client_id;
    if (*expires != 0) lease.expires = Time{Seconds{*expires}};
    if (fields[3] != "*") lease.name = legal_name(fields[3]).value_or("");
    lease.supplied_missing = true;
    lease.relay_missing = true;
    return {std::move(lease), {}};
}

bool is_dhcpv6(const std::vector<std::string_view>& fields) {
    if (fields.empty()) return false;
    return fields[0] == "duid" || (fields.size() >= 3 && Ipv6::parse(fields[2]).has_value());
}

}  // namespace

std::string lease_line(const Lease& lease) {
    // 0 would mean "never"; a lease that ends in the first second of 1970 is on a machine without a clock.
    std::string line = "0";
    if (lease.expires) {
        const auto seconds = std::chrono::floor<Seconds>(lease.expires->time_since_epoch()).count();
        line = std::to_string(std::max<Seconds::rep>(seconds, 1));
    }
    line += ' ' + to_string(lease.hardware) + ' ' + to_string(lease.address) + ' ';
    line += lease.name.empty() ? "*" : lease.name;
    line += ' ';
    line += lease.client_id.empty() ? "*" : to_hex(lease.client_id);
    line += '\n';
    return line;
}

LeaseFileContent parse_lease_file(std::string_view text) {
    LeaseFileContent content;
    std::unordered_set<Ipv4> seen;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto end = text.find('\n');
        const bool torn = end == std::string_view::npos;
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(torn ? text.size() : end + 1);

        const auto fields = fields_of(line);
        if (fields.empty()) continue;
        if (is_dhcpv6(fields)) {
            ++content.skipped;
            continue;
        }
        auto [lease, why] = parse_line(fields);
        // dnsmasq writes in place, so a crash can cut the last line. What stands before its last field is whole.
        if (lease && torn) lease->client_id.clear();
        if (lease && !seen.insert(lease->address).second) {
            lease.reset();
            why = "an earlier line has the same address";
        }
        if (lease)
            content.leases.push_back(std::move(*lease));
        else
            content.bad.push_back({number, std::string(line.substr(0, bad_line_limit)), std::move(why)});
    }
    return content;
}

void LeaseFileImage::put(const Lease& lease) {
    if (lease.state != LeaseState::Bound) return erase(lease.address);
    std::string line = lease_line(lease);
    size_ += line.size();
    if (const auto known = by_address_.find(lease.address); known != by_address_.end()) {
        size_ -= known->second->text.size();
        known->second->text = std::move(line);
        return;
    }
    lines_.push_front({lease.address, std::move(line)});
    by_address_.emplace(lease.address, lines_.begin());
}

void LeaseFileImage::erase(Ipv4 address) {
    const auto known = by_address_.find(address);
    if (known == by_address_.end()) return;
    size_ -= known->second->text.size();
    lines_.erase(known->second);
    by_address_.erase(known);
}

void LeaseFileImage::apply(const AppliedChange& change) {
    if (change.after)
        put(*change.after);
    else
        erase(change.address);
}

std::string LeaseFileImage::text() const {
    std::string text;
    text.reserve(size_);
    for (const auto& line : lines_) text += line.text;
    return text;
}

std::vector<Ipv4> LeaseFileImage::oldest_first() const {
    std::vector<Ipv4> addresses;
    addresses.reserve(lines_.size());
    for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) addresses.push_back(line->address);
    return addresses;
}

}  // namespace vmrouter::dhcp
