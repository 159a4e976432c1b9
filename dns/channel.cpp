#include "dns/channel.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vmrouter::dns {

namespace {

constexpr std::size_t header_size = 12;
constexpr std::uint8_t formerr = 1;
constexpr int events_at_once = 64;
constexpr std::chrono::milliseconds sweep_interval{1000};

Ending ending_of(int status) {
    switch (status) {
        case ARES_SUCCESS:
            return Ending::Answered;
        case ARES_ETIMEOUT:
            return Ending::Silent;
        case ARES_EDESTRUCTION:
        case ARES_ECANCELLED:
            return Ending::Cancelled;
        default:
            return Ending::Refused;
    }
}

// c-ares' memory comes from the free lists; in front of each block is its size.

struct alignas(std::max_align_t) BlockSize {
    std::size_t bytes;
};

void* ares_allocate(std::size_t size) {
    if (size > std::size_t{1} << 30) return nullptr;
    auto* block = static_cast<BlockSize*>(FreeLists::instance().take(size + sizeof(BlockSize)));
    if (block == nullptr) return nullptr;
    block->bytes = size;
    return block + 1;
}

void ares_release(void* memory) {
    if (memory == nullptr) return;
    auto* block = static_cast<BlockSize*>(memory) - 1;
    FreeLists::instance().give(block, block->bytes + sizeof(BlockSize));
}

void* ares_reallocate(void* memory, std::size_t size) {
    void* moved = ares_allocate(size);
    if (moved == nullptr || memory == nullptr) return moved;
    std::memcpy(moved, memory, std::min(size, (static_cast<BlockSize*>(memory) - 1)->bytes));
    ares_release(memory);
    return moved;
}

}  // namespace

// --- Engine ---

Engine::Engine(asio::any_io_executor executor, Random& random)
    : wheel_(executor), random_(random), soon_(executor), epoll_(executor, ::epoll_create1(EPOLL_CLOEXEC)) {
    static const int once = ares_library_init_mem(ARES_LIB_INIT_ALL, ares_allocate, ares_release, ares_reallocate);
    assert(once == ARES_SUCCESS);
    static_cast<void>(once);
    wheel_.after_turn = [this] {
        if (after_batch) after_batch();
    };
    wait();
}

Engine::~Engine() = default;

void Engine::wait() {
    // What has happened completes without an error even when we are destroyed before the loop gets to it.
    epoll_.async_wait(asio::posix::stream_descriptor::wait_read,
                      [this, alive = std::weak_ptr<bool>(alive_)](const asio::error_code& error) {
                          if (error || alive.expired()) return;
                          poll();
                          wait();
                      });
}

/// One round over the sockets that have something; the loop gets its turn in between.
void Engine::poll() {
    std::array<epoll_event, events_at_once> events;
    const int count = ::epoll_wait(epoll_.native_handle(), events.data(), events_at_once, 0);
    for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        const int fd = event.data.fd;
        // An earlier event may have closed this socket, and a query taken its number.
        Channel* channel =
            static_cast<std::size_t>(fd) < by_socket_.size() ? by_socket_[static_cast<std::size_t>(fd)] : nullptr;
        if (channel == nullptr) continue;
        const bool writable = (event.events & EPOLLOUT) != 0;
        const bool readable = (event.events & ~std::uint32_t{EPOLLOUT}) != 0;  // errors too are found by reading
        channel->process(readable ? fd : -1, writable ? fd : -1);
    }
    settle();
}

void Engine::watch(int fd, Channel* channel, bool readable, bool writable) {
    const auto index = static_cast<std::size_t>(fd);
    if (index >= by_socket_.size()) by_socket_.resize(index + 64);
    const bool known = by_socket_[index] != nullptr;
    if (!readable && !writable) {
        by_socket_[index] = nullptr;  // the close that follows takes it out of the epoll set
        return;
    }
    by_socket_[index] = channel;
    epoll_event event{};
    event.events = (readable ? std::uint32_t{EPOLLIN} : 0) | (writable ? std::uint32_t{EPOLLOUT} : 0);
    event.data.fd = fd;
    ::epoll_ctl(epoll_.native_handle(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

void Engine::note(std::unique_ptr<Attempt> attempt, Ending ending, Bytes response) {
    ended_.push_back({std::move(attempt), ending, responses_.size(), response.size()});
    responses_.insert(responses_.end(), response.begin(), response.end());
    if (settling_ || settle_posted_) return;
    settle_posted_ = true;  // ended inside a send, perhaps: then nobody else would look
    soon_.expires_after(std::chrono::seconds{0});
    soon_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const asio::error_code& error) {
        if (error || alive.expired()) return;
        settle_posted_ = false;
        settle();
    });
}

void Engine::settle() {
    assert(!settling_);
    settling_ = true;
    const bool any = !ended_.empty();
    if (any) time_ = std::chrono::steady_clock::now();
    while (!ended_.empty()) {
        batch_.swap(ended_);
        batch_responses_.swap(responses_);
        for (const auto& one : batch_)
            one.attempt->ended(one.ending, std::span{batch_responses_}.subspan(one.offset, one.size));
        batch_.clear();
        batch_responses_.clear();
    }
    discarded_.clear();
    settling_ = false;
    if (any && after_batch) after_batch();
}

// --- Channel ---

void Attempt::abandon() {
    if (channel_ == nullptr || abandoned_) return;
    abandoned_ = true;
    ++channel_->abandoned_;
    channel_->pool_.after_abandon(*channel_);
}

std::unique_ptr<Channel> Channel::open(Engine& engine, ChannelPool& pool) {
    auto channel = std::unique_ptr<Channel>(new Channel(engine, pool));

    // Everything is given, so that c-ares reads no file: it would do so for every channel, and cannot in a sandbox.
    ares_options options{};
    std::string lookups = "b";
    std::string no_file = "/dev/null";
    options.flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options.ednspsz = 1232;
    options.timeout = static_cast<int>(patience.count());
    options.tries = 1;
    options.ndots = 0;
    options.lookups = lookups.data();
    options.resolvconf_path = no_file.data();
    options.sock_state_cb = socket_state;
    options.sock_state_cb_data = channel.get();
    const int given = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                      ARES_OPT_LOOKUPS | ARES_OPT_RESOLVCONF | ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_SORTLIST |
                      ARES_OPT_SOCK_STATE_CB;
    if (ares_init_options(&channel->ares_, &options, given) != ARES_SUCCESS) return nullptr;

    static const ares_socket_functions functions{open_socket, close_socket, connect_socket, receive, transmit};
    ares_set_socket_functions(channel->ares_, &functions, channel.get());

    const Endpoint& endpoint = pool.endpoint();
    ares_addr_port_node server{};
    server.udp_port = server.tcp_port = endpoint.port;
    if (const auto* ip4 = std::get_if<Ipv4>(&endpoint.address)) {
        server.family = AF_INET;
        server.addr.addr4.s_addr = htonl(ip4->value);
    } else {
        server.family = AF_INET6;
        std::memcpy(&server.addr.addr6, std::get<Ipv6>(endpoint.address).bytes.data(), 16);
    }
    if (ares_set_servers_ports(channel->ares_, &server) != ARES_SUCCESS) return nullptr;
    ++engine.channels_;
    channel->ids_.reserve(4);
    return channel;
}

Channel::~Channel() {
    if (ares_ == nullptr) return;
    ares_destroy(ares_);
    --engine_.channels_;
}

void Channel::send(std::unique_ptr<Attempt> attempt, Bytes query) {
    std::array<std::uint8_t, 1024> message;
    assert(query.size() >= header_size && query.size() <= message.size());
    do {
        attempt->id_ = engine_.random().u16();
    } while (std::find(ids_.begin(), ids_.end(), attempt->id_) != ids_.end());
    std::memcpy(message.data(), query.data(), query.size());
    message[0] = static_cast<std::uint8_t>(attempt->id_ >> 8);
    message[1] = static_cast<std::uint8_t>(attempt->id_);

    attempt->channel_ = this;
    ids_.push_back(attempt->id_);
    ++sent_;
    pool_.share(*this);
    ares_send(ares_, message.data(), static_cast<int>(query.size()), query_ended, attempt.release());
}

void Channel::process(int readable, int writable) {
    received_ = false;
    ares_process_fd(ares_, readable, writable);
}

/// Called by c-ares, perhaps from inside ares_send or ares_destroy.
void Channel::query_ended(void* context, int status, int /*timeouts*/, unsigned char* response, int size) {
    std::unique_ptr<Attempt> attempt{static_cast<Attempt*>(context)};
    Channel& channel = *attempt->channel_;
    const auto id = std::find(channel.ids_.begin(), channel.ids_.end(), attempt->id_);
    assert(id != channel.ids_.end());
    *id = channel.ids_.back();
    channel.ids_.pop_back();
    const bool abandoned = attempt->abandoned_;
    if (abandoned) --channel.abandoned_;
    attempt->channel_ = nullptr;

    auto ending = ending_of(status);
    const Bytes bytes = response != nullptr && size > 0 ? Bytes{response, static_cast<std::size_t>(size)} : Bytes{};
    if (ending == Ending::Answered && bytes.size() < header_size) ending = Ending::Refused;
    if (ending == Ending::Refused && channel.tcp_) ending = Ending::Broken;
    channel.engine_.note(std::move(attempt), ending, bytes);
    if (ending != Ending::Cancelled) channel.pool_.after_end(channel, abandoned);
}

// The socket calls are our own: one call gives a socket that is non-blocking and bound to its device, link-local
// servers get their scope, and what c-ares would ask the kernel in vain is not asked.

ares_socket_t Channel::open_socket(int domain, int type, int protocol, void* self) {
    auto& channel = *static_cast<Channel*>(self);
    const auto& device = channel.pool_.device_;
    channel.tcp_ |= type == SOCK_STREAM;
    const int fd = ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0 || device.empty()) return fd;
    if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.data(), static_cast<socklen_t>(device.size())) == 0)
        return fd;
    const int error = errno;
    ::close(fd);
    errno = error;
    return -1;  // better no answer than one by another way
}

int Channel::close_socket(ares_socket_t fd, void* self) {
    auto& channel = *static_cast<Channel*>(self);
    channel.engine_.watch(fd, nullptr, false, false);
    return ::close(fd);
}

int Channel::connect_socket(ares_socket_t fd, const sockaddr* /*address*/, ares_socklen_t /*size*/, void* self) {
    sockaddr_storage storage;
    const auto& pool = static_cast<Channel*>(self)->pool_;
    const auto size = pool.endpoint_.fill(storage);
    // A server on this machine is behind no device; the kernel would put the query on the wire all the same.
    if (size == 0 || (!pool.device_.empty() && pool.device_ != "lo" && pool.endpoint_.is_loopback())) {
        errno = ENETUNREACH;
        return -1;
    }
    return ::connect(fd, reinterpret_cast<const sockaddr*>(&storage), size);
}

ares_ssize_t Channel::receive(ares_socket_t fd, void* buffer, std::size_t size, int flags, sockaddr* from,
                              ares_socklen_t* from_size, void* self) {
    auto& channel = *static_cast<Channel*>(self);
    const bool datagram = from != nullptr;
    if (datagram && channel.received_ && channel.out() <= 1) {  // epoll will say if there is more
        errno = EAGAIN;
        return -1;
    }
    auto count = ::recvfrom(fd, buffer, size, flags, from, from_size);
    if (!datagram || count < 0) return count;
    channel.received_ = true;
    if (count == 0) {  // an empty datagram is not the end of anything
        errno = EAGAIN;
        return -1;
    }
    // c-ares repeats the query without our OPT, and from then on believes that nothing sent in this channel has one.
    if (static_cast<std::size_t>(count) >= header_size && (static_cast<const std::uint8_t*>(buffer)[3] & 15) == formerr)
        channel.spoilt_ = true;
    return count;
}

ares_ssize_t Channel::transmit(ares_socket_t fd, const iovec* parts, int count, void* /*self*/) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<std::size_t>(count);
    return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

void Channel::socket_state(void* self, ares_socket_t fd, int readable, int writable) {
    auto& channel = *static_cast<Channel*>(self);
    channel.engine_.watch(fd, &channel, readable != 0, writable != 0);
}

// --- ChannelPool ---

ChannelPool::ChannelPool(Engine& engine, Endpoint endpoint, std::string device)
    : engine_(engine),
      endpoint_(std::move(endpoint)),
      device_(std::move(device)),
      sweep_([](void* self) { static_cast<ChannelPool*>(self)->sweep(); }, this) {}

ChannelPool::~ChannelPool() {
    std::erase_if(engine_.discarded_, [this](const auto& channel) { return &channel->pool_ == this; });
}

Channel* ChannelPool::add() {
    if (all_.size() >= full_channels) return nullptr;
    if (all_.size() >= least_channels && engine_.channels() >= all_channels) return nullptr;
    auto channel = Channel::open(engine_, *this);
    if (!channel) return nullptr;
    all_.push_back(std::move(channel));
    return all_.back().get();
}

/// An idle channel (its port will be new); else a further one; else the one that was shared longest ago; else one in
/// which nothing is awaited. Once there is no idle one, all in sharing_ are busy.
Channel* ChannelPool::pick() {
    if (!idle_.empty()) {
        Channel* channel = idle_.back();
        idle_.pop_back();
        return channel;
    }
    if (all_.size() < own_port_channels) {
        if (Channel* channel = add()) return channel;
    }
    while (!sharing_.empty() && sharing_.front()->spoilt_) take_shared();
    if (!sharing_.empty() && sharing_.front()->awaited() < comfortable_sharing) return take_shared();
    if (Channel* channel = add()) return channel;
    return sharing_.empty() ? take_abandoned() : take_shared();
}

Channel* ChannelPool::take_shared() {
    Channel* channel = sharing_.front();
    sharing_.pop_front();
    channel->shares_ = false;
    return channel;
}

/// One that has sent all it may and only waits for what nobody else waits for.
Channel* ChannelPool::take_abandoned() {
    const auto found =
        std::find_if(all_.begin(), all_.end(), [](const auto& one) { return one->awaited() == 0 && !one->spoilt_; });
    if (found == all_.end()) return nullptr;
    Channel& channel = **found;
    out_ -= channel.out();
    abandoned_ -= channel.out();
    ares_cancel(channel.ares_);
    channel.sent_ = 0;
    channel.tcp_ = false;
    return &channel;
}

bool ChannelPool::send(std::unique_ptr<Attempt>& attempt, Bytes query) {
    Channel* channel = pick();
    if (channel == nullptr) return false;
    ++out_;
    if (!sweep_.pending()) engine_.wheel().set(sweep_, Channel::patience);
    channel->send(std::move(attempt), query);
    return true;
}

/// Others may use it as well, if there is room in it.
void ChannelPool::share(Channel& channel) {
    if (channel.shares_ || channel.spoilt_) return;
    if (channel.awaited() >= most_sharing || channel.sent_ >= most_sent) return;
    channel.shares_ = true;
    sharing_.push_back(&channel);
}

void ChannelPool::after_abandon(Channel& channel) {
    ++abandoned_;
    share(channel);
}

void ChannelPool::after_end(Channel& channel, bool abandoned) {
    --out_;
    if (abandoned) --abandoned_;
    if (channel.out() == 0) {
        channel.sent_ = 0;  // c-ares closes the sockets now
        channel.tcp_ = false;
        if (channel.spoilt_)
            discard(channel);
        else
            idle_.push_back(&channel);
    } else {
        share(channel);  // room again, perhaps
    }
}

/// Once a second while queries are out: c-ares ends those that are silent; channels of a past rush are given back.
void ChannelPool::sweep() {
    for (std::size_t i = 0; i < all_.size(); ++i) {
        if (all_[i]->out() > 0) all_[i]->process(-1, -1);
    }
    while (all_.size() > own_port_channels && !idle_.empty()) {
        Channel* channel = idle_.back();
        idle_.pop_back();
        discard(*channel);
    }
    if (out_ > 0) engine_.wheel().set(sweep_, sweep_interval);
    engine_.settle();
}

/// Destroyed when c-ares is no longer on the stack.
void ChannelPool::discard(Channel& channel) {
    const auto found = std::find_if(all_.begin(), all_.end(), [&](const auto& one) { return one.get() == &channel; });
    assert(found != all_.end());
    if (channel.shares_) std::erase(sharing_, &channel);
    engine_.discarded_.push_back(std::move(*found));
    *found = std::move(all_.back());
    all_.pop_back();
}

}  // namespace vmrouter::dns
