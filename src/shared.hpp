#pragma once

// What instances on one machine share: the folder /run/vmrouter. An instance is alive while it holds the lock on
// NAME.lock; the file `shared` (guarded by a lock on `shared-lock`) lists the instances and says which of them needs
// which sysctl and what its value was before the first of them, so that the first to stop does not break the second and
// the last one restores. An instance that was killed no longer counts, but the values from before it are kept; one that
// left its segment up on purpose (on_exit = "keep") counts until it is undone. Root alone can open the files that are
// locked: who can read a file can lock it.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/ip4.hpp"
#include "src/base/result.hpp"
#include "src/changes.hpp"
#include "src/link/sysctl.hpp"

namespace vmrouter {

/// An instance as `shared` knows it.
struct SharedInstance {
    std::string name;
    std::string segment;
    std::optional<Cidr> network;
    bool alive = false;  ///< it runs, or what it made was left up on purpose
    bool runs = false;
    friend bool operator==(const SharedInstance&, const SharedInstance&) = default;
};

/// Sysctl access, so that tests need no kernel; the default reads and writes /proc/sys.
class SysctlAccess {
public:
    virtual ~SysctlAccess() = default;
    /// nullopt: there is none (its interface is gone).
    virtual std::optional<std::string> read(const std::string& path);
    /// `still_holds`, when there is one, is asked once the setting is open: see link::write_sysctl().
    virtual Result<void> write(const std::string& path, std::string_view value,
                               const std::function<bool()>& still_holds);
};

class Shared {
public:
    /// State below `folder` ("/run/vmrouter") as seen by `instance`, whose InstanceLock the caller holds. Nothing is
    /// opened or created yet.
    Shared(std::string folder, std::string instance, SysctlAccess& access)
        : folder_(std::move(folder)), instance_(std::move(instance)), access_(access) {}

    /// Lists this instance with its segment, or changes what is listed. Refused, naming it, when another living
    /// instance in this network namespace has a network that overlaps `network`.
    Result<void> join(std::string_view segment, std::optional<Cidr> network);
    /// Those of this network namespace that are listed, in the order they joined, killed ones included (`alive` tells).
    [[nodiscard]] Result<std::vector<SharedInstance>> instances() const;

    /// Sets a sysctl and notes that this instance needs it. Before the write `changes` records the value from before
    /// the first instance. Nothing is recorded when it has the value and no instance made it so, or when it belongs to
    /// a link that `changes` says is ours (it goes with the link). `still_holds`, when there is one, says whether the
    /// interface is still the device that `changes` is about; when it is not, nothing is recorded or set, and that is
    /// an error.
    Result<void> need_sysctl(Changes& changes, const link::Sysctl& wanted,
                             const std::function<bool()>& still_holds = {});

    /// This instance no longer needs it: the value from before the first instance is put back if no other living
    /// instance needs it and it still has our value. `change` is what need_sysctl() recorded, for the case that
    /// `shared` is gone. The undo of SetSysctl. An interface's forwarding stays when net.ipv4.ip_forward was 0 before
    /// the first instance and is 1 now: somebody else counts on it.
    Result<void> release_sysctl(const SetSysctl& change);

    /// The setting went with its interface: nothing is written, and what it was before is forgotten.
    Result<void> forget_sysctl(const std::string& path);

    /// As release_sysctl(), for all that `changes` has recorded of one interface (an uplink that is none any more),
    /// which then is forgotten.
    Result<void> release_interface(Changes& changes, std::string_view interface);

    /// For what instances make together and the last one removes (a folder, a table that several put rules into):
    /// whether `thing` was there before the first of them. That is what an earlier instance noted, otherwise
    /// `there_now`. Held until leave().
    Result<bool> found_before(std::string_view thing, bool there_now);

    /// For what serves every instance that counts on it (a rule in somebody else's chain): this one does until
    /// release() or leave(). Whether it did not before: then what it saw earlier may be gone, and it must look again.
    Result<bool> count_on(std::string_view thing);
    /// It counts on it no longer. When no living instance does, `remove` is run, and none can begin to meanwhile.
    Result<void> release(std::string_view thing, const std::function<Result<void>()>& remove);

    /// This instance ends and what it made stays: it counts as before until it joins again or leaves.
    Result<void> keep();

    /// Takes this instance off the list; the last one that leaves removes the files.
    Result<void> leave();

private:
    struct Content;
    [[nodiscard]] Result<Content> load() const;
    [[nodiscard]] Result<void> save(const Content& content) const;
    [[nodiscard]] bool runs(const std::string& instance) const;
    [[nodiscard]] bool is_alive(const Content& content, const std::string& instance) const;
    [[nodiscard]] bool is_one_alive(const Content& content, const std::vector<std::string>& instances) const;

    std::string folder_;
    std::string instance_;
    SysctlAccess& access_;
};

}  // namespace vmrouter
