#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "src/base/result.hpp"

namespace vmrouter {

/// Owns a file descriptor.
class FileDescriptor {
public:
    FileDescriptor() = default;
    explicit FileDescriptor(int fd) : fd_(fd) {}
    FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept;
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    void reset();
    explicit operator bool() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

/// The whole file; an error when it cannot be read or is larger than `limit` bytes.
Result<std::string> read_file(const std::string& path, std::size_t limit = std::size_t{64} << 20);

/// As read_file, for files of ours in folders that others may write to as well: nullopt when there is none; a link or
/// anything but a regular file at the last component of the path is an error, and is neither followed nor waited for.
Result<std::optional<std::string>> read_own_file(const std::string& path, std::size_t limit = std::size_t{64} << 20);

/// Writes all of `data`, going on after short writes and EINTR. 0, or the errno of the write that failed.
int write_all(int fd, std::string_view data);

/// Replaces `path` as a whole: temporary file beside it, fsync, rename, fsync of the folder. A reader that opens by
/// path sees the old file or the new one, never a part; after an error the old one is still there. Existing links at
/// the temporary name are not followed.
Result<void> replace_file(const std::string& path, std::string_view data, mode_t mode = 0644);

/// As replace_file, without the two fsync calls: for files whose loss in a power cut costs nothing (snapshots, /run).
Result<void> replace_file_unsynced(const std::string& path, std::string_view data, mode_t mode = 0644);

/// Creates `path` and its missing parents (mode 0755). `created`, when given, receives the topmost folder that was made
/// (empty: none), for whoever must remove it again.
Result<void> make_directories(const std::string& path, std::string* created = nullptr);

}  // namespace vmrouter
