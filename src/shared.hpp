#pragma once

// What instances on one machine share: /run/vmrouter. An instance is alive while it holds the lock on NAME.lock;
// `shared` (guarded by a lock on the folder) says which instance needs which sysctl and what its value was before the
// first of them, so that the first to stop does not break the second and the last one restores.

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"
#include "src/changes.hpp"

namespace vmrouter {

/// The right to run as one instance; given up by destruction or by the end of the process, however it ends.
class InstanceLock {
public:
    /// Creates `folder` and `folder`/NAME.lock. Refused, naming the other's process id, while another process has it.
    static Result<InstanceLock> take(const std::string& folder, std::string_view name);

    InstanceLock(InstanceLock&&) noexcept = default;
    InstanceLock& operator=(InstanceLock&&) noexcept = default;
    ~InstanceLock();  ///< removes the lock file

private:
    InstanceLock(std::string path, FileDescriptor file) : path_(std::move(path)), file_(std::move(file)) {}
    std::string path_;
    FileDescriptor file_;
};

/// The process that runs as `name` now; nullopt when none does.
std::optional<pid_t> running_instance(const std::string& folder, std::string_view name);

/// An instance as `shared` knows it.
struct SharedInstance {
    std::string name;
    std::string segment;
    bool alive = false;
    friend bool operator==(const SharedInstance&, const SharedInstance&) = default;
};

/// Sysctl access, so that tests need no kernel; the default reads and writes /proc/sys.
class SysctlAccess {
public:
    virtual ~SysctlAccess() = default;
    /// nullopt: there is none (its interface is gone).
    virtual std::optional<std::string> read(const std::string& path);
    virtual Result<void> write(const std::string& path, std::string_view value);
};

class Shared {
public:
    /// State below `folder` ("/run/vmrouter") as seen by `instance`, whose InstanceLock the caller holds. Nothing is
    /// opened or created yet.
    Shared(std::string folder, std::string instance, SysctlAccess& access);

    /// Lists this instance with its segment.
    Result<void> join(std::string_view segment);
    /// Everybody that is listed, in the order they joined.
    Result<std::vector<SharedInstance>> instances() const;

    /// Sets `path` to `value` and notes that this instance needs it. `changes` records the value from before the first
    /// instance, before the write. Nothing happens, and nothing is recorded, when it has the value and no other
    /// instance made it so.
    Result<void> need_sysctl(Changes& changes, const std::string& path, std::string_view value);

    /// This instance no longer needs it: the value from before the first instance is put back if no other living
    /// instance needs it and it still has our value. `change` is what need_sysctl() recorded, for the case that
    /// `shared` is gone. The undo of SetSysctl.
    Result<void> release_sysctl(const SetSysctl& change);

    /// Removes this instance; the last one that leaves removes the file.
    Result<void> leave();

private:
    std::string folder_;
    std::string instance_;
    SysctlAccess& access_;
};

}  // namespace vmrouter
