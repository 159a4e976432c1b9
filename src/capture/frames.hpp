#pragma once

// Frames as they pass an interface, both ways, with the kernel's time stamps. No promiscuous mode: a bridge's port sees
// everything of its guest anyway.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"
#include "src/capture/filter.hpp"
#include "src/capture/pcapng.hpp"

namespace vmrouter::recording {

struct Frame {
    Bytes data;                         ///< with its VLAN tag; valid during the call
    std::uint32_t original_length = 0;  ///< may be more than was kept
    pcapng::Timestamp time = 0;
    bool outbound = false;  ///< sent by the host (or forwarded to the guest), not received from the interface
};

/// What the kernel counted on one socket.
struct Counts {
    std::uint64_t received = 0;
    std::uint64_t dropped = 0;
};

class FrameSocket {
public:
    /// Needs CAP_NET_RAW.
    static Result<FrameSocket> open(int interface_index, const std::string& name, const Filter& filter);

    /// Everything that waits, without waiting; false when the interface is gone. `buffer` is used again and again.
    bool read(std::vector<std::uint8_t>& buffer, const std::function<void(const Frame&)>& each);
    [[nodiscard]] int descriptor() const { return socket_.get(); }
    /// Since the socket was opened.
    Counts counts();

private:
    explicit FrameSocket(FileDescriptor socket) : socket_(std::move(socket)) {}

    FileDescriptor socket_;
    Counts counts_;
};

}  // namespace vmrouter::recording
