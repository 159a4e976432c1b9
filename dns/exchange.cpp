// One question on its way: which server is asked, when the next one as well, and what counts as an answer.

#include <algorithm>
#include <cassert>
#include <utility>

#include "dns/response.hpp"
#include "dns/upstream_server.hpp"

namespace vmrouter::dns {

namespace {

constexpr std::size_t header_bytes = 12;
constexpr std::uint8_t most_sent = 8;  // of one question, all servers and repeats together

Monotonic now() {
    return std::chrono::steady_clock::now();
}

/// FORMERR, SERVFAIL, NOTIMP, REFUSED, and truncated though it came over TCP: another server may know better.
bool says_failure(Bytes response) {
    const auto rcode = response[3] & 15;
    const bool truncated = (response[2] & 2) != 0;
    return truncated || rcode == 1 || rcode == 2 || rcode == 4 || rcode == 5;
}

/// Can every record be read? Guests are not shown what cannot.
bool is_well_formed(Bytes response) {
    RecordWalk records(response);
    while (records.next() != nullptr) {
    }
    return records.ok();
}

}  // namespace

/// One query of an exchange on the wire; the exchange may be over before it ends.
class Upstream::Question final : public Attempt {
public:
    Question(Exchange& exchange, Server& server, Monotonic asked)
        : exchange_(&exchange), server_(server), group_(exchange.upstream_), asked_(asked) {
        next_ = exchange.questions_;
        if (next_ != nullptr) next_->previous_ = this;
        exchange.questions_ = this;
    }
    ~Question() override { detach(); }

    void ended(Ending ending, std::span<std::uint8_t> response) override {
        Exchange* exchange = exchange_;
        detach();
        server_.count(ending);
        if (ending == Ending::Answered) server_.heard(group_.engine_.time(), asked_);
        if (ending == Ending::Refused) server_.refused();
        if (exchange != nullptr) {
            if (ending == Ending::Answered)
                exchange->answered(server_, response);
            else
                exchange->failed(server_, ending);
        }
        if (ending != Ending::Cancelled) group_.pump();
    }

    [[nodiscard]] const Question* next() const { return next_; }
    [[nodiscard]] const Server& server() const { return server_; }

    void detach() {
        if (exchange_ == nullptr) return;
        (previous_ != nullptr ? previous_->next_ : exchange_->questions_) = next_;
        if (next_ != nullptr) next_->previous_ = previous_;
        exchange_ = nullptr;
        abandon();
    }

private:
    Exchange* exchange_;
    Server& server_;
    Upstream& group_;
    Monotonic asked_;
    Question* next_ = nullptr;
    Question* previous_ = nullptr;
};

Exchange::Exchange(Upstream& upstream, Bytes query)
    : upstream_(upstream),
      query_(query),
      overdue_([](void* self) { static_cast<Exchange*>(self)->overdue(); }, this),
      deadline_([](void* self) { static_cast<Exchange*>(self)->out_of_time(); }, this) {
    assert(query.size() >= header_bytes);
}

Exchange::~Exchange() {
    detach();
}

/// False: it is over already, the coroutine goes straight on.
bool Exchange::await_suspend(std::coroutine_handle<> waiter) {
    start();
    if (done_) return false;
    waiter_ = waiter;
    return true;
}

void Exchange::start() {
    begun_ = now();
    linked_ = true;
    next_ = upstream_.first_;
    if (next_ != nullptr) next_->previous_ = this;
    upstream_.first_ = this;
    ++upstream_.live_;

    upstream_.probe_the_down(begun_);
    upstream_.engine_.wheel().set(deadline_, Upstream::deadline, begun_);
    ask_next(begun_);
}

/// Asks the best server that is left, or a further time when none is; otherwise waits for what is on the wire.
void Exchange::ask_next(Monotonic when) {
    if (queued_ || done_) return;
    auto* server = upstream_.choose(*this, false);
    // With an answer in hand, if a bad one, nobody waits for a server that is down, nor longer for one that is silent.
    if (!second_best_.empty() && (server == nullptr || server->health_ == Health::Down)) {
        if (!waits_for_living()) deliver_second_best();
        return;
    }
    if (server == nullptr) {
        if (sent_ >= most_sent) return;
        server = upstream_.choose(*this, true);
        if (server == nullptr) {  // every one refuses
            if (questions_ == nullptr) finish(sent_ == 0 ? Outcome::Status::NoUpstream : Outcome::Status::Unreachable);
            return;
        }
    }
    // Many names that nobody answers: asking for each of them again would leave no room for those that are answered.
    const bool is_out = questions_ != nullptr;
    const auto ask_later = [&] { upstream_.engine_.wheel().set(overdue_, Upstream::first_repeat, when); };
    if (is_out && server->crowded()) return ask_later();
    if ((asked_ & server->bit()) != 0) asked_ = 0;
    last_asked_ = when;
    std::unique_ptr<Attempt> attempt = std::make_unique<Upstream::Question>(*this, *server, last_asked_);
    if (!server->send(attempt, query_)) return is_out ? ask_later() : upstream_.enqueue(*this);
    asked_ |= server->bit();
    last_ = server;
    ++sent_;
    upstream_.engine_.wheel().set(overdue_, upstream_.patience(*this, *server), when);
}

/// Is a question out to a server that is not known to be silent?
bool Exchange::waits_for_living() const {
    for (const auto* question = questions_; question != nullptr; question = question->next()) {
        if (question->server().health_ == Health::Up) return true;
    }
    return false;
}

/// The server asked last takes longer than it may.
void Exchange::overdue() {
    if (last_ != nullptr && last_->last_heard_ < last_asked_) last_->suspect();
    ask_next(now());
}

void Exchange::out_of_time() {
    if (!second_best_.empty()) return deliver_second_best();
    if (!extended_ && upstream_.heard_since(begun_)) {
        extended_ = true;
        upstream_.engine_.wheel().set(deadline_, Upstream::late_deadline - Upstream::deadline);
        return;
    }
    finish(Outcome::Status::Unreachable);
}

void Exchange::answered(Upstream::Server& server, std::span<std::uint8_t> response) {
    const bool others_left = upstream_.servers_.size() > 1 && upstream_.choose(*this, false) != nullptr;
    if (!says_failure(response) && (!others_left || is_well_formed(response)))
        return finish(Outcome::Status::Answered, response, &server.endpoint());
    if (second_best_.empty()) {
        second_best_.assign(response.begin(), response.end());
        second_best_from_ = server.endpoint();
    }
    ask_next(upstream_.engine_.time());
}

void Exchange::failed(Upstream::Server& server, Ending ending) {
    if (ending == Ending::Refused || ending == Ending::Broken) refused_ |= server.bit();
    if (ending == Ending::Silent) return;  // overdue() has long asked others
    ask_next(upstream_.engine_.time());
}

void Exchange::deliver_second_best() {
    finish(Outcome::Status::Answered, second_best_, &second_best_from_);
}

void Exchange::finish(Outcome::Status status, std::span<std::uint8_t> bytes, const Endpoint* from) {
    assert(!done_);
    done_ = true;
    detach();
    // The id on the wire was a random one; the caller gets back the one it knows.
    if (bytes.size() >= 2) std::copy_n(query_.begin(), 2, bytes.begin());
    outcome_ = {status, bytes, from};
    if (status != Outcome::Status::Cancelled) upstream_.pump();
    if (waiter_) std::exchange(waiter_, nullptr).resume();
}

void Exchange::detach() {
    overdue_.cancel();
    deadline_.cancel();
    while (questions_ != nullptr) questions_->detach();
    if (queued_) {
        queued_ = false;
        --upstream_.queued_;
        std::replace(upstream_.queue_.begin(), upstream_.queue_.end(), this, static_cast<Exchange*>(nullptr));
    }
    if (!linked_) return;
    linked_ = false;
    --upstream_.live_;
    (previous_ != nullptr ? previous_->next_ : upstream_.first_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
}

}  // namespace vmrouter::dns
