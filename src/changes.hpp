#pragma once

// The record of every change to the machine, on disk before the change is made: /run/vmrouter/NAME.changes, a JSON
// object a line. On the way out, after a failure half-way, and in `vmrouter down` after a kill, it is undone newest
// first. A change that was recorded but never made must be harmless to undo; every kind says how.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/ip6.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// A bridge or tap that we made. Undo: deleted, if it still carries our alias or this MAC.
struct CreatedLink {
    std::string name;
    MacAddress mac;
    friend bool operator==(const CreatedLink&, const CreatedLink&) = default;
};
/// A link that was down. Undo: down again.
struct SetLinkUp {
    std::string name;
    friend bool operator==(const SetLinkUp&, const SetLinkUp&) = default;
};
/// Undo: the old MTU, if it still has ours.
struct SetMtu {
    std::string name;
    std::uint32_t before = 0;
    std::uint32_t ours = 0;
    friend bool operator==(const SetMtu&, const SetMtu&) = default;
};
/// Undo: removed.
struct AddedAddress {
    std::string link;
    Cidr address;
    friend bool operator==(const AddedAddress&, const AddedAddress&) = default;
};
/// An IPv6 address of an interface that goes with disable_ipv6; recorded before that sysctl. Undo: added again, a
/// link-local one in place of the one that the kernel makes then.
struct RemovedAddress6 {
    std::string link;
    Ipv6 address;
    std::uint8_t length = 128;
    std::uint32_t flags = 0;  ///< link::Address6::flags
    friend bool operator==(const RemovedAddress6&, const RemovedAddress6&) = default;
};
/// An IPv6 route that somebody set through an interface; it goes with disable_ipv6, and is recorded before that and
/// before the addresses, so that its gateway can be reached again when it is put back. Undo: added again.
struct RemovedRoute6 {
    std::string link;
    Ipv6 destination;
    std::uint8_t length = 0;
    std::string message;  ///< link::KeptRoute6::message
    friend bool operator==(const RemovedRoute6&, const RemovedRoute6&) = default;
};
/// Undo: taken off, if it is on this bridge.
struct EnslavedPort {
    std::string port;
    std::string bridge;
    friend bool operator==(const EnslavedPort&, const EnslavedPort&) = default;
};
/// The port was not isolated. Undo: not isolated again.
struct IsolatedPort {
    std::string port;
    friend bool operator==(const IsolatedPort&, const IsolatedPort&) = default;
};
/// Undo: `before` again, if it still has `ours` and no other living instance needs it.
struct SetSysctl {
    std::string path;  ///< below /proc/sys
    std::string before;
    std::string ours;
    friend bool operator==(const SetSysctl&, const SetSysctl&) = default;
};
/// `iif SEGMENT fwmark 0/MARK to PREFIX prohibit`. Undo: every such rule of the segment is removed, whatever its prefix
/// (the list follows the host's networks, the record need not).
struct AddedGuardRules {
    std::string segment;
    std::uint32_t mark = 0;
    friend bool operator==(const AddedGuardRules&, const AddedGuardRules&) = default;
};
/// An nftables table. Undo: deleted.
struct CreatedTable {
    std::string family;  ///< "inet", "bridge", "arp", "ip"
    std::string name;
    friend bool operator==(const CreatedTable&, const CreatedTable&) = default;
};
/// One rule of ours at the head of another program's chain. Undo: removed, found by its comment, never by a handle
/// alone.
struct InsertedRule {
    std::string family;
    std::string table;
    std::string chain;
    std::string comment;
    std::uint32_t mark = 0;  ///< that it accepts
    friend bool operator==(const InsertedRule&, const InsertedRule&) = default;
};
/// The rule of table ip mangle that completes the checksums of other programs' DHCP replies to a segment. Undo:
/// removed, with the chain and the table when they were not there before and are empty.
struct FilledChecksums {
    std::string link;
    bool created_table = false;
    bool created_chain = false;
    friend bool operator==(const FilledChecksums&, const FilledChecksums&) = default;
};
/// A file that was not there. Undo: removed.
struct CreatedFile {
    std::string path;
    friend bool operator==(const CreatedFile&, const CreatedFile&) = default;
};
/// A folder that was not there. Undo: removed if it is empty.
struct CreatedFolder {
    std::string path;
    friend bool operator==(const CreatedFolder&, const CreatedFolder&) = default;
};
/// Another program was told something at run time. Undo: told back; `program` decides how ("NetworkManager",
/// "systemd-networkd", "systemd-resolved", "firewalld").
struct ToldProgram {
    std::string program;
    std::string link;
    std::string before;  ///< what it said before, in the program's own words; may be empty
    friend bool operator==(const ToldProgram&, const ToldProgram&) = default;
};

using Change = std::variant<CreatedLink, SetLinkUp, SetMtu, AddedAddress, RemovedAddress6, RemovedRoute6, EnslavedPort,
                            IsolatedPort, SetSysctl, AddedGuardRules, CreatedTable, InsertedRule, FilledChecksums,
                            CreatedFile, CreatedFolder, ToldProgram>;

/// "created the bridge virbr10", "set net.ipv4.conf.eth0.forwarding from 0 to 1": for logs and `plan`.
std::string to_string(const Change& change);
/// What undoing it does: "delete the bridge virbr10".
std::string describe_undo(const Change& change);

std::string to_json(const Change& change);                 ///< one line, without the newline
std::optional<Change> change_from_json(std::string_view);  ///< nullopt for a torn or foreign line

/// Makes changes undone; the privileged half of the program, or a test.
class Undoer {
public:
    virtual ~Undoer() = default;
    /// Success when the machine is as before the change, also when somebody else has seen to that, or when the change
    /// was never made.
    virtual Result<void> undo(const Change& change) = 0;
};

/// The record of one instance.
class Changes {
public:
    /// An older record at `path` (of an instance that was killed) is taken over: its changes stay first. One of an
    /// earlier boot keeps only the files and folders; kernel state went with the reboot.
    static Result<Changes> open(std::string path);

    /// Must succeed before the change is made. A change that is recorded already is not recorded again, and the
    /// `before` of the first record of a sysctl or MTU stays: it is what was there before the first start.
    Result<void> record(const Change& change);

    /// The change is undone or was never made; nothing when it is not in the record.
    Result<void> forget(const Change& change);

    /// Undoes everything, newest first, and goes on after errors. What could not be undone stays in the record; when
    /// nothing is left, the file is removed.
    std::vector<Error> undo_all(Undoer& undoer);
    /// As undo_all(), down to (not including) the `keep` oldest changes: the way back from a failure half-way.
    std::vector<Error> undo_down_to(std::size_t keep, Undoer& undoer);

    [[nodiscard]] const std::vector<Change>& all() const { return changes_; }
    /// Lines of an older record that could not be read (at most one, torn by a kill, is normal).
    [[nodiscard]] std::size_t unreadable() const { return unreadable_; }

private:
    explicit Changes(std::string path) : path_(std::move(path)) {}
    Result<void> rewrite() const;

    std::string path_;
    std::vector<Change> changes_;
    std::size_t unreadable_ = 0;
};

}  // namespace vmrouter
