#pragma once

// The throw-away guest's end of the cable, and the sockets that watch the rest of this machine. Frames go out and come
// in as they are; no kernel of a guest has a say.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/commands/verify_frames.hpp"
#include "src/link/netlink.hpp"

namespace vmrouter::proof {

/// A frame as a packet socket shows it.
struct Arrived {
    int interface = 0;
    bool outgoing = false;
    std::uint16_t ethertype = 0;
    Bytes bytes;  ///< until the next one
};

/// A veth pair whose far end is in a namespace without a name.
class Cable {
public:
    /// The near end becomes a port of `bridge`.
    static Result<Cable> to_bridge(link::Netlink& netlink, const std::string& bridge, const std::string& name,
                                   const MacAddress& mac);
    /// What is sent into the far end arrives on `interface`, as if it had come in there; what leaves by it is heard.
    static Result<Cable> onto(link::Netlink& netlink, const std::string& interface, const std::string& name,
                              const MacAddress& mac);

    Cable(Cable&& other) noexcept = default;
    Cable& operator=(Cable&& other) = delete;
    Cable(const Cable&) = delete;
    Cable& operator=(const Cable&) = delete;
    ~Cable();  ///< the pair is gone when it returns

    void send(const Frame& frame) const;
    [[nodiscard]] int fd() const { return ears_ ? ears_.get() : socket_.get(); }
    /// What waits, one frame after the other; `bytes` begins with the Ethernet header.
    void receive(const std::function<void(const Arrived&)>& take) const;
    [[nodiscard]] int near_end() const { return index_; }
    [[nodiscard]] const std::string& name() const { return name_; }

private:
    Cable() = default;
    static Result<Cable> make(link::Netlink& netlink, const std::string& name, std::optional<MacAddress> near,
                              const MacAddress& mac);

    link::Netlink* netlink_ = nullptr;
    std::string name_;
    int index_ = 0;
    FileDescriptor space_;
    FileDescriptor socket_;  ///< on the far end
    FileDescriptor ears_;    ///< on the interface, when frames arrive there
};

/// Everything that crosses any interface of this machine, and everything that its sockets get.
class Watch {
public:
    static Result<Watch> open();

    /// `crossed` for each packet on an interface (`bytes` begins with the network header), `reached` for each that came
    /// through the firewall to this machine itself.
    void receive(const std::function<void(const Arrived&)>& crossed,
                 const std::function<void(const Arrived&)>& reached) const;
    [[nodiscard]] std::vector<int> fds() const;
    /// Packets that were not seen because there were too many; from then on silence proves nothing.
    [[nodiscard]] unsigned lost() const;

private:
    FileDescriptor all_;
    std::vector<FileDescriptor> delivered4_;
    std::vector<FileDescriptor> delivered6_;
};

}  // namespace vmrouter::proof
