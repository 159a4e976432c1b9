#pragma once

#include <string>

#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// What was done for `checksum_fill`, for the record of changes.
struct ChecksumFill {
    bool created_table = false;  ///< ip mangle did not exist
    bool created_chain = false;  ///< nor its POSTROUTING

    friend bool operator==(const ChecksumFill&, const ChecksumFill&) = default;
};

/// Has the kernel complete the UDP checksum of DHCP replies that other programs on this host send out of `interface`,
/// by the rule that iptables shows as "-o IFACE -p udp --dport 68 -j CHECKSUM --checksum-fill" (table ip mangle, the
/// only place where the kernel takes that target). Does nothing when the rule is there. Our own replies never need it.
Result<ChecksumFill> fill_checksums(const std::string& interface);

/// Removes the rule, and chain and table if `made` says that they are ours and they are empty now.
Result<void> stop_filling_checksums(const std::string& interface, const ChecksumFill& made);

}  // namespace vmrouter::firewall
