#pragma once

// The request socket to the kernel's NETLINK_ROUTE. Events come through a socket of their own (monitor), so that an
// answer never waits behind a burst of notifications. libnl builds and walks the messages; its types stay inside
// src/link.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "src/base/result.hpp"

struct nl_sock;
struct nl_msg;
struct nlmsghdr;

namespace vmrouter::link {

struct SocketDeleter {
    void operator()(nl_sock* socket) const;
};
struct MessageDeleter {
    void operator()(nl_msg* message) const;
};
using MessagePointer = std::unique_ptr<nl_msg, MessageDeleter>;

/// A message of `type` (RTM_*) with `flags` (NLM_F_*), empty; never null (throws std::bad_alloc).
MessagePointer make_message(int type, int flags);

class Netlink {
public:
    /// A connected request socket in the calling thread's network namespace.
    static Result<Netlink> open();

    /// Sends and waits for the kernel's verdict. 0, or libnl's negative code (-NLE_EXIST, -NLE_OBJ_NOTFOUND, ...).
    int send(MessagePointer message);

    /// As send(), with the failure in words: `what` ("cannot create the bridge") about `where` (an interface).
    Result<void> request(MessagePointer message, std::string_view what, std::string_view where);

    /// Sends a dump or a single GET and calls `receive` for each message of the answer. A dump that the kernel says
    /// changed while it ran (NLM_F_DUMP_INTR) is asked again; `restart` is then called first, to drop what was
    /// collected. 0, or libnl's negative code.
    int query(const std::function<MessagePointer()>& make, const std::function<void(const nlmsghdr&)>& receive,
              const std::function<void()>& restart);

    /// The kernel's number of an interface; 0 when there is none of that name.
    int index_of(std::string_view name);

private:
    /// A new connection after a failure: libnl counts a request that never left, and answers to an abandoned one may
    /// still wait; either way every later answer would have the wrong number, and undoing what was done would fail as
    /// well.
    void start_anew();

    explicit Netlink(std::unique_ptr<nl_sock, SocketDeleter> socket) : socket_(std::move(socket)) {}
    std::unique_ptr<nl_sock, SocketDeleter> socket_;
};

/// "cannot add the address: Object exists" with libnl's text for `code`; errno is not reliable after libnl calls.
Error netlink_error(std::string_view what, int code, std::string_view where);

}  // namespace vmrouter::link
