#include "src/link/netlink.hpp"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <new>

#include "src/link/attributes.hpp"

namespace vmrouter::link {
namespace {

constexpr int kBufferSize = 1 << 20;  // libnl's 32 KiB overflow with the answer to a dump of some hundred routes
constexpr int kDumpAttempts = 8;

/// What the callbacks of one query share.
struct Conversation {
    const std::function<void(const nlmsghdr&)>& receive;
    bool finished = false;
    int error = 0;
};

int on_message(nl_msg* message, void* argument) {
    static_cast<Conversation*>(argument)->receive(*nlmsg_hdr(message));
    return NL_OK;
}

int on_end(nl_msg*, void* argument) {
    static_cast<Conversation*>(argument)->finished = true;
    return NL_OK;
}

int on_error(sockaddr_nl*, nlmsgerr* error, void* argument) {
    auto& conversation = *static_cast<Conversation*>(argument);
    conversation.finished = true;
    conversation.error = -nl_syserr2nlerr(error->error);
    return NL_STOP;
}

struct CallbacksDeleter {
    void operator()(nl_cb* callbacks) const { nl_cb_put(callbacks); }
};

}  // namespace

void SocketDeleter::operator()(nl_sock* socket) const {
    nl_socket_free(socket);
}

void MessageDeleter::operator()(nl_msg* message) const {
    nlmsg_free(message);
}

MessagePointer make_message(int type, int flags) {
    MessagePointer message(nlmsg_alloc_simple(type, flags));
    if (!message) throw std::bad_alloc();
    return message;
}

Error netlink_error(std::string_view what, int code, std::string_view where) {
    return {std::string(what) + ": " + nl_geterror(code), std::string(where), {}};
}

Result<Netlink> Netlink::open() {
    std::unique_ptr<nl_sock, SocketDeleter> socket(nl_socket_alloc());
    if (!socket) throw std::bad_alloc();
    if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0)
        return Failure{netlink_error("cannot talk to the kernel about links", code, "netlink")};
    nl_socket_set_buffer_size(socket.get(), kBufferSize, 0);  // a smaller one only costs repeated dumps
    return Netlink(std::move(socket));
}

int Netlink::send(MessagePointer message) {
    const int code = nl_send_sync(socket_.get(), message.release());  // frees it in every case
    if (code < 0) start_anew();
    return code;
}

void Netlink::start_anew() {
    // Connecting the old one again would not do: its count stays.
    if (auto fresh = open()) socket_ = std::move(fresh->socket_);
}

Result<void> Netlink::request(MessagePointer message, std::string_view what, std::string_view where) {
    if (const int code = send(std::move(message)); code < 0) return Failure{netlink_error(what, code, where)};
    return {};
}

int Netlink::query(const std::function<MessagePointer()>& make, const std::function<void(const nlmsghdr&)>& receive,
                   const std::function<void()>& restart) {
    int code = 0;
    for (int attempt = 0; attempt < kDumpAttempts; ++attempt) {
        if (attempt > 0) restart();
        Conversation conversation{receive};
        std::unique_ptr<nl_cb, CallbacksDeleter> callbacks(nl_cb_alloc(NL_CB_DEFAULT));
        if (!callbacks) throw std::bad_alloc();
        nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, &conversation);
        nl_cb_set(callbacks.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &conversation);
        nl_cb_set(callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &conversation);
        nl_cb_err(callbacks.get(), NL_CB_CUSTOM, on_error, &conversation);

        const auto message = make();
        code = nl_send_auto(socket_.get(), message.get());
        bool interrupted = false;
        while (code >= 0 && !conversation.finished) {
            code = nl_recvmsgs(socket_.get(), callbacks.get());
            if (code == -NLE_DUMP_INTR) {  // told after the last part
                interrupted = true;
                code = 0;
            }
        }
        if (conversation.error != 0) return conversation.error;
        if (code < 0) {
            start_anew();
            return code;
        }
        if (!interrupted) return 0;
        code = -NLE_DUMP_INTR;
    }
    return code;
}

int Netlink::index_of(std::string_view name) {
    if (name.empty() || name.size() >= IFNAMSIZ) return 0;
    int index = 0;
    query(
        [&] {
            auto message = make_message(RTM_GETLINK, 0);
            put_header(*message, ifinfomsg{});
            nla_put_string(message.get(), IFLA_IFNAME, std::string(name).c_str());
            return message;
        },
        [&](const nlmsghdr& message) { index = header_of<ifinfomsg>(message).ifi_index; }, [&] { index = 0; });
    return index;
}

}  // namespace vmrouter::link
