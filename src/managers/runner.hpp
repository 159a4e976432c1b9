#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter::managers {

struct Output {
    int status = 0;    ///< the program's exit status
    std::string text;  ///< what it wrote to stdout and stderr, at most 64 KiB
    friend bool operator==(const Output&, const Output&) = default;
};

/// Runs programs of the system; a test plays them.
class Runner {
public:
    virtual ~Runner() = default;
    /// An error when there is no such program, or it does not end in time (it is killed then).
    virtual Result<Output> run(const std::vector<std::string>& words) = 0;
};

/// Looks in the system's folders only, passes the C locale and nothing else of our environment but D-Bus's address, and
/// uses no shell.
class SystemRunner final : public Runner {
public:
    explicit SystemRunner(std::chrono::milliseconds limit = std::chrono::seconds(10)) : limit_(limit) {}
    Result<Output> run(const std::vector<std::string>& words) override;

private:
    std::chrono::milliseconds limit_;
};

}  // namespace vmrouter::managers
