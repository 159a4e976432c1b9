#include <algorithm>
#include <bit>
#include <unordered_map>

#include "dhcp/hosts_file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dhcp {
namespace {

/// Keys of the maps: bytes as a string, so that the standard hash does.
std::string key(Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}
std::string key(const HardwareAddress& address) {
    return static_cast<char>(address.type) + key(address.view());
}

using Places = std::vector<std::size_t>;  // of entries, in order

}  // namespace

struct Reservations::Index {
    std::unordered_map<std::string, Places> by_client_id;
    std::unordered_map<std::string, Places> by_mac;
    std::vector<std::pair<int, std::size_t>> wildcards;  // number of '*', entry; fewest first
    std::unordered_map<Ipv4, std::size_t> by_address;
    std::vector<Ipv4> addresses;  // sorted
    std::unordered_map<std::string, std::size_t> by_name;
    std::string interface;
};

namespace {

/// Why an entry cannot be used on this segment; nullopt: it can.
std::optional<Error> address_problem(const HostEntry& entry, const Cidr& segment) {
    if (!entry.address) return std::nullopt;
    const std::string text = to_string(*entry.address);
    const std::string range = to_string(segment.network());
    if (!segment.contains(*entry.address))
        return Error{text + " is outside the segment " + range, entry.where, "choose an address of " + range};
    if (*entry.address == segment.address)
        return Error{text + " is our own address on the segment", entry.where, "choose another address"};
    if (segment.length < 31 && (*entry.address == segment.first() || *entry.address == segment.last()))
        return Error{text + " is the network or broadcast address of " + range, entry.where, "choose another address"};
    return std::nullopt;
}

/// Tags that may hold here are the interface's name and "bootp"; a line that waits for another one would never be used.
std::optional<Error> tag_problem(const HostEntry& entry, std::string_view interface) {
    for (const auto& tag : entry.tags)
        if (!tag.starts_with('!') && tag != interface && tag != "bootp")
            return Error{"nothing sets the tag \"" + escape(tag) + "\", so the line would never be used", entry.where,
                         "remove tag:" + escape(tag) + "; known tags are bootp and " + std::string(interface)};
    return std::nullopt;
}

Error duplicate(std::string what, const HostEntry& entry, const HostEntry& first) {
    return {std::move(what) + " is reserved at " + first.where + " already", entry.where,
            "remove one of the two; the first one holds"};
}

}  // namespace

Reservations Reservations::build(std::vector<HostEntry> configured, std::vector<HostEntry> from_file,
                                 const Cidr& segment, std::string_view interface, std::vector<Error>& problems) {
    Reservations result;
    auto index = std::make_shared<Index>();
    index->interface = interface;
    const auto other_with_tags = [&](const Places& places, const HostEntry& entry) -> const HostEntry* {
        for (const std::size_t place : places)
            if (result.entries_[place].tags == entry.tags) return &result.entries_[place];
        return nullptr;
    };
    const auto conflict = [&](const HostEntry& entry) -> std::optional<Error> {
        if (entry.address)
            if (const auto found = index->by_address.find(*entry.address); found != index->by_address.end())
                return duplicate("the address " + to_string(*entry.address), entry, result.entries_[found->second]);
        for (const auto& mac : entry.macs) {
            if (!mac.exact()) continue;
            const auto found = index->by_mac.find(key(mac.address));
            const auto* first = found == index->by_mac.end() ? nullptr : other_with_tags(found->second, entry);
            if (first != nullptr) return duplicate("the hardware address " + to_string(mac), entry, *first);
        }
        if (!entry.client_id.empty()) {
            const auto found = index->by_client_id.find(key(entry.client_id));
            const auto* first = found == index->by_client_id.end() ? nullptr : other_with_tags(found->second, entry);
            if (first != nullptr) return duplicate("the client-id " + to_hex(entry.client_id), entry, *first);
        }
        return std::nullopt;
    };
    const auto add = [&](HostEntry&& entry) {
        auto problem = address_problem(entry, segment);
        if (!problem) problem = tag_problem(entry, interface);
        if (!problem) problem = conflict(entry);
        if (problem) {
            problems.push_back(std::move(*problem));
            return;
        }
        if (const HostEntry* first = result.named(*index, entry.name)) {
            problems.push_back({"the name " + entry.name + " is reserved at " + first->where + " already", entry.where,
                                "this line counts, but without its name"});
            entry.name.clear();
        }
        const std::size_t place = result.entries_.size();
        if (entry.address) index->by_address[*entry.address] = place;
        if (!entry.name.empty()) index->by_name[to_lower(entry.name)] = place;
        if (!entry.client_id.empty()) index->by_client_id[key(entry.client_id)].push_back(place);
        for (const auto& mac : entry.macs) {
            if (mac.exact())
                index->by_mac[key(mac.address)].push_back(place);
            else
                index->wildcards.emplace_back(std::popcount(mac.wildcards), place);
        }
        result.entries_.push_back(std::move(entry));
    };
    for (auto& entry : configured) add(std::move(entry));
    for (auto& entry : from_file) add(std::move(entry));
    for (const auto& [address, place] : index->by_address) index->addresses.push_back(address);
    std::ranges::sort(index->addresses);
    std::ranges::stable_sort(index->wildcards, {}, &std::pair<int, std::size_t>::first);
    result.index_ = std::move(index);
    return result;
}

const HostEntry* Reservations::match(const HardwareAddress& hardware, Bytes client_id, bool bootp) const {
    if (!index_) return nullptr;
    const auto holds = [&](const HostEntry& entry) {
        return std::ranges::all_of(entry.tags, [&](std::string_view tag) {
            const bool negated = tag.starts_with('!');
            if (negated) tag.remove_prefix(1);
            const bool set = tag == index_->interface || (bootp && tag == "bootp");
            return set != negated;
        });
    };
    // Two rounds over the same order: lines with tags (that hold) win over lines without.
    for (const bool tagged : {true, false}) {
        const auto eligible = [&](std::size_t place) {
            return entries_[place].tags.empty() != tagged && holds(entries_[place]);
        };
        const auto first_of = [&](const auto& map, const std::string& wanted) -> const HostEntry* {
            const auto found = map.find(wanted);
            if (found == map.end()) return nullptr;
            const auto place = std::ranges::find_if(found->second, eligible);
            return place == found->second.end() ? nullptr : &entries_[*place];
        };
        if (!client_id.empty()) {
            if (const auto* entry = first_of(index_->by_client_id, key(client_id))) return entry;
            // Some clients put a zero in front of a client-id that a person wrote as text.
            if (client_id.front() == 0)
                if (const auto* entry = first_of(index_->by_client_id, key(client_id.subspan(1)))) return entry;
        }
        if (const auto* entry = first_of(index_->by_mac, key(hardware))) return entry;
        for (const auto& [stars, place] : index_->wildcards) {
            if (!eligible(place)) continue;
            const int wanted = stars;
            const auto fits = [&](const HardwarePattern& mac) {
                return std::popcount(mac.wildcards) == wanted && mac.matches(hardware);
            };
            if (std::ranges::any_of(entries_[place].macs, fits)) return &entries_[place];
        }
    }
    return nullptr;
}

const HostEntry* Reservations::by_address(Ipv4 address) const {
    if (!index_) return nullptr;
    const auto found = index_->by_address.find(address);
    return found == index_->by_address.end() ? nullptr : &entries_[found->second];
}

const HostEntry* Reservations::named(const Index& index, std::string_view name) const {
    const auto found = name.empty() ? index.by_name.end() : index.by_name.find(to_lower(name));
    return found == index.by_name.end() ? nullptr : &entries_[found->second];
}

const HostEntry* Reservations::by_name(std::string_view name) const {
    return index_ ? named(*index_, name) : nullptr;
}

std::span<const Ipv4> Reservations::addresses_in(Range range) const {
    if (!index_) return {};
    const auto first = std::ranges::lower_bound(index_->addresses, range.first);
    const auto end = std::ranges::upper_bound(index_->addresses, range.last);
    return first < end ? std::span<const Ipv4>(first, end) : std::span<const Ipv4>{};
}

}  // namespace vmrouter::dhcp
