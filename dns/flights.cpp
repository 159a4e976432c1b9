#include "dns/flights.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace vmrouter::dns {
namespace {

constexpr std::size_t most_spare = 64;

}  // namespace

bool Flights::Before::operator()(const Key& a, const Key& b) const {
    if (&a.question == &b.question) return false;  // one that lands finds itself
    const auto numbers = [](const Key& key) {
        const auto& question = key.question;
        return std::tuple(key.name_hash, question.type, question.klass, question.dnssec_ok, question.checking_disabled,
                          question.recursion_desired);
    };
    if (const auto left = numbers(a), right = numbers(b); left != right) return left < right;
    return compare_folded(a.question.name.wire(), b.question.name.wire()) < 0;
}

bool Flights::Before::operator()(const std::unique_ptr<Flight>& a, const std::unique_ptr<Flight>& b) const {
    return (*this)(Key{a->question, a->name_hash}, Key{b->question, b->name_hash});
}
bool Flights::Before::operator()(const Key& a, const std::unique_ptr<Flight>& b) const {
    return (*this)(a, Key{b->question, b->name_hash});
}
bool Flights::Before::operator()(const std::unique_ptr<Flight>& a, const Key& b) const {
    return (*this)(Key{a->question, a->name_hash}, b);
}

Flights::Landed::~Landed() {
    if (flights_.spare_.size() >= most_spare) return;
    node_.value()->waiters.clear();
    flights_.spare_.push_back(std::move(node_));
}

Flight* Flights::find(const Question& question, std::uint64_t name_hash) const {
    const auto found = out_.find(Key{question, name_hash});
    return found == out_.end() ? nullptr : found->get();
}

Flight& Flights::take_off(const Question& question, std::uint64_t name_hash, Upstream& group) {
    const auto prepare = [&](Flight& flight) -> Flight& {
        flight.question = question;
        flight.name_hash = name_hash;
        flight.group = &group;
        flight.retired = false;
        flight.query_size = write_upstream_query(question, 0, flight.query);
        return flight;
    };
    if (spare_.empty()) {
        auto flight = std::make_unique<Flight>();
        auto& flying = prepare(*flight);
        out_.insert(std::move(flight));
        return flying;
    }
    auto node = std::move(spare_.back());
    spare_.pop_back();
    auto& flying = prepare(*node.value());
    out_.insert(std::move(node));
    return flying;
}

Flights::Landed Flights::land(Flight& flight) {
    if (!flight.retired) return {*this, out_.extract(out_.find(Key{flight.question, flight.name_hash}))};
    const auto found =
        std::find_if(retired_.begin(), retired_.end(), [&](const auto& node) { return node.value().get() == &flight; });
    auto node = std::move(*found);
    retired_.erase(found);
    return {*this, std::move(node)};
}

void Flights::retire(const std::function<bool(const Question&)>& concerns) {
    for (auto at = out_.begin(); at != out_.end();) {
        const auto next = std::next(at);
        if (concerns((*at)->question)) {
            (*at)->retired = true;
            retired_.push_back(out_.extract(at));
        }
        at = next;
    }
}

}  // namespace vmrouter::dns
