#pragma once

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "src/base/wire.hpp"

namespace vmrouter::firewall {

/// One netfilter message under construction (libnl's buffer).
class NetfilterMessage {
public:
    /// `family` and `resource` go into the nfgenmsg header.
    NetfilterMessage(std::uint16_t subsystem, std::uint16_t type, int flags, std::uint8_t family,
                     std::uint16_t resource = 0);

    [[nodiscard]] nl_msg* get() const { return message_.get(); }
    [[nodiscard]] Bytes bytes() const;

private:
    struct Free {
        void operator()(nl_msg* message) const { nlmsg_free(message); }
    };
    std::unique_ptr<nl_msg, Free> message_;
};

/// Attributes of a message of netfilter, by number; null where absent. `count` is the highest number plus one.
std::vector<const nlattr*> netfilter_attributes(const nlmsghdr& message, std::size_t count);
std::vector<const nlattr*> nested_attributes(const nlattr* parent, std::size_t count);

/// The value of an attribute in network byte order; 0 when it is absent or too short.
std::uint32_t attribute_u32(const nlattr* attribute);
std::uint16_t attribute_u16(const nlattr* attribute);
std::uint8_t attribute_u8(const nlattr* attribute);
Bytes attribute_bytes(const nlattr* attribute);

}  // namespace vmrouter::firewall
