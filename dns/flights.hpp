#pragma once

// The questions that are out. Whoever asks the same meanwhile waits for the same answer.

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "dns/message.hpp"
#include "dns/tcp.hpp"
#include "dns/upstream.hpp"
#include "src/base/clock.hpp"
#include "src/base/ip4.hpp"

namespace vmrouter::dns {

/// Who wants an answer, and where it goes.
struct Client {
    sockaddr_in address{};                      ///< over UDP
    std::shared_ptr<TcpConnection> connection;  ///< over TCP
    Ipv4 guest;
};

/// One query that waits for a flight.
struct Waiter {
    Query query;
    Client client;
    Monotonic since;
};

/// One question that is out, and all who want to know.
struct Flight {
    Question question;
    std::uint64_t name_hash = 0;
    Upstream* group = nullptr;
    bool retired = false;                                                         ///< see Flights::retire()
    std::array<std::uint8_t, header_size + Name::max_size + 4 + opt_size> query;  ///< as it goes upstream; its id is 0
    std::size_t query_size = 0;
    std::vector<Waiter> waiters;
};

/// Ordered, not hashed: guests choose the names, and can make as many as they like that hash alike.
class Flights {
    struct Key {
        const Question& question;
        std::uint64_t name_hash;
    };
    struct Before {
        using is_transparent = void;
        bool operator()(const Key& a, const Key& b) const;
        bool operator()(const std::unique_ptr<Flight>& a, const std::unique_ptr<Flight>& b) const;
        bool operator()(const Key& a, const std::unique_ptr<Flight>& b) const;
        bool operator()(const std::unique_ptr<Flight>& a, const Key& b) const;
    };
    using Set = std::set<std::unique_ptr<Flight>, Before>;

public:
    /// One that has landed: its memory is used again when this ends.
    class Landed {
    public:
        Landed(Flights& flights, Set::node_type node) : flights_(flights), node_(std::move(node)) {}
        ~Landed();
        Landed(const Landed&) = delete;
        Landed& operator=(const Landed&) = delete;
        Flight* operator->() { return node_.value().get(); }
        Flight& operator*() { return *node_.value(); }

    private:
        Flights& flights_;
        Set::node_type node_;
    };

    /// Null when the question is not out. `name_hash` is that of its name.
    [[nodiscard]] Flight* find(const Question& question, std::uint64_t name_hash) const;
    /// The question, which must not be out, goes to `group`. No allocation once some have landed.
    Flight& take_off(const Question& question, std::uint64_t name_hash, Upstream& group);
    /// Its answer is there: whoever asks from here on is not found waiting.
    Landed land(Flight& flight);
    /// Questions that would go elsewhere now: those who wait get what comes, but nobody joins them and nothing is kept.
    void retire(const std::function<bool(const Question&)>& concerns);
    [[nodiscard]] std::size_t size() const { return out_.size() + retired_.size(); }

private:
    Set out_;
    std::vector<Set::node_type> retired_;
    std::vector<Set::node_type> spare_;
};

}  // namespace vmrouter::dns
