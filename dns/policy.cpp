#include "dns/policy.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace vmrouter::dns {

void Admission::lost_queries(Monotonic now) {
    if (crowded_until_ > now + limits_.crowded_time / 2) return;  // known; counting takes time
    const auto active = std::count_if(accounts_.begin(), accounts_.end(),
                                      [&](const auto& item) { return item.second.last + limits_.crowded_time >= now; });
    if (active > 1) crowded_until_ = now + limits_.crowded_time;
}

bool Admission::admit(Ipv4 guest, Monotonic now) {
    Account& mine = account(guest, now);
    if ((now >= crowded_until_ || mine.crowded.take(now)) && mine.rate.take(now)) {
        ++mine.queries;
        return true;
    }
    ++mine.refused;
    ++refused_;
    return false;
}

bool Admission::begin(Ipv4 guest) {
    Account& mine = account(guest, {});
    const std::size_t free = limits_.outstanding > outstanding_ ? limits_.outstanding - outstanding_ : 0;
    if (mine.outstanding >= std::max(2 * free, limits_.share)) {
        ++mine.refused;
        ++refused_;
        return false;
    }
    ++mine.outstanding;
    ++outstanding_;
    return true;
}

void Admission::end(Ipv4 guest) {
    const auto found = accounts_.find(guest);
    if (found == accounts_.end() || found->second.outstanding == 0) return;
    --found->second.outstanding;
    --outstanding_;
}

std::size_t Admission::outstanding(Ipv4 guest) const {
    const auto found = accounts_.find(guest);
    return found == accounts_.end() ? 0 : found->second.outstanding;
}

std::vector<GuestQueries> Admission::guests() const {
    std::vector<GuestQueries> all;
    all.reserve(accounts_.size());
    for (const auto& [guest, account] : accounts_)
        all.push_back({guest, account.queries, account.refused, account.outstanding});
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.guest < b.guest; });
    return all;
}

Admission::Account& Admission::account(Ipv4 guest, Monotonic now) {
    auto found = accounts_.find(guest);
    if (found == accounts_.end()) {
        if (accounts_.size() >= limits_.guests) forget_idle();
        found = accounts_
                    .emplace(guest, Account{TokenBucket(limits_.queries_per_second, limits_.burst),
                                            TokenBucket(limits_.crowded_per_second, limits_.crowded_burst)})
                    .first;
    }
    found->second.last = std::max(found->second.last, now);
    return found->second;
}

/// Drops the half that was silent longest, but for those that wait for an answer. A dropped guest only regains its
/// burst.
void Admission::forget_idle() {
    std::vector<Monotonic> times;
    for (const auto& [guest, account] : accounts_) times.push_back(account.last);
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    const Monotonic median = times.empty() ? Monotonic{} : *middle;
    std::erase_if(accounts_,
                  [median](const auto& item) { return item.second.outstanding == 0 && item.second.last <= median; });
}

const char* to_string(ResponseError error) {
    switch (error) {
        case ResponseError::None:
            return "none";
        case ResponseError::TooShort:
            return "shorter than a header";
        case ResponseError::NotAResponse:
            return "not a response";
        case ResponseError::WrongId:
            return "another id";
        case ResponseError::WrongQuestion:
            return "another question";
        case ResponseError::Malformed:
            return "malformed";
    }
    return "";
}

}  // namespace vmrouter::dns
