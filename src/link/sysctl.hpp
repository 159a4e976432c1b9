#pragma once

// Kernel settings of single interfaces, as files below /proc/sys. ip_forward and the `all` and `default` branches are
// never written: writing ip_forward back does not undo it (it resets forwarding of every interface and
// accept_redirects).

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter::link {

struct Sysctl {
    std::string path;  ///< below /proc/sys, slashes: "net/ipv4/conf/eth0.5/forwarding" (interface names may have dots)
    std::string value;
    bool optional = false;  ///< not there on every kernel (IPv6 disabled): then there is nothing to set
    friend bool operator==(const Sysctl&, const Sysctl&) = default;
};

/// Everything but forwarding that a segment needs, to be set before it is up. `check_sources`: strict rp_filter as
/// well.
std::vector<Sysctl> segment_sysctls(std::string_view segment, bool check_sources);
/// No IPv6 of this host on a port of the segment's bridge.
Sysctl port_silence(std::string_view port);
/// Forwarding on the segment, to be set last.
std::vector<Sysctl> segment_forwarding(std::string_view segment);
/// Forwarding for the answers, and marks valid in the look-ups of rp_filter (the guard rules need that).
std::vector<Sysctl> uplink_sysctls(std::string_view uplink);

/// The value without its newline.
Result<std::string> read_sysctl(const std::string& path);
Result<void> write_sysctl(const std::string& path, std::string_view value);
/// Only if `still_holds` says so once the setting is open: an open setting is one of that very device, and when the
/// device goes or gets another name, nothing is written to the one that comes in its place.
Result<void> write_sysctl(const std::string& path, std::string_view value, const std::function<bool()>& still_holds);
/// The interface in "net/ipv4/conf/NAME/key" and "net/ipv6/conf/NAME/key"; empty for other paths.
std::string_view interface_in(std::string_view path);
/// False also when its interface is gone.
bool sysctl_exists(const std::string& path);

}  // namespace vmrouter::link
