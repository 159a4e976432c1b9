#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace vmrouter::managers {

struct Process {
    pid_t pid = 0;
    std::string program;             ///< /proc/PID/comm: at most 15 characters
    std::vector<std::string> words;  ///< its command line
    friend bool operator==(const Process&, const Process&) = default;
};

/// The processes that we may see and that are in our network namespace (a manager in another one manages other links),
/// by /proc or what a test puts in its place.
std::vector<Process> processes(const std::string& proc = "/proc");

/// Whether a program of that name runs; names are cut as the kernel cuts them.
bool is_running(const std::vector<Process>& processes, std::string_view program);

/// DHCP clients that were started for `link` or for all links (dhclient, dhcpcd, udhcpc, pump: ifupdown starts them):
/// they put their address on the segment, and may take ours away when their lease ends.
std::vector<Process> dhcp_clients(const std::vector<Process>& processes, std::string_view link);

/// The lines "iface LINK ..." of ifupdown's configuration as "file:line", in what it includes as well; not those that
/// say "manual".
std::vector<std::string> ifupdown_mentions(std::string_view link, const std::string& file = "/etc/network/interfaces");

}  // namespace vmrouter::managers
