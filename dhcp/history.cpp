#include "dhcp/history.hpp"

#include <algorithm>
#include <utility>

namespace vmrouter::dhcp {
namespace {

constexpr std::size_t fewest_buckets = 64;
constexpr std::size_t longest_detail = 200;

GuestEvent event_of(const Note& note) {
    GuestEvent event;
    event.first = note.time;
    event.last = note.time;
    event.message = note.message;
    event.verb = note.verb;
    event.silence = note.silence;
    event.address = note.address;
    event.port = note.port;
    event.detail = note.detail.substr(0, longest_detail);
    return event;
}

bool is_repetition(const GuestEvent& known, const GuestEvent& event) {
    return known.message == event.message && known.verb == event.verb && known.silence == event.silence &&
           known.address == event.address && known.port == event.port && known.detail == event.detail;
}

bool grants(const Note& note) {
    return note.silence == Silence::None && !note.address.is_unspecified() &&
           (note.verb == "ACK" || note.verb == "BOOTP");
}

}  // namespace

GuestHistory::GuestHistory(std::size_t guests, std::uint64_t seed)
    : limit_(std::max<std::size_t>(guests, 2)), by_client_(fewest_buckets, Hash{seed}) {}

void GuestHistory::add(const Note& note) {
    if (note.client.empty() || note.time == Time{}) return;
    GuestEvent event = event_of(note);
    GuestRecord& record = record_of(note.client, grants(note));
    if (record.first_seen == Time{}) record.first_seen = note.time;
    if (note.silence == Silence::ForgedSource) {
        // Whoever writes another's name into messages must not wipe out what that one itself did.
        if (record.forged) {
            event.first = record.forged->first;
            event.count = record.forged->count + 1;
        }
        record.forged = std::move(event);
        return;
    }
    record.last_seen = note.time;
    if (note.port != 0) record.port = note.port;
    if (!record.events.empty() && is_repetition(record.events.back(), event)) {
        record.events.back().last = note.time;
        ++record.events.back().count;
        return;
    }
    if (record.events.size() == GuestRecord::most_events) record.events.erase(record.events.begin());
    record.events.push_back(std::move(event));
}

GuestRecord& GuestHistory::record_of(const HardwareAddress& client, bool granted) {
    if (const auto known = by_client_.find(client); known != by_client_.end()) {
        const auto record = known->second;
        Records& from = record->granted ? granted_ : others_;
        record->granted = record->granted || granted;
        Records& to = record->granted ? granted_ : others_;
        to.splice(to.begin(), from, record);
        forget_oldest(granted_, limit_);
        return *record;
    }
    Records& records = granted ? granted_ : others_;
    records.emplace_front();
    records.front().client = client;
    records.front().granted = granted;
    by_client_.emplace(client, records.begin());
    forget_oldest(records, granted ? limit_ : limit_ / 2);
    return records.front();
}

void GuestHistory::forget_oldest(Records& records, std::size_t limit) {
    if (records.size() <= limit) return;
    by_client_.erase(records.back().client);
    records.pop_back();
}

const GuestRecord* GuestHistory::find(const HardwareAddress& client) const {
    const auto known = by_client_.find(client);
    return known == by_client_.end() ? nullptr : &*known->second;
}

std::vector<const GuestRecord*> GuestHistory::newest_first() const {
    std::vector<const GuestRecord*> all;
    all.reserve(size());
    for (const Records* records : {&granted_, &others_})
        for (const GuestRecord& record : *records) all.push_back(&record);
    std::ranges::stable_sort(all, std::ranges::greater{}, [](const GuestRecord* record) {
        return std::max(record->last_seen, record->forged ? record->forged->last : Time{});
    });
    return all;
}

}  // namespace vmrouter::dhcp
