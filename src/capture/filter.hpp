#pragma once

// Which frames are captured: those of one guest, those that an expression of pcap-filter(7) matches. libpcap is loaded
// only when there is an expression, so that nobody needs it for the rest.

#include <linux/filter.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/base/wire.hpp"

namespace vmrouter::recording {

class Filter {
public:
    /// `expression` may be empty. The error is libpcap's own when it does not compile.
    static Result<Filter> make(const std::optional<MacAddress>& guest, const std::string& expression);

    /// Whether the frame is wanted. Its VLAN tag is where it was on the wire.
    [[nodiscard]] bool matches(Bytes frame, std::size_t original_length) const;
    /// What the kernel may leave out already; empty: nothing. A frame with a VLAN tag always passes here, because the
    /// kernel looks at it without the tag.
    [[nodiscard]] const std::vector<sock_filter>& kernel_program() const { return kernel_; }

private:
    Filter() = default;
    struct Program;

    std::optional<MacAddress> guest_;
    std::shared_ptr<const Program> program_;  ///< null without an expression
    std::vector<sock_filter> kernel_;
};

}  // namespace vmrouter::recording
