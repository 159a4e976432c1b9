#include "src/link/tap.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>

#include "src/base/file.hpp"
#include "src/link/bridge.hpp"

namespace vmrouter::link {
namespace {

/// The kernel has one call for "make" and "open", so that an existing tap of that name would be taken over in silence.
Result<FileDescriptor> make_tap(const std::string& name) {
    FileDescriptor tun(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    if (!tun) {
        return Failure{system_error("cannot make taps", errno, "/dev/net/tun", "load the module: modprobe tun")};
    }
    ifreq request{};
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL);
    std::copy(name.begin(), name.end(), std::begin(request.ifr_name));
    if (ioctl(tun.get(), TUNSETIFF, &request) == 0) return tun;
    if (errno == EBUSY || errno == EEXIST) {
        return Failure{Error{"there is an interface of that name already", name, "choose another name for the tap"}};
    }
    return Failure{system_error("cannot create the tap", errno, name)};
}

}  // namespace

Result<void> create_tap(Netlink& netlink, std::string_view name, uid_t owner) {
    const std::string text(name);
    if (text.empty() || text.size() >= IFNAMSIZ)
        return Failure{Error{"an interface name has 1 to 15 characters", text, {}}};
    auto tun = make_tap(text);
    if (!tun) return Failure{std::move(tun).error()};
    // Until it is persistent, closing the descriptor removes it again: a failure leaves nothing.
    if (ioctl(tun->get(), TUNSETOWNER, owner) != 0)
        return Failure{system_error("cannot give the tap to its user", errno, text)};
    if (auto marked = mark_as_ours(netlink, name); !marked) return marked;
    if (ioctl(tun->get(), TUNSETPERSIST, 1) != 0) return Failure{system_error("cannot keep the tap", errno, text)};
    return {};
}

}  // namespace vmrouter::link
