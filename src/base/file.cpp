#include "src/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace vmrouter {
namespace {

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> replace(const std::string& path, std::string_view data, mode_t mode, bool durable) {
    const std::string temporary = path + ".new";
    if (unlink(temporary.c_str()) != 0 && errno != ENOENT)
        return Failure{system_error("cannot remove an old temporary file", errno, temporary)};
    {
        FileDescriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
        if (!file) return Failure{system_error("cannot create the file", errno, temporary)};
        int failed = fchmod(file.get(), mode) == 0 ? 0 : errno;  // the umask must not decide
        if (failed == 0) failed = write_all(file.get(), data);
        if (failed == 0 && durable && fsync(file.get()) != 0) failed = errno;
        if (failed != 0) {
            unlink(temporary.c_str());
            return Failure{system_error("cannot write the file", failed, temporary)};
        }
    }
    if (rename(temporary.c_str(), path.c_str()) != 0) {
        const int failed = errno;
        unlink(temporary.c_str());
        return Failure{system_error("cannot replace the file", failed, path)};
    }
    if (durable) {
        FileDescriptor folder(open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!folder || fsync(folder.get()) != 0)
            return Failure{system_error("cannot make the new file's name durable", errno, path)};
    }
    return {};
}

Result<std::string> read_all(int fd, const std::string& path, std::size_t limit) {
    std::string content;
    char chunk[16384];
    for (;;) {
        const auto got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Failure{system_error("cannot read the file", errno, path)};
        if (got == 0) return content;
        if (content.size() + static_cast<std::size_t>(got) > limit)
            return Failure{Error{"the file is larger than " + std::to_string(limit) + " bytes", path, {}}};
        content.append(chunk, static_cast<std::size_t>(got));
    }
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
    if (this != &other) {
        reset();
        fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
}

void FileDescriptor::reset() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
    FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return Failure{system_error("cannot open the file", errno, path)};
    return read_all(file.get(), path, limit);
}

Result<std::optional<std::string>> read_own_file(const std::string& path, std::size_t limit) {
    // O_NONBLOCK: opening a FIFO that somebody left there must not wait for its writer.
    FileDescriptor file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file && errno == ENOENT) return std::optional<std::string>{};
    if (!file && errno == ELOOP)
        return Failure{Error{"refusing to follow a symbolic link", path, "remove the link, or name the real file"}};
    if (!file) return Failure{system_error("cannot open the file", errno, path)};
    struct stat status {};
    if (fstat(file.get(), &status) != 0) return Failure{system_error("cannot look at the file", errno, path)};
    if (!S_ISREG(status.st_mode)) return Failure{Error{"not a regular file", path, {}}};
    auto content = read_all(file.get(), path, limit);
    if (!content) return Failure{std::move(content.error())};
    return std::optional<std::string>{std::move(*content)};
}

int write_all(int fd, std::string_view data) {
    while (!data.empty()) {
        const auto written = write(fd, data.data(), data.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        data.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

Result<void> replace_file(const std::string& path, std::string_view data, mode_t mode) {
    return replace(path, data, mode, true);
}

Result<void> replace_file_unsynced(const std::string& path, std::string_view data, mode_t mode) {
    return replace(path, data, mode, false);
}

Result<void> make_directories(const std::string& path, std::string* created) {
    if (created != nullptr) created->clear();
    for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
        const std::string part = path.substr(0, end);
        if (mkdir(part.c_str(), 0755) == 0) {
            if (created != nullptr && created->empty()) *created = part;
        } else if (errno != EEXIST) {
            return Failure{system_error("cannot create the folder", errno, part)};
        }
        if (end == std::string::npos) return {};
    }
}

}  // namespace vmrouter
