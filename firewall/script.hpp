#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firewall/sets.hpp"

namespace vmrouter::firewall {

/// Writes nft text with indentation and comments, for people to read.
class Script {
public:
    void open(const std::string& head) {
        line(head + " {");
        ++depth_;
    }
    void close() {
        --depth_;
        line("}");
    }
    void line(const std::string& text) { text_.append(text.empty() ? 0 : depth_ * 4, ' ').append(text).append("\n"); }
    void comment(std::string_view text) { line("# " + std::string(text)); }
    void gap() { text_ += '\n'; }

    /// A chain of rules: its purpose as a comment, then one line a rule.
    void chain(const std::string& name, std::string_view purpose, const std::vector<std::string>& rules);
    /// A chain that the kernel calls: `hook` is "filter hook forward priority filter - 10".
    void base_chain(const std::string& name, const std::string& hook, std::string_view purpose,
                    const std::vector<std::string>& rules);
    void counter(const std::string& name) { line("counter " + name + " { }"); }
    void set(const Set& set);

    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    std::string text_;
    std::size_t depth_ = 0;
};

/// Why a packet does not go on. The name is the counter's, the log prefix's and the chain's.
struct Reason {
    /// Refuse: with an ICMP error or a reset, limited for each guest. RefuseProcess: the same towards a process of this
    /// machine, without a limit. Drop: silently.
    enum class Answer { Refuse, RefuseProcess, Drop };
    enum class Log { No, PerGuest, Plain };  ///< PerGuest: limited for each Ethernet source
    std::string_view name;
    Answer answer;
    Log log;
    std::string_view purpose;
};

/// The chain for a reason: "vm_refuse_lan", "vm_drop_spoofed".
std::string chain_of(const Reason& reason);
/// Declares what the chains of the reasons need (counters, the set that limits the log), then the chains.
void add_reason_objects(Script& script, const Policy& policy, const std::vector<Reason>& reasons);
void add_reason_chains(Script& script, const Policy& policy, const std::vector<Reason>& reasons);

/// Guards that two families share, on packets from guests. `ours` is our address on the segment.
std::vector<std::string> source_guard(const Segment& segment, const Reason& spoofed);
std::vector<std::string> arp_guard(const Segment& segment, const Reason& forged);

/// Whether guests could make up more addresses than the kernel keeps neighbours for (1024 for all interfaces,
/// gc_thresh3): the last step of a guard then counts those that nobody leased.
bool counts_neighbours(const Segment& segment);
/// The last rules of a guard: `source` ("ip saddr") passes when it is leased or among the few unleased ones.
std::vector<std::string> neighbour_guard(const Segment& segment, const std::string& source, const Reason& crowd);
/// Those that were heard of within a minute.
Set unleased_set();

/// Our tables below IP: the bridge's ports, ARP, the ingress of an interface.
void add_bridge_table(Script& script, const Policy& policy, const std::string& table);
void add_arp_table(Script& script, const Policy& policy, const std::string& table);
void add_netdev_table(Script& script, const Policy& policy, const std::string& table);

/// What confines the sockets of user-mode guests: counter, chains and their rule in the output hook.
void add_usermode_objects(Script& script, const Policy& policy);
void add_usermode_chains(Script& script, const Policy& policy);

}  // namespace vmrouter::firewall
