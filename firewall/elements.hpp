#pragma once

// Set elements written directly, three netlink messages instead of a run of libnftables, which reads back every element
// of the table first: the cost of a lease must not grow with the number of leases.

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"

namespace vmrouter::firewall {

/// An element to add to a set, or to take out of it.
struct ElementChange {
    enum class Action { Add, Delete };
    Action action = Action::Add;
    std::uint8_t family = 0;  ///< NFPROTO_*
    std::string set;
    std::vector<std::uint8_t> key;         ///< as the kernel stores it: see the functions below
    std::chrono::milliseconds timeout{0};  ///< 0: none
};

/// The key of an address; of parts of a concatenation, each padded to four bytes.
std::vector<std::uint8_t> element_key(Ipv4 address);
std::vector<std::uint8_t> element_key(const MacAddress& mac);
std::vector<std::uint8_t> element_key(const MacAddress& mac, Ipv4 address);
std::vector<std::uint8_t> element_key(const MacAddress& mac, const std::string& interface);

/// Sends changes as one transaction, over one socket that stays open.
class ElementWriter {
public:
    /// All of it or nothing. 0, or the kernel's errno: adding what is there is no error, deleting what is not there is
    /// ENOENT, a full set is ENFILE. An Error means that the conversation itself failed.
    Result<int> write(const std::string& table, const std::vector<ElementChange>& changes);

private:
    FileDescriptor socket_;
};

}  // namespace vmrouter::firewall
