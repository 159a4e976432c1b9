#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter::managers {

struct Output {
    int status = 0;          ///< the program's exit status
    std::string text;        ///< what it wrote to stdout and stderr, up to a limit
    bool truncated = false;  ///< it wrote more than that
    friend bool operator==(const Output&, const Output&) = default;
};

/// Runs programs of the system; a test plays them.
class Runner {
public:
    virtual ~Runner() = default;
    /// Words in front of the program that are NAME=value are its environment. An error when there is no such program,
    /// or it does not end in time (it is killed then).
    virtual Result<Output> run(const std::vector<std::string>& words) = 0;
    /// For programs that may have a lot to say: run() keeps 64 KiB of it, this one `limit` bytes.
    virtual Result<Output> run_up_to(std::size_t limit, const std::vector<std::string>& words) {
        static_cast<void>(limit);
        return run(words);
    }
};

/// Looks in the system's folders only, passes the C locale and nothing else of our environment but D-Bus's address, and
/// uses no shell. A program that did not end in time is not run again for six times that long.
class SystemRunner final : public Runner {
public:
    explicit SystemRunner(std::chrono::milliseconds limit = std::chrono::seconds(10)) : limit_(limit) {}
    Result<Output> run(const std::vector<std::string>& words) override;
    Result<Output> run_up_to(std::size_t limit, const std::vector<std::string>& words) override;

private:
    std::chrono::milliseconds limit_;
    std::map<std::string, std::chrono::steady_clock::time_point> hung_;  ///< programs, and when they are tried again
};

/// Where in the system's folders a program is; empty: nowhere.
std::string find_program(const std::string& name);
/// Starts a program as SystemRunner does; `output` becomes its stdout and stderr.
Result<pid_t> start_program(const std::vector<std::string>& words, int output);
/// Its exit status, or 128 and the signal that ended it.
int wait_for_program(pid_t pid);

}  // namespace vmrouter::managers
