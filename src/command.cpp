#include "src/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter {
namespace {

constexpr std::array<const char*, 4> folders = {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"};
constexpr std::size_t output_limit = std::size_t{1} << 20;

struct Pipe {
    FileDescriptor read_end;
    FileDescriptor write_end;
};

Result<Pipe> open_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return Failure{system_error("cannot open a pipe", errno)};
    return Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

Result<pid_t> spawn(const std::string& program, const std::vector<std::string>& arguments, int out, int err) {
    std::vector<char*> argv;
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));  // execve's signature
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    std::string language = "LC_ALL=C";
    std::array<char*, 3> environment = {path.data(), language.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, err, 2);
    pid_t process = 0;
    const int failed = posix_spawn(&process, program.c_str(), &actions, nullptr, argv.data(), environment.data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) return Failure{system_error("cannot run the program", failed, program)};
    return process;
}

/// Reads both pipes until they end; false when the time was over first.
bool collect(const FileDescriptor& out, const FileDescriptor& err, std::string& output, std::string& errors,
             Milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::array<pollfd, 2> waiting = {pollfd{out.get(), POLLIN, 0}, pollfd{err.get(), POLLIN, 0}};
    while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
        const auto left = std::chrono::ceil<Milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return false;
        if (poll(waiting.data(), waiting.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
        for (std::size_t i = 0; i < waiting.size(); ++i) {
            if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
            std::array<char, 4096> chunk;
            const auto got = read(waiting[i].fd, chunk.data(), chunk.size());
            if (got < 0 && errno == EINTR) continue;
            auto& text = i == 0 ? output : errors;
            if (got > 0 && text.size() < output_limit) text.append(chunk.data(), static_cast<std::size_t>(got));
            if (got <= 0) waiting[i].fd = -1;
        }
    }
    return true;
}

std::string last_line(std::string_view text) {
    const auto lines = split(trim(text), '\n');
    return escape(lines.back());
}

}  // namespace

std::string find_program(const std::string& name) {
    for (const auto* folder : folders)
        if (access((folder + name).c_str(), X_OK) == 0) return folder + name;
    return {};
}

Result<std::string> run_command(const std::vector<std::string>& arguments, Milliseconds limit) {
    const auto program = find_program(arguments.front());
    if (program.empty()) return Failure{Error{"there is no program " + arguments.front(), {}, {}}};
    auto out = open_pipe();
    auto err = open_pipe();
    if (!out || !err) return Failure{out ? std::move(err).error() : std::move(out).error()};
    const auto process = spawn(program, arguments, out->write_end.get(), err->write_end.get());
    if (!process) return Failure{process.error()};
    out->write_end.reset();
    err->write_end.reset();

    std::string output;
    std::string errors;
    const bool in_time = collect(out->read_end, err->read_end, output, errors, limit);
    if (!in_time) kill(*process, SIGKILL);
    int status = 0;
    while (waitpid(*process, &status, 0) < 0 && errno == EINTR) {}
    if (!in_time) return Failure{Error{"it took longer than " + std::to_string(limit.count()) + " ms", program, {}}};
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
    const auto said = last_line(errors);
    return Failure{Error{said.empty() ? "it failed" : said, program, {}}};
}

}  // namespace vmrouter
