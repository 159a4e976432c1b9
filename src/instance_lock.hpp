#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter {

/// The right to run as one instance; ends with the object or with the process, however that ends.
class InstanceLock {
public:
    /// Creates `folder` and `folder`/NAME.lock. Refused, naming the other's process id, while another process has it.
    static Result<InstanceLock> take(const std::string& folder, std::string_view name);

    InstanceLock(InstanceLock&&) noexcept = default;
    InstanceLock& operator=(InstanceLock&&) = delete;
    /// Removes the lock file, and the folder when an instance made it and nothing else is left in it.
    ~InstanceLock();

private:
    InstanceLock(std::string folder, std::string path, FileDescriptor file)
        : folder_(std::move(folder)), path_(std::move(path)), file_(std::move(file)) {}

    std::string folder_;
    std::string path_;
    FileDescriptor file_;  ///< empty in a moved-from object
};

/// A file to be locked, made when there is none. Its owner alone may open it: whoever can read a file can lock it.
/// Empty, with errno, when that fails.
FileDescriptor open_lock_file(const std::string& path);

/// Whether `path` still names the open file: its last holder may have removed it between our open and our lock.
bool is_file_at(const std::string& path, int fd);

/// Removes the folder when an instance made it and nothing is left in it: one that was killed could not.
void remove_empty_folder(const std::string& folder);

/// The process that runs as `name` now; nullopt when none does.
std::optional<pid_t> running_instance(const std::string& folder, std::string_view name);

/// The names of the instances that run now, in alphabetical order (for commands without --instance).
std::vector<std::string> running_instances(const std::string& folder);

}  // namespace vmrouter
