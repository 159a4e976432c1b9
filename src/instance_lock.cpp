#include "src/instance_lock.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

constexpr std::string_view kLockSuffix = ".lock";
/// The sticky bit says that an instance made the folder. It comes and goes with the folder, so that no kill can fall
/// between the two.
constexpr mode_t kMadeByUs = S_ISVTX;
constexpr int kAttempts = 16;

std::string lock_path(const std::string& folder, std::string_view name) {
    return folder + "/" + std::string(name) + std::string(kLockSuffix);
}

struct flock whole_file(short type) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return lock;
}

/// Open file description locks: asking for one does not take it, children that inherit the descriptor keep it, and
/// closing another descriptor of the file does not lose it (as it does with classic POSIX locks).
bool try_lock(int fd) {
    struct flock lock = whole_file(F_WRLCK);
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

bool is_locked(int fd) {
    struct flock lock = whole_file(F_WRLCK);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

pid_t pid_in(int fd) {
    char text[32] = {};
    const auto got = pread(fd, text, sizeof text, 0);
    const std::string_view content(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    return static_cast<pid_t>(parse_number(trim(content), INT32_MAX).value_or(0));
}

Result<void> make_folder(const std::string& folder) {
    if (const auto slash = folder.rfind('/'); slash != std::string::npos && slash > 0)
        if (auto made = make_directories(folder.substr(0, slash)); !made) return made;
    if (mkdir(folder.c_str(), 0755 | kMadeByUs) == 0 || errno == EEXIST) return {};
    return Failure{system_error("cannot create the folder", errno, folder)};
}

struct CloseFolder {
    void operator()(DIR* folder) const { closedir(folder); }
};

std::vector<std::string> names_in(const std::string& path) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, CloseFolder> folder(opendir(path.c_str()));
    if (!folder) return names;
    while (const dirent* entry = readdir(folder.get())) {
        const std::string_view name(&entry->d_name[0]);
        if (name != "." && name != "..") names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

Error already_running(std::string_view name, pid_t pid) {
    const std::string who = pid > 0 ? " (pid " + std::to_string(pid) + ")" : "";
    return {"vmrouter already serves " + std::string(name) + who, std::string(name),
            "stop it first" + (pid > 0 ? ": kill " + std::to_string(pid) : std::string())};
}

}  // namespace

FileDescriptor open_lock_file(const std::string& path) {
    constexpr mode_t owner_only = 0600;
    FileDescriptor file(open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, owner_only));
    if (file && fchmod(file.get(), owner_only) != 0) file.reset();  // one that was there may be open to all
    return file;
}

bool is_file_at(const std::string& path, int fd) {
    struct stat opened {};
    struct stat named {};
    return fstat(fd, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
           opened.st_dev == named.st_dev;
}

Result<InstanceLock> InstanceLock::take(const std::string& folder, std::string_view name) {
    const std::string path = lock_path(folder, name);
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        if (auto made = make_folder(folder); !made) return Failure{std::move(made).error()};
        FileDescriptor file = open_lock_file(path);
        if (!file && errno == ENOENT) continue;  // the last one to leave removed the folder just now
        if (!file) return Failure{system_error("cannot create the lock file", errno, path)};
        if (!try_lock(file.get())) return Failure{already_running(name, pid_in(file.get()))};
        if (!is_file_at(path, file.get())) continue;
        const std::string pid = std::to_string(getpid()) + "\n";
        if (ftruncate(file.get(), 0) != 0 || write_all(file.get(), pid) != 0)
            return Failure{system_error("cannot write the lock file", errno, path)};
        return InstanceLock(folder, path, std::move(file));
    }
    return Failure{Error{"the lock file is removed again and again", path, {}}};
}

InstanceLock::~InstanceLock() {
    if (!file_) return;
    unlink(path_.c_str());
    remove_empty_folder(folder_);
}

void remove_empty_folder(const std::string& folder) {
    struct stat info {};
    if (lstat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || (info.st_mode & kMadeByUs) == 0) return;
    // An instance that starts at this moment finds the folder gone, or its lock file in it keeps the folder: both are
    // fine.
    rmdir(folder.c_str());
}

std::optional<pid_t> running_instance(const std::string& folder, std::string_view name) {
    const FileDescriptor file(open(lock_path(folder, name).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (!file || !is_locked(file.get())) return std::nullopt;
    return pid_in(file.get());
}

std::vector<std::string> running_instances(const std::string& folder) {
    std::vector<std::string> running;
    for (const auto& name : names_in(folder)) {
        if (!name.ends_with(kLockSuffix)) continue;
        const std::string instance = name.substr(0, name.size() - kLockSuffix.size());
        if (running_instance(folder, instance)) running.push_back(instance);
    }
    return running;
}

}  // namespace vmrouter
