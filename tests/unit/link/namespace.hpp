#pragma once

// A network namespace of its own for a test that talks to the kernel, and a folder of its own for one that writes
// files.

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "src/base/file.hpp"

namespace vmrouter::test {

/// The calling thread is in a new, empty network namespace (loopback down) until this is destroyed.
class Namespace {
public:
    /// nullopt without root: such tests say so and pass.
    static std::optional<Namespace> enter() {
        FileDescriptor before(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        if (!before || unshare(CLONE_NEWNET) != 0) return std::nullopt;
        return Namespace(std::move(before));
    }
    Namespace(Namespace&&) = default;
    Namespace& operator=(Namespace&&) = delete;
    ~Namespace() {
        if (before_) setns(before_.get(), CLONE_NEWNET);
    }

private:
    explicit Namespace(FileDescriptor before) : before_(std::move(before)) {}
    FileDescriptor before_;
};

/// What a shell command prints; its stderr is shown. The commands are the tests' own.
inline std::string output_of(const std::string& command) {
    struct Close {
        void operator()(FILE* pipe) const { pclose(pipe); }
    };
    const std::unique_ptr<FILE, Close> pipe(popen(command.c_str(), "r"));
    std::string text;
    std::array<char, 4096> chunk{};
    while (pipe) {
        const auto got = fread(chunk.data(), 1, chunk.size(), pipe.get());
        if (got == 0) break;
        text.append(chunk.data(), got);
    }
    return text;
}

/// Whether a shell command, run with -e, succeeds.
inline bool run(const std::string& command) {
    return system(("set -e; " + command).c_str()) == 0;
}

class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "vmrouter-test-XXXXXX").string();
        if (mkdtemp(pattern.data()) != nullptr) path_ = pattern;
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }

    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace vmrouter::test

/// The rest of the test runs in a namespace of its own, or not at all.
#define IN_NAMESPACE                                                \
    const auto space = vmrouter::test::Namespace::enter();          \
    if (!space) {                                                   \
        WARN("skipped: a network namespace of its own needs root"); \
        return;                                                     \
    }                                                               \
    static_cast<void>(space)
