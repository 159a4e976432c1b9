#include "src/managers/runner.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "src/base/file.hpp"

namespace vmrouter::managers {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kUsualLimit = 64 * 1024;
constexpr std::array kFolders{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/run/current-system/sw/bin"};

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> result;
    for (std::string& word : words) result.push_back(word.data());
    result.push_back(nullptr);
    return result;
}

struct FileActions {
    FileActions() { posix_spawn_file_actions_init(&actions); }
    FileActions(const FileActions&) = delete;
    FileActions& operator=(const FileActions&) = delete;
    ~FileActions() { posix_spawn_file_actions_destroy(&actions); }
    posix_spawn_file_actions_t actions{};
};

/// Where the program is among `words`: after those that are NAME=value.
std::size_t program_in(const std::vector<std::string>& words) {
    const auto is_program = [](const std::string& word) { return word.find('=') == std::string::npos; };
    return static_cast<std::size_t>(std::find_if(words.begin(), words.end(), is_program) - words.begin());
}

/// 0, or the errno. `output` becomes the child's stdout and stderr.
int spawn(const std::string& path, std::vector<std::string> words, std::vector<std::string> environment, int output,
          pid_t& pid) {
    environment.insert(environment.end(), {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"});
    if (const char* bus = std::getenv("DBUS_SYSTEM_BUS_ADDRESS"); bus != nullptr)
        environment.push_back(std::string("DBUS_SYSTEM_BUS_ADDRESS=") + bus);
    FileActions files;
    posix_spawn_file_actions_addopen(&files.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files.actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files.actions, output, STDERR_FILENO);
    return posix_spawn(&pid, path.c_str(), &files.actions, nullptr, pointers(words).data(),
                       pointers(environment).data());
}

int milliseconds_until(Clock::time_point end) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    return left > 0 ? static_cast<int>(left) : 0;
}

/// Reads until the other end is closed; false when that does not happen in time.
bool read_all(int fd, Clock::time_point end, std::size_t limit, Output& output) {
    for (;;) {
        pollfd wait{fd, POLLIN, 0};
        const int ready = poll(&wait, 1, milliseconds_until(end));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return false;
        std::array<char, 4096> chunk{};
        const auto got = read(fd, chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return true;
        const auto size = static_cast<std::size_t>(got);
        const auto room = limit - output.text.size();
        output.text.append(chunk.data(), std::min(size, room));
        output.truncated |= size > room;
    }
}

}  // namespace

std::string find_program(const std::string& name) {
    for (const char* folder : kFolders) {
        std::string path = std::string(folder) + "/" + name;
        if (access(path.c_str(), X_OK) == 0) return path;
    }
    return {};
}

int wait_for_program(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Result<pid_t> start_program(const std::vector<std::string>& words, int output) {
    const auto at = program_in(words);
    const std::string name = at == words.size() ? std::string() : words[at];
    const std::string path = name.empty() ? std::string() : find_program(name);
    if (path.empty()) return Failure{Error{"there is no such program", name, {}}};
    const auto program = words.begin() + static_cast<std::ptrdiff_t>(at);
    pid_t pid = 0;
    if (const int failed = spawn(path, {program, words.end()}, {words.begin(), program}, output, pid); failed != 0)
        return Failure{system_error("cannot start the program", failed, path)};
    return pid;
}

Result<Output> SystemRunner::run(const std::vector<std::string>& words) {
    return run_up_to(kUsualLimit, words);
}

Result<Output> SystemRunner::run_up_to(std::size_t limit, const std::vector<std::string>& words) {
    const auto at = program_in(words);
    const std::string name = at == words.size() ? std::string() : words[at];
    const auto hung = hung_.find(name);
    if (hung != hung_.end() && Clock::now() < hung->second)
        return Failure{Error{"the program did not end in time a moment ago and is not run again yet", name,
                             "run it by hand: its service may hang"}};
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return Failure{system_error("cannot make a pipe", errno, name)};
    const FileDescriptor reading(ends[0]);
    FileDescriptor writing(ends[1]);
    const auto pid = start_program(words, writing.get());
    if (!pid) return Failure{pid.error()};
    writing.reset();

    Output output;
    const bool ended = read_all(reading.get(), Clock::now() + limit_, limit, output);
    if (!ended) kill(*pid, SIGKILL);
    output.status = wait_for_program(*pid);
    if (!ended) {
        hung_[name] = Clock::now() + 6 * limit_;
        return Failure{Error{"the program did not end within " + std::to_string(limit_.count()) + " ms and was stopped",
                             name, "run it by hand: its service may hang"}};
    }
    return output;
}

}  // namespace vmrouter::managers
